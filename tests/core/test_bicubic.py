"""Bicubic resizing is that of the super-resolution literature."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core import bicubic
from imgrec_jax.ops.bicubic import upscale


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(0, 255, (48, 36, 3))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_pillows_away_from_the_border(image, scale):
    """Pillow cuts the kernel off at the border, MATLAB mirrors the image there."""
    height, width = (side // scale for side in image.shape[:2])
    plane = Image.fromarray(image[..., 0].astype(np.float32))
    theirs = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
    ours = bicubic.downscale(image, scale)
    assert ours.shape == (height, width, 3)
    np.testing.assert_allclose(ours[2:-2, 2:-2, 0], theirs[2:-2, 2:-2], atol=1e-3)
    larger = np.asarray(
        Image.fromarray(theirs).resize(image.shape[1::-1], Image.Resampling.BICUBIC)
    )
    again = bicubic.resize(theirs[..., None].astype(np.float64), *image.shape[:2])[..., 0]
    inner = slice(2 * scale, -2 * scale)
    np.testing.assert_allclose(again[inner, inner], larger[inner, inner], atol=1e-3)


def test_the_border_is_mirrored(image):
    mirrored = np.pad(image, [(12, 12), (12, 12), (0, 0)], mode="symmetric")
    whole = bicubic.downscale(mirrored, 3)[4:-4, 4:-4]
    np.testing.assert_allclose(bicubic.downscale(image, 3), whole, atol=1e-9)


def test_weights_by_hand():
    """Enlarging by 2, an output pixel lies a quarter pixel from its neighbour: Keys' kernel."""
    at = [1.25, 0.25, 0.75, 1.75]
    near = [1.5 * x**3 - 2.5 * x**2 + 1 for x in at[1:3]]
    far = [-0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 for x in (at[0], at[3])]
    row = bicubic.bicubic_weights(8, 16)[7]  # centre 3.25
    np.testing.assert_allclose(row[2:6], [far[0], near[0], near[1], far[1]], atol=1e-12)
    assert row[[0, 1, 6, 7]].tolist() == [0, 0, 0, 0]


def test_constant_images_stay_constant():
    for size, new_size in ((9, 3), (3, 9), (16, 4), (5, 10), (2, 6)):
        np.testing.assert_allclose(bicubic.bicubic_weights(size, new_size).sum(1), 1, atol=1e-12)


def test_upscale_on_the_device_equals_the_host(image):
    images = np.stack([image, image[::-1]]).astype(np.float32)
    found = np.asarray(upscale(jnp.asarray(images), 3))
    for one, other in zip(found, images, strict=True):
        np.testing.assert_allclose(one, bicubic.resize(other, 144, 108), atol=1e-3)
