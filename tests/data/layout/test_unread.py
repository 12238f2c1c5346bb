"""What is not read is counted and named; a folder one level too high is recognised."""

import json
import logging
import zipfile

import numpy as np
import pytest
from made_voc import xml
from PIL import Image

from imgrec_jax.data.formats.coco import read_coco
from imgrec_jax.data.formats.folder import Labelling, find_images
from imgrec_jax.data.formats.mask_files import find_masks
from imgrec_jax.data.formats.voc import read_voc
from imgrec_jax.data.formats.yolo import read_yolo
from imgrec_jax.data.layout.unread import warn_unread_files


def tree(root, names):
    """Write images with the suffix .png, empty files of other names, and folders ending in /."""
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if name.endswith(".png"):
            Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
        elif not name.endswith("/"):
            path.write_bytes(b"")
    return root


def warnings(caplog):
    return [record.getMessage() for record in caplog.records]


BOTH = ["cat/0.png", "dog/0.png"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat/1.jpe", "cat/2.JPE", "dog/3", "dog/4", "dog/5"], "5 files are not read: 3 without"),
        (["cat/1.jpe", "cat/2.JPE", "dog/3"], "2 .jpe in cat, 1 without suffix in dog"),
        (["dog/note.txt"], "1 files are not read: 1 .txt in dog"),
        (["dog/deep/x.svg"], "1 files are not read: 1 .svg in dog/deep"),
        (["picture.jp2"], "1 files are not read: 1 .jp2 in ."),
        (["README.md", "labels.json", "cat/.hidden", "cat/Thumbs.db", ".git/x/y"], ""),
        (["fish/"], "no image in fish: not a class"),
    ],
)
def test_files_that_are_no_images_are_counted_by_folder(tmp_path, caplog, names, expected):
    find_images(str(tree(tmp_path, BOTH + names)))
    assert len(warnings(caplog)) == bool(expected)
    assert expected in "".join(warnings(caplog))


def test_a_class_folder_of_unread_files_is_named_below_a_split(tmp_path, caplog):
    names = [f"{split}/{name}" for split in ("train", "test") for name in BOTH]
    find_images(str(tree(tmp_path, [*names, "train/bird/1.jpe", "test/fish/", "docs/a.pdf"])))
    assert warnings(caplog) == [
        warnings(caplog)[0],
        f"{tmp_path}: no image in test/fish, train/bird: not a class; try adding images or "
        "removing the folder",
    ]
    assert "1 files are not read: 1 .jpe in train/bird; " in warnings(caplog)[0]


def test_an_archive_has_the_same_warning(tmp_path, caplog):
    tree(tmp_path / "set", [*BOTH, "bird/1.jpe"])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as file:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            file.write(path, path.relative_to(tmp_path / "set"))
    find_images(str(tmp_path / "set.zip"))
    assert "1 .jpe in bird" in warnings(caplog)[0]
    assert "no image in bird" in warnings(caplog)[1]


def test_a_folder_one_level_too_high_is_recognised(tmp_path, caplog):
    classes = [f"Dataset/{name}/0.png" for name in "abcdefg"]
    find_images(str(tree(tmp_path, [*classes, "other/0.png"])))
    assert warnings(caplog) == [
        f"{tmp_path}: the class 'Dataset' has no image itself but 7 sub-folders (a, b, c, d, e and "
        f"2 more); if these are the classes, try the path {tmp_path / 'Dataset'}"
    ]


def test_a_table_says_what_files_are(tmp_path, caplog):
    tree(tmp_path, ["images/a.png", "images/b.png"])
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\nb.png,y\n", encoding="utf-8")
    find_images(str(tmp_path), Labelling(columns="file,label"))
    assert not warnings(caplog)


def test_names_alone_are_enough(caplog):
    with caplog.at_level(logging.WARNING):
        warn_unread_files(["a.png", "a.xml", "b/c.jp2", "b/d.jp2", ".x", "list.txt"], "here")
    assert warnings(caplog)[0].startswith("here: 2 files are not read: 2 .jp2 in b; images have ")


@pytest.mark.parametrize("kind", ["masks", "coco", "voc", "yolo"])
def test_every_source_of_annotations_names_what_it_does_not_read(tmp_path, caplog, kind):
    tree(tmp_path, ["images/a.png", "images/b.jp2"])
    if kind == "masks":
        tree(tmp_path, ["masks/a.png"])
        find_masks(str(tmp_path))
    elif kind == "coco":
        content = {
            "images": [{"id": 0, "file_name": "a.png", "width": 2, "height": 2}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 0, "bbox": [0, 0, 2, 2]}],
            "categories": [{"id": 0, "name": "cup"}],
        }
        tree(tmp_path, ["images/new.png"])
        (tmp_path / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
        read_coco(str(tmp_path))
    elif kind == "voc":
        (tmp_path / "annotations").mkdir()
        text = xml([("cup", (0, 0, 2, 2))], size=(2, 2))
        (tmp_path / "annotations" / "a.xml").write_text(text, encoding="utf-8")
        read_voc(str(tmp_path))
    else:
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 1 1\n", encoding="utf-8")
        read_yolo(str(tmp_path))
    assert "1 files are not read: 1 .jp2 in images; " in warnings(caplog)[0]
    assert (kind == "coco") == any("images/new.png" in message for message in warnings(caplog))
