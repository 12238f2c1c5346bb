import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.augment.color import noise
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.geometry import flip, pad_crop, scale
from imgrec_jax.build import AUGMENTATIONS, build_augmentation
from imgrec_jax.core.errors import UsageError

IMAGES = np.random.default_rng(0).random((16, 7, 5, 3), np.float32)
KEYS = jax.random.split(jax.random.key(0), 16)
IDENTITIES = {
    "flip": flip(0.0),
    "pad_crop": pad_crop(0),
    "noise": noise(0.0),
    "scale": scale(1.0, 1.0),
}


def test_every_augmentation_has_an_identity_here():
    assert set(IDENTITIES) == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", IDENTITIES)
def test_zero_strength_changes_nothing(name):
    np.testing.assert_array_equal(IDENTITIES[name](KEYS, IMAGES), IMAGES)


@pytest.mark.parametrize("name", IDENTITIES)
def test_shape_dtype_and_range_are_kept(name):
    out = AUGMENTATIONS[name]()(KEYS, IMAGES)
    assert out.shape == IMAGES.shape
    assert out.dtype == jnp.float32
    assert 0.0 <= float(out.min()) < float(out.max()) <= 1.0
    assert not np.array_equal(out, IMAGES)


@pytest.mark.parametrize("name", IDENTITIES)
def test_a_picture_does_not_depend_on_its_neighbours(name):
    augment = AUGMENTATIONS[name]()
    whole = np.asarray(augment(KEYS, IMAGES))
    part = np.asarray(augment(KEYS[3:5], IMAGES[3:5]))
    np.testing.assert_array_equal(part, whole[3:5])


def test_flipping_twice_is_the_identity():
    always = flip(1.0)
    np.testing.assert_array_equal(always(KEYS, IMAGES), IMAGES[:, :, ::-1])
    np.testing.assert_array_equal(always(KEYS, always(KEYS, IMAGES)), IMAGES)


def test_half_of_many_pictures_are_flipped():
    keys = jax.random.split(jax.random.key(1), 2000)
    images = np.zeros((2000, 1, 2, 1), np.float32)
    images[:, :, 0] = 1.0
    flipped = np.asarray(flip()(keys, images))[:, 0, 1, 0].sum()
    assert 900 < flipped < 1100


def test_every_crop_is_a_window_of_the_reflected_picture():
    pad = 3
    out = np.asarray(pad_crop(pad)(KEYS, IMAGES))
    padded = np.pad(IMAGES, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    shifts = set()
    for i, picture in enumerate(out):
        found = [
            (y, x)
            for y in range(2 * pad + 1)
            for x in range(2 * pad + 1)
            if np.array_equal(padded[i, y : y + 7, x : x + 5], picture)
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 8


def test_all_shifts_are_equally_likely():
    keys = jax.random.split(jax.random.key(2), 5000)
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32)[None, :, None, None], (5000, 9, 9, 1))
    rows = np.asarray(pad_crop(2)(keys, ramp))[:, 4, 4, 0]
    counts = np.bincount(rows.astype(int), minlength=9)[2:7]
    assert counts.sum() == 5000
    assert (np.abs(counts - 1000) < 120).all()


def test_padding_beyond_the_picture_reflects_more_than_once():
    image = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    out = np.asarray(pad_crop(20)(KEYS[:1], image))
    padded = np.pad(image[0, :, 0, 0], 20, mode="reflect")
    windows = [padded[i : i + 3].tolist() for i in range(41)]
    assert out[0, :, 0, 0].tolist() in windows


def test_noise_has_the_given_standard_deviation():
    grey = np.full((16, 32, 32, 3), 0.5, np.float32)
    assert float((noise(0.05)(KEYS, grey) - 0.5).std()) == pytest.approx(0.05, rel=0.02)


def test_scaling_by_two_shows_the_middle():
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[:, 2:6, 2:6] = 1.0
    assert float(scale(2.0, 2.0)(KEYS[:1], image).min()) > 0.4
    smaller = np.asarray(scale(0.5, 0.5)(KEYS[:1], np.ones((1, 8, 8, 1), np.float32)))
    np.testing.assert_allclose(smaller[0, 3:5, 3:5, 0], 1.0, atol=1e-6)
    np.testing.assert_array_equal(smaller[0, 0, :, 0], np.zeros(8))


def test_stages_have_random_numbers_of_their_own():
    twice = np.asarray(compose([noise(0.1), noise(0.1)])(KEYS, IMAGES * 0 + 0.5)) - 0.5
    once = np.asarray(compose([noise(0.1)])(KEYS, IMAGES * 0 + 0.5)) - 0.5
    assert not np.allclose(twice, 2 * once, atol=1e-3)


def test_the_string_names_the_stages_in_order():
    built = build_augmentation("pad_crop(pad=2)|flip")(KEYS, IMAGES)
    by_hand = compose([pad_crop(2), flip()])(KEYS, IMAGES)
    np.testing.assert_array_equal(built, by_hand)
    np.testing.assert_array_equal(build_augmentation("")(KEYS, IMAGES), IMAGES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flpi", "did you mean 'flip'"),
        ("pad_crop(padding=4)", "did you mean 'pad'"),
        ("pad_crop(-1)", "expected pad_crop"),
        ("noise(-1)", "expected noise"),
        ("scale(2, 1)", "expected scale"),
        ("flip(0.5, 0.5)", "expected flip"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_augmentation(text)
    assert "\n" not in str(caught.value)
