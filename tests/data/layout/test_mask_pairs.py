"""How images and label images are paired, by folders, by suffixes and by lists."""

import logging

import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.layout.mask_pairs import pair_files
from imgrec_jax.data.layout.pair_lists import list_names


def pairs(*names, lists=None):
    told = {split: (f"{split}.txt", text) for split, text in (lists or {}).items()}
    return {
        split: [tuple(p) for p in found] for split, found in pair_files(names, told, "x").items()
    }


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("train_images/a.jpg", "train_masks/a.png"),
        ("images/Training/a.jpg", "annotations/training/a.png"),
        ("train/images/a.jpg", "train/masks/a_mask.gif"),
        ("images_train/a.jpg", "masks_train/a.png"),
        ("train/a.jpg", "trainannot/a.png"),
        ("train/a.jpg", "train_labels/a_L.png"),
        ("train/a.jpg", "train/a_mask.png"),
        ("train/a_sat.jpg", "train/a_mask.png"),
        ("PNGImages/a.png", "PedMasks/a_mask.png"),
        ("CameraRGB/a.png", "CameraSeg/a.png"),
        ("img/a.jpg", "ann/a.png"),
        ("set/ISIC_Images/a.jpg", "set/ISIC_GroundTruth/a_segmentation.png"),
        ("set masks/my images/a b.jpg", "set masks/my masks/a b.png"),
        ("JPEGImages/a.JPG", "SegmentationClassPNG/a.PNG"),
    ],
)
def test_common_layouts(image, mask):
    assert pairs(image, mask) == {"train": [(image, mask)]}


def test_a_mask_of_train_never_becomes_one_of_test(caplog):
    names = ("images/train/a.png", "masks/train/a.png", "images/test/b.png", "masks/train/b.png")
    assert pairs(*names) == {"train": [names[:2]]}
    assert "test has no masks and is left out" in caplog.text


def test_cityscapes_takes_the_label_image_to_train_on():
    names = [
        f"{top}{part}/{split}/town/town_0_0_{kind}.png"
        for split in ("train", "val")
        for top in ("",)
        for part, kind in (
            ("leftImg8bit", "leftImg8bit"),
            ("gtFine", "gtFine_color"),
            ("gtFine", "gtFine_instanceIds"),
            ("gtFine", "gtFine_labelIds"),
            ("gtFine", "gtFine_labelTrainIds"),
        )
    ]
    found = pairs(*names)
    assert list(found) == ["train", "val"]
    assert found["train"] == [
        (
            "leftImg8bit/train/town/town_0_0_leftImg8bit.png",
            "gtFine/train/town/town_0_0_gtFine_labelTrainIds.png",
        )
    ]
    official = [
        "leftImg8bit_trainvaltest/leftImg8bit/test/t/t_leftImg8bit.png",
        "gtFine_trainvaltest/gtFine/test/t/t_gtFine_labelIds.png",
    ]
    assert pairs(*official) == {"test": [tuple(official)]}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("images/0.jpg", "images/0.png", "masks/0.png"), "got images/0.jpg and images/0.png; try"),
        (("images/0.jpg", "masks/0.png", "masks/0.tif"), "got masks/0.png and masks/0.tif; try"),
        (("images/0.jpg", "masks/0.png", "masks/0_L.png"), "got masks/0.png and masks/0_L.png; t"),
    ],
)
def test_two_files_of_a_name_are_refused_by_both_names(names, told):
    with pytest.raises(UserError, match=told):
        pairs(*names)


def test_a_list_with_suffixes_or_pairs_decides_between_two_files():
    names = ("images/0.jpg", "images/0.png", "masks/0.png", "masks/0.tif")
    text = "images/0.jpg masks/0.tif\n"
    assert pairs(*names, lists={"train": text}) == {"train": [("images/0.jpg", "masks/0.tif")]}
    text = "0.png\n"
    assert pairs(*names[:3], lists={"train": text}) == {"train": [("images/0.png", "masks/0.png")]}
    with pytest.raises(UserError, match=r"name one image, got images/0.jpg and images/0.png; try"):
        pairs(*names[:3], lists={"train": "0\n"})


def test_a_stem_in_a_list_is_looked_for_in_its_split():
    names = [f"{split}/{kind}/0.png" for split in ("train", "test") for kind in ("images", "masks")]
    found = pairs(*names, lists={"train": "0\n", "test": "0\n"})
    assert found == {"train": [tuple(names[:2])], "test": [tuple(names[2:])]}


def test_lists_may_have_names_with_spaces_and_further_columns():
    names = ("images/my a.jpg", "masks/my a.png", "images/b.jpg", "masks/b.png", "images/my.jpg")
    text = "my a\nb 1 2 3\n"
    assert pairs(*names, lists={"train": text}) == {"train": [names[:2], names[2:4]]}
    text = "images/my a.jpg masks/my a.png\nb.jpg\n"
    assert pairs(*names, lists={"train": text}) == {"train": [names[:2], names[2:4]]}


def test_lists_by_any_name_of_a_split():
    names = ["Training.txt", "lists/TEST_list.TXT", "a/b/val.txt", "readme.txt"]
    assert list_names(names, "ImageSets/Segmentation/") == {
        "train": "Training.txt",
        "test": "lists/TEST_list.TXT",
    }
    voc = ["ImageSets/Segmentation/trainval.txt", "ImageSets/Segmentation/test.txt"]
    assert list_names([*names, *voc], "ImageSets/Segmentation/") == {
        "train": voc[0],
        "test": voc[1],
    }


def test_what_takes_no_part_is_named(caplog):
    names = ("images/a.jpg", "masks/a.png", "masks/b.png", "masks/c.png", "preview.png")
    with caplog.at_level(logging.WARNING):
        assert pairs(*names) == {"train": [names[:2]]}
    assert "2 masks without an image are left out, such as masks/b.png" in caplog.text
    assert "1 images outside the folders of images and masks are left out" in caplog.text
