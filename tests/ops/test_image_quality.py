"""PSNR and SSIM against plain NumPy, over whole and over padded images."""

import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.ops import image_quality


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 255, (2, 30, 26)).cumsum(2) % 256
    return (true + rng.normal(0, 12, true.shape)).clip(0, 255), true


def everywhere(images):
    return jnp.ones(images.shape, bool)


def test_psnr_by_its_formula(pair):
    predicted, true = (jnp.asarray(x, jnp.float32) for x in pair)
    expected = [10 * np.log10(255**2 / np.mean((p - t) ** 2)) for p, t in zip(*pair, strict=True)]
    found = image_quality.psnr(predicted, true, everywhere(true))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isinf(image_quality.psnr(true, true, everywhere(true))).all()


def ssim_of_windows(x, y):
    """The mean over all whole windows of 11 x 11 pixels, each computed on its own."""
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            cov = (weights * (a - mean_a) * (b - mean_b)).sum()
            found.append(
                (2 * mean_a * mean_b + c1) * (2 * cov + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )  # fmt: skip
    return np.mean(found)


def test_ssim_by_its_definition(pair):
    predicted, true = (jnp.asarray(x, jnp.float32) for x in pair)
    expected = [ssim_of_windows(p, t) for p, t in zip(*pair, strict=True)]
    found = image_quality.ssim(predicted, true, everywhere(true))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    same = image_quality.ssim(true, true, everywhere(true))
    np.testing.assert_allclose(same, 1, atol=1e-5)


@pytest.mark.parametrize("score", [image_quality.psnr, image_quality.ssim])
def test_padding_does_not_count(pair, score):
    predicted, true = (jnp.asarray(x, jnp.float32) for x in pair)
    inside = np.ones(true.shape, bool)
    inside[:, :3] = inside[:, -4:] = inside[..., :2] = inside[..., -5:] = False
    alone = score(predicted[:, 3:-4, 2:-5], true[:, 3:-4, 2:-5], everywhere(true[:, 3:-4, 2:-5]))
    found = score(jnp.where(inside, predicted, 77), true, jnp.asarray(inside))
    np.testing.assert_allclose(found, alone, atol=2e-5)


def test_luma_of_black_white_and_the_primaries():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    found = image_quality.luma(jnp.asarray(colours, jnp.float32))
    np.testing.assert_allclose(found, [16, 235, 81.481, 144.553, 40.966], atol=1e-3)
