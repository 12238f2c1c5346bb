"""RandAugment's and TrivialAugment's operations against Pillow's on random images."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from imgrec_jax.augment.policies import (
    OPERATIONS,
    RAND_AUGMENT,
    TRIVIAL_AUGMENT,
    apply_operations,
    rand_augment,
    trivial_augment,
)

HEIGHT, WIDTH = 37, 29
GREY = (128, 128, 128)


def random_images():
    """Noise, a dark smooth image, one of few values and one of a single value, as uint8."""
    generator = np.random.default_rng(3)
    across = np.linspace(10, 120, WIDTH)[None, :, None] + np.linspace(0, 60, HEIGHT)[:, None, None]
    smooth = across * np.array([1.0, 0.5, 0.8]) + generator.integers(0, 4, (HEIGHT, WIDTH, 3))
    few = generator.integers(1, 4, (HEIGHT, WIDTH, 3)) * 60
    noise = generator.integers(0, 256, (HEIGHT, WIDTH, 3))
    return np.stack([noise, smooth, few, np.full_like(noise, 77)]).astype(np.uint8)


IMAGES = random_images()
APPLY = jax.jit(apply_operations, static_argnums=3)


def ours(name, amount, reach=RAND_AUGMENT, images=IMAGES):
    """Return what an operation makes of uint8 images, in grey levels."""
    numbers = np.full(len(images), OPERATIONS.index(name), np.int32)
    amounts = np.full(len(images), amount, np.float32)
    sample = {"image": images.astype(np.float32) / 255.0}
    return np.asarray(APPLY(numbers, amounts, sample, reach)["image"]) * 255.0


def affine(*matrix):
    """Return Pillow's affine transform."""
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
    )


def enhanced(kind, factor):
    """Return one of Pillow's enhancements."""
    return lambda image: kind(image).enhance(factor)


CASES = {
    "brightness up": ("brightness", 0.5, enhanced(ImageEnhance.Brightness, 1.45)),
    "brightness down": ("brightness", -0.8, enhanced(ImageEnhance.Brightness, 0.28)),
    "color up": ("color", 1.0, enhanced(ImageEnhance.Color, 1.9)),
    "color down": ("color", -1.0, enhanced(ImageEnhance.Color, 0.1)),
    "contrast up": ("contrast", 1.0, enhanced(ImageEnhance.Contrast, 1.9)),
    "contrast down": ("contrast", -1.0, enhanced(ImageEnhance.Contrast, 0.1)),
    "sharpness up": ("sharpness", 1.0, enhanced(ImageEnhance.Sharpness, 1.9)),
    "sharpness down": ("sharpness", -1.0, enhanced(ImageEnhance.Sharpness, 0.1)),
    "posterize 2 bits": ("posterize", 0.5, lambda p: ImageOps.posterize(p, 6)),
    "posterize 4 bits": ("posterize", -1.0, lambda p: ImageOps.posterize(p, 4)),
    "solarize": ("solarize", 0.5, lambda p: ImageOps.solarize(p, 128)),
    "solarize all": ("solarize", 1.0, lambda p: ImageOps.solarize(p, 0)),
    "autocontrast": ("autocontrast", 0.3, ImageOps.autocontrast),
    "equalize": ("equalize", 0.3, ImageOps.equalize),
    "identity": ("identity", 0.3, lambda p: p),
    "shear_x": ("shear_x", 1.0, affine(1, 0.3, 0, 0, 1, 0)),
    "shear_y": ("shear_y", -0.5, affine(1, 0, 0, -0.15, 1, 0)),
    "translate_x": ("translate_x", 0.5, affine(1, 0, 0.225 * WIDTH, 0, 1, 0)),
    "translate_y": ("translate_y", -1.0, affine(1, 0, 0, 0, 1, -0.45 * HEIGHT)),
    "rotate": (
        "rotate",
        0.9,
        lambda p: p.rotate(27, Image.Resampling.BILINEAR, fillcolor=GREY),
    ),
}


def test_every_operation_is_compared():
    assert {case[0] for case in CASES.values()} == set(OPERATIONS)
    assert len(OPERATIONS) == 14


@pytest.mark.parametrize("case", CASES)
def test_an_operation_is_pillows_within_a_grey_level(case):
    name, amount, pillow = CASES[case]
    expected = np.stack([np.asarray(pillow(Image.fromarray(p))) for p in IMAGES])
    result = ours(name, amount)
    np.testing.assert_allclose(result, expected.astype(np.float32), atol=1.001)
    changed = not np.array_equal(expected, IMAGES)
    assert changed == (name != "identity")


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"autocontrast", "equalize"}))
def test_an_operation_of_no_strength_changes_nothing(name):
    images = np.random.default_rng(0).random(IMAGES.shape, np.float32)
    numbers = np.full(4, OPERATIONS.index(name), np.int32)
    out = APPLY(numbers, np.zeros(4, np.float32), {"image": images}, RAND_AUGMENT)
    np.testing.assert_array_equal(out["image"], images)


def test_moves_take_boxes_and_labels_along():
    """A translation by 0.45 * 20 = 9 pixels to the left and out."""
    numbers = np.int32([OPERATIONS.index("translate_x")])
    labels = np.tile(np.arange(20, dtype=np.int32), (1, 20, 1))
    sample = {
        "image": np.zeros((1, 20, 20, 3), np.float32),
        "label_map": labels,
        "boxes": np.float32([[[2, 3, 12, 8], [1, 1, 8, 8]]]),
        "box_mask": np.array([[True, True]]),
    }
    out = APPLY(numbers, np.float32([1.0]), sample, RAND_AUGMENT)
    np.testing.assert_allclose(out["boxes"][0, 0], [0, 3, 3, 8], atol=1e-5)
    assert out["box_mask"].tolist() == [[True, False]]
    assert out["label_map"][0, 5].tolist() == [*range(9, 20), *[255] * 9]
    np.testing.assert_allclose(out["image"][0, 5, :, 0], [0.0] * 11 + [0.5] * 9)


def test_two_layers_are_two_operations():
    """On an image of one value each layer is told by what it makes of it."""
    keys = jax.random.split(jax.random.key(0), 300)
    flat = {"image": np.full((300, 8, 8, 3), 64 / 255, np.float32)}

    def unchanged(n):
        out = np.asarray(jax.jit(rand_augment(n, 10.0))(keys, flat)["image"])
        return (np.abs(out - 64 / 255) < 1e-6).all((1, 2, 3)).mean()

    # Of 14, brightness and solarize change a flat image, and five moves show the outside: two
    # layers leave a quarter of the images as they are.
    assert unchanged(2) == pytest.approx(0.25, abs=0.08)
    assert unchanged(0) == 1.0


def test_trivial_augment_draws_every_operation_and_many_strengths():
    keys = jax.random.split(jax.random.key(1), 600)
    noise = np.clip(IMAGES[:1, :20, :20], 20, 240).repeat(600, 0)
    image = {"image": noise.astype(np.float32) / 255.0}
    out = np.asarray(jax.jit(trivial_augment())(keys, image)["image"])
    unchanged = (out == image["image"]).all((1, 2, 3)).mean()
    # Identity always, posterize at 3 of 31 strengths, solarize at 2, nine more at one.
    assert unchanged == pytest.approx((1 + (3 + 2 + 9) / 31) / 14, abs=0.04)
    assert len(np.unique(out.reshape(600, -1).round(5), axis=0)) > 200


def test_trivial_augment_reaches_further():
    assert (ours("translate_x", 1.0, TRIVIAL_AUGMENT) == 127.5).all()
    assert np.ptp(ours("color", -1.0, TRIVIAL_AUGMENT), axis=-1).max() < 5.0
    assert len(np.unique(ours("posterize", 1.0, TRIVIAL_AUGMENT).round())) == 4
