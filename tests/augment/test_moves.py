"""Label maps and boxes go where the pixels go."""

import functools

import jax
import numpy as np
import pytest

from imgrec_jax.augment.geometry import flip, pad_crop, patch, vertical_flip
from imgrec_jax.augment.random_window import draw_window
from imgrec_jax.augment.warp import random_resized_crop, rotation, scale
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import IGNORE

KEYS = jax.random.split(jax.random.key(0), 64)


def blocks(n=64, size=24):
    """Images of a bright block each on black, with label maps and boxes that say where."""
    generator = np.random.default_rng(0)
    start = generator.integers(2, size // 2, (n, 2))
    end = start + generator.integers(5, size // 2 - 2, (n, 2))
    places = np.arange(size)
    rows = (places >= start[:, :1]) & (places < end[:, :1])
    columns = (places >= start[:, 1:]) & (places < end[:, 1:])
    block = rows[:, :, None] & columns[:, None, :]
    boxes = np.stack([start[:, 1], start[:, 0], end[:, 1], end[:, 0]], -1)[:, None]
    return {
        "image": block[..., None].astype(np.float32),
        "label_map": block.astype(np.int32),
        "boxes": boxes.astype(np.float32),
        "box_mask": np.ones((n, 1), bool),
    }


@functools.cache
def moved(stage):
    """Return the blocks after a stage."""
    return jax.device_get(jax.jit(stage)(KEYS, blocks()))


STAGES = [flip(), vertical_flip(), random_resized_crop(0.3), scale(0.7, 1.5)]
TURN = rotation(180.0)


def around(bright):
    """Return the box around the pixels that are bright."""
    rows, columns = np.nonzero(bright)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("stage", [*STAGES, TURN])
def test_labels_are_bright_where_the_image_is(stage):
    out = moved(stage)
    labels, image = out["label_map"], out["image"][..., 0]
    # At a corner of the block the nearest pixel has a quarter of the weight, or more.
    assert (image[labels == 1] >= 0.2).all()
    assert (image[labels == 0] <= 0.8).all()
    assert (image[labels == IGNORE] < 0.8).all()
    assert (labels == 1).mean() > 0.05
    assert set(np.unique(labels)) <= {0, 1, IGNORE}


@pytest.mark.parametrize("stage", STAGES)
def test_boxes_are_around_the_labels(stage):
    out = moved(stage)
    seen = 0
    for labels, box, mask in zip(out["label_map"], out["boxes"], out["box_mask"], strict=True):
        if (labels == 1).any():
            assert mask[0]
            np.testing.assert_allclose(box[0], around(labels == 1), atol=1.0)
            seen += 1
        elif mask[0]:  # a sliver of the block that meets no pixel's centre
            assert min(box[0, 2] - box[0, 0], box[0, 3] - box[0, 1]) < 1.5
    assert seen > 50


@pytest.mark.parametrize("stage", STAGES[:2])
def test_boxes_of_mirrored_images_are_exact(stage):
    out = moved(stage)
    expected = [around(labels == 1) for labels in out["label_map"]]
    np.testing.assert_array_equal(out["boxes"][:, 0], expected)
    assert not np.array_equal(out["boxes"], blocks()["boxes"])


def test_boxes_of_turned_images_are_no_smaller_than_what_they_hold():
    out = moved(TURN)
    for labels, box in zip(out["label_map"], out["boxes"][:, 0], strict=True):
        x0, y0, x1, y1 = around(labels == 1)
        assert (box[:2] <= [x0 + 0.5, y0 + 0.5]).all()
        assert (box[2:] >= [x1 - 0.5, y1 - 0.5]).all()
        assert box[2] - box[0] <= (x1 - x0) + 3


def test_pad_crop_moves_boxes_by_whole_pixels():
    """The block is found by its pixels where no reflection of it is in the image."""
    sample = blocks()
    out = moved(pad_crop(2))
    np.testing.assert_array_equal(out["image"][..., 0], out["label_map"])
    shifts = out["boxes"] - sample["boxes"]
    whole = (out["boxes"] > 0).all(-1) & (out["boxes"] < 24).all(-1)
    assert set(np.unique(shifts[whole])) == {-2, -1, 0, 1, 2}
    for labels, box in zip(out["label_map"][whole[:, 0]], out["boxes"][whole], strict=True):
        x0, y0, x1, y1 = box.astype(int)
        assert labels[y0:y1, x0:x1].all()
        assert not labels[y0 - 1, x0:x1].any()
        assert not labels[y0:y1, x1].any()


def test_boxes_that_leave_are_masked_out_and_padding_stays_so():
    sample = {
        "image": np.zeros((1, 10, 10, 1), np.float32),
        "boxes": np.float32([[[0, 0, 2, 2], [3, 4, 9, 7], [0, 0, 0, 0], [3, 4, 9, 7]]]),
        "box_mask": np.array([[True, True, False, False]]),
    }
    out = jax.jit(scale(2.0, 2.0))(KEYS[:1], sample)
    np.testing.assert_allclose(out["boxes"][0, 1], [1, 3, 10, 9])
    assert out["box_mask"].tolist() == [[False, True, False, False]]


def reference_windows(count, low, high, aspect, seed=0):
    """Draw windows one at a time, as torchvision's loop does, in parts of a square image."""
    generator = np.random.default_rng(seed)
    windows = []
    for _ in range(count):
        height = width = 1.0
        for _ in range(10):
            area = generator.uniform(low, high)
            ratio = np.exp(generator.uniform(-np.log(aspect), np.log(aspect)))
            w, h = np.sqrt(area * ratio), np.sqrt(area / ratio)
            if w <= 1 and h <= 1:
                height, width = h, w
                break
        windows.append([*generator.uniform(0, [1 - height, 1 - width]), height, width])
    return np.array(windows)


def test_windows_follow_the_reference_distribution():
    """Twenty bins of area, aspect and place, each within five standard deviations."""
    count = 20_000
    keys = jax.random.split(jax.random.key(2), count)
    drawn = np.asarray(jax.vmap(lambda key: draw_window(key, 0.08, 1.0, 4 / 3))(keys))
    reference = reference_windows(count, 0.08, 1.0, 4 / 3)

    def histograms(windows):
        top, left, height, width = windows.T
        values = {
            "area": (height * width, (0.08, 1.0)),
            "aspect": (np.log(width / height), (-np.log(4 / 3), np.log(4 / 3))),
            "top": (top, (0.0, 0.75)),
            "left": (left, (0.0, 0.75)),
        }
        return {
            name: np.histogram(value, 20, limits)[0] for name, (value, limits) in values.items()
        }

    ours, theirs = histograms(drawn), histograms(reference)
    for name, expected in theirs.items():
        assert ours[name].sum() > 0.99 * count
        spread = np.sqrt(2 * np.maximum(expected, 10))
        assert (np.abs(ours[name] - expected) < 5 * spread).all(), name
    # The largest windows are rarer than even: few aspects fit.
    assert theirs["area"][-1] < 0.7 * theirs["area"][0]
    assert (drawn[:, :2] + drawn[:, 2:] <= 1 + 1e-6).all()


def test_a_crop_shows_its_window():
    """A ramp cut and stretched is a ramp: its ends tell the window's edges."""
    ramp = np.broadcast_to(
        np.linspace(0, 1, 64, dtype=np.float32)[None, None, :, None], (8, 4, 64, 1)
    )
    keys = KEYS[:8]
    out = np.asarray(jax.jit(random_resized_crop(0.1, 0.5))(keys, {"image": ramp})["image"])[
        :, 0, :, 0
    ]
    _, left, _, width = np.asarray(jax.vmap(lambda key: draw_window(key, 0.1, 0.5, 4 / 3))(keys)).T
    middle = (64 * (left + width / 2) - 0.5) / 63
    np.testing.assert_allclose(out[:, 31:33].mean(1), middle, atol=1e-5)
    np.testing.assert_allclose(
        np.diff(out[:, 20:40]), (width / 63)[:, None].repeat(19, 1), atol=1e-5
    )


@pytest.mark.parametrize(
    "augment",
    [flip(1.0), vertical_flip(0.5), pad_crop(pad=2), patch(4, 4)],
    ids=["flip", "vertical_flip", "pad_crop", "patch"],
)
def test_a_target_of_twice_the_size_goes_where_the_image_goes(augment):
    """As of super-resolution: each pixel of the image is a square of four in the target."""
    image = np.random.default_rng(0).random((6, 8, 8, 3)).astype(np.float32)
    target = image.repeat(2, 1).repeat(2, 2)
    keys = jax.random.split(jax.random.key(0), 6)
    moved = augment(keys, {"image": image, "target_image": target})
    small = np.asarray(moved["image"])
    np.testing.assert_array_equal(moved["target_image"], small.repeat(2, 1).repeat(2, 2))
    assert not np.array_equal(small, image[:, : small.shape[1], : small.shape[2]])


def test_a_target_that_is_no_multiple_of_the_image_is_refused():
    sample = {"image": np.zeros((1, 8, 8, 3)), "target_image": np.zeros((1, 12, 12, 3))}
    with pytest.raises(UsageError, match="a whole multiple of it, got 12x12"):
        pad_crop(pad=1)(jax.random.split(jax.random.key(0), 1), sample)
