"""What all augmentations keep, and what each of the simple ones does."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.augment.augmentation import augment_batch
from imgrec_jax.augment.color import blur, color_jitter, grayscale, noise
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.erasing import cutout, random_erasing
from imgrec_jax.augment.geometry import alternating_flip, flip, pad_crop, patch, vertical_flip
from imgrec_jax.augment.pixel_ops import turn_hue
from imgrec_jax.augment.policies import rand_augment
from imgrec_jax.augment.warp import random_resized_crop, rotation, scale, turn, warp
from imgrec_jax.build.preprocessing import AUGMENTATIONS, build_augmentations
from imgrec_jax.core.errors import UsageError

IMAGES = np.random.default_rng(0).random((16, 7, 5, 3), np.float32)
KEYS = jax.random.split(jax.random.key(0), 16)
DRAWN = {
    "label_map": np.random.default_rng(1).integers(0, 9, (16, 7, 5)).astype(np.int32),
    "boxes": np.tile(np.float32([[1, 2, 4, 5], [0, 0, 5, 7], [0, 0, 0, 0]]), (16, 1, 1)),
    "box_mask": np.tile([True, True, False], (16, 1)),
    "index": np.arange(16, dtype=np.int32),
    "epoch": np.zeros(16, np.int32),
}
SAMPLE = {"image": IMAGES, **DRAWN}
IDENTITIES = {
    "blur": blur(0.0),
    "color_jitter": color_jitter(0.0, 0.0, 0.0, 0.0),
    "cutout": cutout(0),
    "flip": flip(0.0),
    "grayscale": grayscale(0.0),
    "noise": noise(0.0),
    "pad_crop": pad_crop(0),
    "patch": patch(),
    "rand_augment": rand_augment(0),
    "random_erasing": random_erasing(0.0),
    "random_resized_crop": random_resized_crop(1.0, 1.0, 1.0),
    "rotation": rotation(0.0),
    "scale": scale(1.0, 1.0),
    "vertical_flip": vertical_flip(0.0),
}
WITHOUT_STRENGTH = {"alternating_flip", "trivial_augment"}
MOVES = {
    *("alternating_flip", "flip", "pad_crop", "rand_augment", "random_resized_crop"),
    *("rotation", "scale", "trivial_augment", "vertical_flip"),
}


def on_images(augment, images, keys=KEYS):
    """Augment images that come with nothing else."""
    return jax.jit(augment)(keys[: len(images)], {"image": images})["image"]


JITTED = {name: jax.jit(factory()) for name, factory in AUGMENTATIONS.items()}


@functools.cache
def augmented(name):
    """Return the sample after an augmentation with its defaults."""
    return jax.device_get(JITTED[name](KEYS, SAMPLE))


def test_every_augmentation_has_an_identity_here():
    assert set(IDENTITIES) | WITHOUT_STRENGTH == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", IDENTITIES)
def test_zero_strength_changes_nothing(name):
    out = jax.jit(IDENTITIES[name])(KEYS, SAMPLE)
    assert set(out) == set(SAMPLE)
    for part, value in SAMPLE.items():
        np.testing.assert_array_equal(out[part], value, err_msg=part)


@pytest.mark.parametrize("name", sorted(set(AUGMENTATIONS) - {"patch"}))  # whole by default
def test_shape_dtype_and_range_are_kept(name):
    out = augmented(name)
    for part, value in SAMPLE.items():
        assert out[part].shape == value.shape
        assert out[part].dtype == value.dtype
    assert 0.0 <= out["image"].min() < out["image"].max() <= 1.0
    assert not np.array_equal(out["image"], IMAGES)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_what_is_drawn_moves_with_the_pixels_and_only_then(name):
    for part in ("label_map", "boxes"):
        assert np.array_equal(augmented(name)[part], SAMPLE[part]) == (name not in MOVES)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_image_does_not_depend_on_its_neighbours(name):
    order = np.random.default_rng(1).permutation(16)
    augment, before = JITTED[name], augmented(name)
    after = augment(KEYS[order], {key: value[order] for key, value in SAMPLE.items()})
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key][order], err_msg=key)


@pytest.mark.parametrize("name", ["blur", "noise", "pad_crop", "random_resized_crop", "rotation"])
def test_an_image_does_not_depend_on_the_size_of_its_batch(name):
    part = JITTED[name](KEYS[3:5], {key: value[3:5] for key, value in SAMPLE.items()})
    for key, value in part.items():
        np.testing.assert_array_equal(value, augmented(name)[key][3:5], err_msg=key)


@pytest.mark.parametrize("name", ["color_jitter", "grayscale", "rand_augment"])
def test_grey_images_are_augmented_too(name):
    out = on_images(AUGMENTATIONS[name](), IMAGES[:4, ..., :1])
    assert out.shape == (4, 7, 5, 1)
    assert np.array_equal(out, IMAGES[:4, ..., :1]) == (name == "grayscale")


def test_partners_look_as_they_do_in_their_own_rows():
    partner = np.roll(np.arange(16), 3)
    rows = {"image": IMAGES, "index": np.arange(16), "epoch": np.zeros(16, np.int32), "keys": KEYS}
    with_partners = {**rows, **{f"partner_{name}": value[partner] for name, value in rows.items()}}
    pipeline = build_augmentations("pad_crop|alternating_flip|noise(0.1)")[0]
    both = {**with_partners, "label": np.arange(16)}
    out = jax.jit(lambda batch: augment_batch(pipeline, batch))(both)
    np.testing.assert_array_equal(out["partner_image"], np.asarray(out["image"])[partner])
    np.testing.assert_array_equal(out["label"], np.arange(16))
    assert not np.array_equal(out["image"], IMAGES)


def test_flipping_twice_is_the_identity():
    always = flip(1.0)
    np.testing.assert_array_equal(on_images(always, IMAGES), IMAGES[:, :, ::-1])
    np.testing.assert_array_equal(on_images(always, on_images(always, IMAGES)), IMAGES)
    upside_down = vertical_flip(1.0)
    np.testing.assert_array_equal(on_images(upside_down, IMAGES), IMAGES[:, ::-1])


def test_half_of_many_images_are_flipped():
    keys = jax.random.split(jax.random.key(1), 2000)
    images = np.zeros((2000, 1, 2, 1), np.float32)
    images[:, :, 0] = 1.0
    flipped = np.asarray(on_images(flip(), images, keys))[:, 0, 1, 0].sum()
    assert 900 < flipped < 1100


def test_every_crop_is_a_window_of_the_reflected_image():
    pad = 3
    out = np.asarray(on_images(pad_crop(pad), IMAGES))
    padded = np.pad(IMAGES, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    shifts = set()
    for i, image in enumerate(out):
        found = [
            (y, x)
            for y in range(2 * pad + 1)
            for x in range(2 * pad + 1)
            if np.array_equal(padded[i, y : y + 7, x : x + 5], image)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 8


def test_all_shifts_are_equally_likely():
    keys = jax.random.split(jax.random.key(2), 5000)
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32)[None, :, None, None], (5000, 9, 9, 1))
    rows = np.asarray(on_images(pad_crop(2), ramp, keys))[:, 4, 4, 0]
    counts = np.bincount(rows.astype(int), minlength=9)[2:7]
    assert counts.sum() == 5000
    assert (np.abs(counts - 1000) < 120).all()


def test_padding_beyond_the_image_reflects_more_than_once():
    image = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    out = np.asarray(on_images(pad_crop(20), image))
    padded = np.pad(image[0, :, 0, 0], 20, mode="reflect")
    windows = [padded[i : i + 3].tolist() for i in range(41)]
    assert out[0, :, 0, 0].tolist() in windows


def test_noise_has_the_given_standard_deviation():
    grey = np.full((16, 32, 32, 3), 0.5, np.float32)
    assert float((on_images(noise(0.05), grey) - 0.5).std()) == pytest.approx(0.05, rel=0.02)


def test_scaling_by_two_shows_the_middle():
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[:, 2:6, 2:6] = 1.0
    assert float(on_images(scale(2.0, 2.0), image).min()) > 0.4
    smaller = np.asarray(on_images(scale(0.5, 0.5), np.ones((1, 8, 8, 1), np.float32)))
    np.testing.assert_allclose(smaller[0, 3:5, 3:5, 0], 1.0, atol=1e-6)
    np.testing.assert_array_equal(smaller[0, 0, :, 0], np.zeros(8))


def test_alternating_flips_show_both_ways_in_two_epochs():
    images = np.zeros((400, 1, 2, 1), np.float32)
    images[:, :, 0] = 1.0
    keys = jax.random.split(jax.random.key(4), 400)

    def mirrored(epoch):
        info = {"index": np.arange(400), "epoch": np.full(400, epoch, np.int32)}
        return np.asarray(alternating_flip()(keys, {"image": images, **info})["image"])[:, 0, 1, 0]

    np.testing.assert_array_equal(mirrored(0) + mirrored(1), np.ones(400))
    np.testing.assert_array_equal(mirrored(0), mirrored(2))
    assert 160 < mirrored(0).sum() < 240


def test_a_quarter_turn_is_numpys():
    """Of a square image, where no pixel falls between others."""
    square = IMAGES[:, :5]
    matrix = jnp.tile(turn(jnp.float32(np.pi / 2), (5, 5))[None], (16, 1, 1))
    turned = np.asarray(warp({"image": square}, matrix)["image"])
    np.testing.assert_allclose(turned, np.rot90(square, axes=(1, 2)), atol=1e-5)


def test_rotations_reach_as_far_as_they_say_both_ways():
    """A dot right of the centre, turned by up to 90 degrees, goes up or down, never left."""
    dot = np.zeros((200, 21, 21, 1), np.float32)
    dot[:, 10, 18] = 1.0
    keys = jax.random.split(jax.random.key(5), 200)
    out = np.asarray(on_images(rotation(90.0), dot, keys))[..., 0]
    mass = out.sum((1, 2))
    y = (out.sum(2) * np.arange(21)).sum(1) / mass - 10
    x = (out.sum(1) * np.arange(21)).sum(1) / mass - 10
    np.testing.assert_allclose(np.hypot(x, y), 8.0, atol=0.3)
    assert x.min() > -0.5
    assert y.min() < -7.0
    assert y.max() > 7.0


def test_a_blur_keeps_the_mean_and_spreads_a_dot():
    dot = np.zeros((16, 15, 15, 1), np.float32)
    dot[:, 7, 7] = 1.0
    out = np.asarray(on_images(blur(1.0, 1.0), dot))
    np.testing.assert_allclose(out.sum((1, 2, 3)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(out, out[:, ::-1], atol=1e-7)
    np.testing.assert_allclose(out, out.transpose(0, 2, 1, 3), atol=1e-7)
    # Even widths in 0.1 .. 1: the squares of the widths lie in 0.01 .. 1, 0.37 on average.
    spread = (out.sum((2, 3)) * (np.arange(15) - 7) ** 2).sum(1)
    assert spread.min() >= 0.0
    assert 0.1 < spread.mean() < 0.7
    assert spread.max() <= 1.0


def test_a_cutout_covers_a_square_that_may_leave_the_image():
    images = np.ones((300, 12, 12, 1), np.float32)
    keys = jax.random.split(jax.random.key(6), 300)
    out = np.asarray(on_images(cutout(6), images, keys))[..., 0]
    assert set(np.unique(out)) == {0.5, 1.0}
    covered = (out == 0.5).sum((1, 2))
    assert covered.max() == 36
    assert covered.min() == 9
    for image in out[:20]:
        rows, columns = np.nonzero(image == 0.5)
        assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_cutout_that_stays_inside_covers_as_much_of_every_image():
    images = np.ones((300, 12, 12, 1), np.float32)
    keys = jax.random.split(jax.random.key(6), 300)
    covered = np.asarray(on_images(cutout(10, inside=True), images, keys))[..., 0] == 0.5
    assert set(covered.sum((1, 2))) == {100}
    # Three places in each direction, all of them alike.
    counts = np.unique(covered.argmax(1).max(1), return_counts=True)[1]
    assert len(counts) == 3
    assert counts.min() > 70


def test_half_the_images_are_erased_by_noise_in_one_window():
    images = np.full((400, 20, 20, 1), 0.5, np.float32)
    keys = jax.random.split(jax.random.key(7), 400)
    out = np.asarray(on_images(random_erasing(), images, keys))[..., 0]
    hit = out != 0.5
    assert 160 < hit.any((1, 2)).sum() < 240
    parts = hit.mean((1, 2))[hit.any((1, 2))]
    assert parts.min() > 0.005
    assert parts.max() < 0.45
    assert 0.15 < parts.mean() < 0.25
    noise_values = out[hit]
    assert noise_values.mean() == pytest.approx(0.5, abs=0.01)
    assert noise_values.std() == pytest.approx(12**-0.5, abs=0.01)


def test_grey_images_have_one_value_per_pixel():
    out = np.asarray(on_images(grayscale(1.0), IMAGES))
    np.testing.assert_array_equal(out[..., 0], out[..., 1])
    np.testing.assert_array_equal(out[..., 0], out[..., 2])
    np.testing.assert_allclose(out[..., 0], IMAGES @ np.float32([0.299, 0.587, 0.114]), atol=0.004)


@pytest.mark.parametrize("turn", [-0.5, -0.1, 0.25, 1.0])
def test_hues_turn_as_in_colorsys(turn):
    def turned(pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)

    expected = [turned(pixel) for pixel in IMAGES[0].reshape(-1, 3).tolist()]
    out = np.asarray(jax.jit(turn_hue)(IMAGES[0], jnp.float32(turn)))
    np.testing.assert_allclose(out.reshape(-1, 3), expected, atol=1e-5)


def test_jitters_reach_as_far_as_they_say():
    grey = np.full((400, 2, 2, 3), 0.25, np.float32)
    keys = jax.random.split(jax.random.key(8), 400)
    out = np.asarray(on_images(color_jitter(0.8, 0.0, 0.0, 0.0), grey, keys)) / 0.25
    assert 0.2 <= out.min() < 0.25
    assert 1.75 < out.max() <= 1.8001
    assert out.mean() == pytest.approx(1.0, abs=0.1)


def test_four_channels_have_no_luminance():
    with pytest.raises(UsageError, match="got 4 channels"):
        on_images(grayscale(), np.zeros((2, 4, 4, 4), np.float32))


def test_stages_have_random_numbers_of_their_own():
    grey = np.full_like(IMAGES, 0.5)
    twice = np.asarray(on_images(compose([noise(0.1), noise(0.1)]), grey)) - 0.5
    once = np.asarray(on_images(compose([noise(0.1)]), grey)) - 0.5
    assert not np.allclose(twice, 2 * once, atol=1e-3)


def test_the_string_names_the_stages_in_order():
    built = on_images(build_augmentations("pad_crop(pad=2)|flip")[0], IMAGES)
    by_hand = on_images(compose([pad_crop(2), flip()]), IMAGES)
    np.testing.assert_array_equal(built, by_hand)
    np.testing.assert_array_equal(on_images(build_augmentations("")[0], IMAGES), IMAGES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flpi", "did you mean 'flip'"),
        ("pad_crop(padding=4)", "did you mean 'pad'"),
        ("pad_crop(-1)", "expected pad_crop"),
        ("noise(-1)", "expected noise"),
        ("scale(2, 1)", "expected scale"),
        ("random_erasing(low=0.5, high=0.1)", "low <= high, got 0.5, 0.1"),
        ("flip(0.5, 0.5)", "expected flip"),
        ("vertical_flip(2.0)", "expected vertical_flip"),
        ("colour_jitter", "did you mean 'color_jitter'"),
        ("color_jitter(hue=0.7)", r"hue=\.\.\.\) to be a number from 0 to 0.5, got 0.7; try 0.1"),
        ("grayscale(-0.1)", "expected grayscale"),
        ("blur(-1)", "expected blur"),
        ("cutout(-1)", "expected cutout"),
        ("random_erasing(2.0)", "expected random_erasing"),
        ("random_resized_crop(0)", "expected random_resized_crop"),
        ("random_resized_crop(aspect=0.5)", "to be a number from 1 to 100, got 0.5"),
        ("rotation(-1)", "expected rotation"),
        ("rand_augment(-1)", "expected rand_augment"),
        ("rand_augment(2, 31)", "to be a number from 0 to 30, got 31"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_augmentations(text)
    assert "\n" not in str(caught.value)


def test_a_patch_is_a_window_with_all_that_is_drawn_on_it():
    """Each pixel tells its place, so that the corner of a patch tells what the rest must be."""
    places = np.arange(35, dtype=np.int32).reshape(7, 5)
    image = np.tile(places[None, ..., None] / np.float32(64), (16, 1, 1, 1))
    boxes = np.tile(np.float32([[[1, 2, 4, 5]]]), (16, 1, 1))
    sample = {"image": image, "label_map": np.tile(places, (16, 1, 1)), "boxes": boxes}
    sample["box_mask"] = np.ones((16, 1), bool)
    out = jax.device_get(jax.jit(patch(3, 2))(KEYS, sample))
    corners = set()
    for number in range(16):
        top, left = divmod(int(out["label_map"][number, 0, 0]), 5)
        window = places[top : top + 3, left : left + 2]
        assert out["label_map"][number].tolist() == window.tolist()
        assert (out["image"][number, ..., 0] * 64).tolist() == window.tolist()
        x0, y0 = np.clip([1 - left, 2 - top], 0, [2, 3]).tolist()
        x1, y1 = np.clip([4 - left, 5 - top], 0, [2, 3]).tolist()
        assert out["box_mask"][number, 0] == (x0 < x1 and y0 < y1)
        assert out["boxes"][number, 0].tolist() == [x0, y0, x1, y1]
        corners.add((top, left))
    assert len(corners) > 5
    with pytest.raises(UsageError, match=r"patches of 7x5 at most, got 8x2; try patch\(7, 5\)"):
        patch(8, 2)(KEYS, sample)
