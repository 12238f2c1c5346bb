"""YOLO's text files: boxes and polygons, the layouts of exporters, what is refused."""

import zipfile

import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.yolo import open_yolo

BOX = "0 0.5 0.5 0.5 0.25\n"


def write(root, files):
    """Write text files, and images of (width, height)."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            Image.new("RGB", content, (9, 9, 9)).save(path)
    return root


def opened(root, shape=(20, 40)):
    return open_yolo(str(root), shape, 3)


def lengths(root):
    return {split: len(source) for split, source in opened(root).items()}


YAML = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: ['cup', 'pen']\n"
ROBOFLOW = {
    "data.yaml": YAML,
    "train/images/a.rf.1.jpg": (40, 20),
    "train/labels/a.rf.1.txt": BOX + "1 0.1 0.2 0.3 0.2 0.3 0.4 0.1 0.4\n",
    "valid/images/b.jpg": (40, 20),
    "valid/labels/b.txt": "",
}


def test_boxes_and_polygons_by_hand(tmp_path):
    splits = opened(write(tmp_path, ROBOFLOW))
    assert list(splits) == ["train", "val"]
    row = splits["train"][0]
    assert splits["train"].label_names == ("cup", "pen")
    assert row["boxes"][:2].tolist() == [[10, 7.5, 30, 12.5], pytest.approx([4, 4, 12, 8])]
    assert row["box_label"][:2].tolist() == [0, 1]
    assert not splits["val"][0]["box_mask"].any()


def test_the_yaml_file_or_an_archive_may_be_named(tmp_path):
    root = write(tmp_path / "set", ROBOFLOW)
    assert lengths(root / "data.yaml") == {"train": 1, "val": 1}
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ROBOFLOW:
            archive.write(root / name, name)
    assert lengths(tmp_path / "set.zip") == {"train": 1, "val": 1}


@pytest.mark.parametrize(
    "entries",
    [
        "path: /elsewhere/set\ntrain: images/train\nval: images/val\n",
        "train: /content/set/images/train/\nval: [C:\\set\\images\\val]\n",
        "train: train.txt\nval: images/val\n",
        "",
    ],
    ids=["path", "other machines", "list", "folders"],
)
def test_splits_of_yaml_lists_and_folders(tmp_path, entries):
    files = {
        "images/train/my a.JPG": (40, 20),
        "labels/train/my a.TXT": BOX,
        "images/val/b.png": (40, 20),
        "labels/val/b.txt": BOX,
        "set.yaml": f"{entries}names: {{0: cup, 1: pen}}\n",
        "train.txt": "./images/train/my a.JPG\n",
    }
    files = (
        files if "train.txt" in entries else {k: v for k, v in files.items() if k != "train.txt"}
    )
    splits = opened(write(tmp_path, files))
    assert [(s, len(source)) for s, source in splits.items()] == [("train", 1), ("val", 1)]
    assert splits["val"].label_names == ("cup", "pen")


def test_everything_in_one_folder_with_a_class_list(tmp_path):
    files = {"a.jpg": (40, 20), "a.txt": BOX, "b.jpg": (40, 20), "classes.txt": "cup\npen\n"}
    train = opened(write(tmp_path, files))["train"]
    assert (train.label_names, len(train)) == (("cup", "pen"), 2)


def test_classes_without_names_are_their_numbers(tmp_path):
    files = {"a.jpg": (40, 20), "a.txt": "7 0.5 0.5 0.1 0.1\n2147483648 0.2 0.2 0.1 0.1\n"}
    assert opened(write(tmp_path, files))["train"].label_names == ("7", "2147483648")


def test_boxes_follow_the_sizes_of_their_images(tmp_path):
    files = {"a.jpg": (40, 20), "a.txt": BOX, "b.jpg": (80, 80), "b.txt": BOX}
    train = opened(write(tmp_path, files), (10, 10))["train"]
    assert [row["boxes"][0].tolist() for row in (train[0], train[1])] == [
        [2.5, 3.75, 7.5, 6.25]
    ] * 2
    with pytest.raises(
        UsageError, match=r"images of one size .*; try --config\.data\.image_shape="
    ):
        opened(tmp_path, None)


def test_what_has_no_text_file_is_counted(tmp_path, caplog):
    files = ROBOFLOW | {"train/images/c.jpg": (40, 20), "test/images/d.jpg": (40, 20)}
    assert lengths(write(tmp_path, files)) == {"train": 2, "val": 1}
    assert "1 images of train have no text file" in caplog.text
    assert "test has no annotations and is left out" in caplog.text


def test_lines_of_a_list_that_name_no_image_are_counted(tmp_path, caplog):
    files = {"a.jpg": (40, 20), "a.txt": BOX, "train.txt": "a.jpg\n/data/gone.jpg\n"}
    assert lengths(write(tmp_path, files)) == {"train": 1}
    assert (
        "train.txt: 1 lines name no image of the data set, such as '/data/gone.jpg'" in caplog.text
    )


def test_a_missing_test_folder_never_becomes_another(tmp_path):
    files = {"images/train/a.jpg": (40, 20), "labels/train/a.txt": BOX}
    files["data.yaml"] = "train: images/train\ntest: other/test/images\nnames: [cup]\n"
    assert lengths(write(tmp_path, files)) == {"train": 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.txt": "0 0.5 0.5 0.1\n"}, r"got '0 0\.5 0\.5 0\.1' in .*a\.txt, line 1; try"),
        ({"a.txt": BOX + "x 0 0 1 1\n"}, r"'CLASS X Y WIDTH HEIGHT' .*a\.txt, line 2"),
        ({"a.txt": "0 320 240 20 20\n"}, r"\(0 to 1\), got 320 in .*a\.txt, line 1; try dividing"),
        ({"a.txt": "0 nan 0.5 0.1 0.1\n"}, r"\(0 to 1\), got nan"),
        ({"a.txt": "-1 0.5 0.5 0.1 0.1\n"}, r"'CLASS X Y"),
        ({"data.yaml": "names: [cup]\n", "a.txt": "3 0.5 0.5 0.1 0.1"}, r"0 to 0, .* got 3 in"),
        ({"data.yaml": "names: [cup, cup]\n"}, r"different class names.*got 'cup' twice"),
        ({"data.yaml": "names: 3\n"}, r"different class names"),
        ({"data.yaml": "names: [cup\ntrain: x\n"}, r"expected YAML, got .*data\.yaml, line"),
        ({"data.yaml": "names: [cup]\ntrain: gone\n"}, r"images of train at 'gone'"),
        ({"a.png": (40, 20)}, r"one image for .*a\.txt, got a\.jpg and a\.png; try"),
        ({"a.TXT": BOX}, r"one annotation of a\.jpg in .*, got a\.TXT and a\.txt; try"),
        ({"a.txt": ""}, r"expected annotated objects in"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, files, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(write(tmp_path, {"a.jpg": (40, 20), "a.txt": BOX, **files}))
    assert "\n" not in str(caught.value)
