"""Pairs of two resolutions: crops are parts of the whole, orientations agree, padding is told."""

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core import bicubic
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.digits import open_digits
from imgrec_jax.data.formats.whole_images import open_whole_images
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.image_pairs import make_pairs

SIZES = {"train/a": (31, 40), "train/b": (45, 26), "test/c": (20, 33), "test/grey": (24, 17)}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        shape = (height, width) if name.endswith("grey") else (height, width, 3)
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(path)
    return tmp_path


def pairs(folder, scale=3, patch=5, memory=-1.0):
    with memory_limit.limited(memory):
        return make_pairs(open_whole_images(str(folder)), scale, patch, seed=0)


def test_a_whole_example_is_cut_to_the_scale_and_padded_by_mirroring(folder):
    test = pairs(folder)["test"]
    batch = test.read(np.array([0, 1]), np.array([-1, -1]))
    assert batch["size"].tolist() == [[6, 11], [8, 5]]
    assert batch["grey"].tolist() == [False, True]
    assert batch["image"].shape == (2, 8, 11, 3)
    assert batch["target_image"].shape == (2, 24, 33, 3)
    with Image.open(folder / "test/c.png") as image:
        truth = np.asarray(image)[:18]
    np.testing.assert_array_equal(batch["target_image"][0, :18], truth)
    np.testing.assert_array_equal(batch["target_image"][0, 18:], truth[:-7:-1])
    low = bicubic.downscale(truth.astype(np.float64), 3).clip(0, 255)
    np.testing.assert_allclose(batch["image"][0, :6] / 257, low, atol=0.01)
    np.testing.assert_array_equal(batch["image"][0, 6:], batch["image"][0, 5:3:-1])


@pytest.mark.parametrize("memory", [-1.0, 0.0])
def test_a_crop_is_a_part_of_both_resolutions_in_one_orientation(folder, memory):
    train = pairs(folder, memory=memory)["train"]
    assert bool(train.images.held) == bool(train.held) == (memory != 0)
    orientations = set()
    for epoch in range(40):
        batch = train.read(np.array([1]), np.array([epoch]))
        target, low = batch["target_image"][0], batch["image"][0].astype(int)
        assert (low.shape, target.shape) == ((5, 5, 3), (15, 15, 3))
        whole = train[1]
        turns = [(k, m) for k in range(4) for m in (1, -1)]
        found = [
            (k, m, top, left)
            for k, m in turns
            for top in range(45 // 3 - 4)
            for left in range(26 // 3 - 4)
            if np.array_equal(
                np.rot90(whole["target_image"][3 * top :, 3 * left :][:15, :15], k)[:, ::m], target
            )
        ]
        assert len(found) == 1
        k, m, top, left = found[0]
        part = whole["image"][top : top + 5, left : left + 5].astype(int)
        assert np.abs(np.rot90(part, k)[:, ::m] - low).max() <= 1  # of 65,535: rounding
        orientations.add((k, m))
    assert len(orientations) == 8


def test_crops_are_a_function_of_seed_epoch_and_row(folder):
    train = pairs(folder)["train"]
    together = train.read(np.array([0, 1, 0]), np.array([3, 3, 4]))["image"]
    alone = train.read(np.array([0]), np.array([4]))["image"]
    np.testing.assert_array_equal(together[2:], alone)
    assert not np.array_equal(together[0], together[2])


def test_what_is_too_small_or_no_image_is_refused(folder):
    with pytest.raises(UserError, match=r"at least 30x30 pixels, got 26x45 in .*b\.png; try a sm"):
        pairs(folder, patch=10)
    with pytest.raises(UsageError, match=r"expected a data\.source of images for pairs"):
        make_pairs(open_digits(), 2, 2, 0)
    with pytest.raises(UsageError, match="got 'Set6'; known: test, train"):
        open_whole_images(str(folder), train="train", test="Set6")


def test_named_folders_are_splits(folder):
    splits = open_whole_images(str(folder), train="train", test="test, train")
    assert {name: len(source) for name, source in splits.items()} == {"train": 2, "test": 2}
    (folder / "train").rename(folder / "T91")
    splits = open_whole_images(str(folder), train="T91", test="test,T91")
    assert {name: len(source) for name, source in splits.items()} == {
        "train": 2,
        "test": 2,
        "t91": 2,
    }
    assert set(open_whole_images(str(folder / "T91"))) == {"train"}
