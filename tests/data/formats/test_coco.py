import json

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.coco import open_coco


def content():
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
            {"id": 9, "file_name": "b.png", "width": 40, "height": 20},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 90, "bbox": [1, 2, 10, 5], "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [5, 5, 20, 10], "iscrowd": 1},
        ],
    }


def write(root, split, written):
    (root / "annotations").mkdir(exist_ok=True, parents=True)
    file = root / "annotations" / f"instances_{split}2017.json"
    file.write_text(written if isinstance(written, str) else json.dumps(written), encoding="utf-8")
    (root / f"{split}2017").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(root / f"{split}2017" / name)


def test_a_folder_by_hand(tmp_path):
    """Ids with gaps are numbered in their order; an image without things is an image."""
    write(tmp_path, "train", content())
    write(tmp_path, "val", content())
    splits = open_coco(str(tmp_path), (40, 40), 3)
    assert list(splits) == ["train", "val"]
    train = splits["train"]
    assert train.label_names == ("car", "zebra")
    assert not train[0]["box_mask"].any()
    assert train[1]["boxes"].tolist() == [[1, 4, 11, 14], [5, 10, 25, 30], [0, 0, 0, 0]]
    assert train[1]["box_label"].tolist() == [1, 0, 0]
    assert train[1]["box_ignore"].tolist() == [False, True, False]


def test_one_file_beside_its_images(tmp_path):
    write(tmp_path, "train", content())
    file = tmp_path / "train2017" / "_annotations.coco.json"
    file.write_text(json.dumps(content()), encoding="utf-8")
    assert list(open_coco(str(file), None, 3)) == ["train"]
    assert open_coco(str(file.parent), None, 3)["train"].image_shape == (20, 40, 3)


def test_a_split_without_annotations_is_left_out(tmp_path, caplog):
    write(tmp_path, "train", content())
    write(tmp_path, "test", {k: v for k, v in content().items() if k != "annotations"})
    assert list(open_coco(str(tmp_path), None, 3)) == ["train"]
    assert "test is left out" in caplog.text


def by_line(written):
    """Return JSON with a line for each entry: of the annotations, the first is on line 17."""
    lists = (
        f'"{name}": [\n\n' + ",\n\n".join(json.dumps(entry) for entry in entries) + "\n\n]"
        for name, entries in written.items()
    )
    return "{" + ",\n".join(lists) + "}"


def test_boxes_outside_are_clipped_and_counted(tmp_path, caplog):
    written = content()
    written["annotations"][0]["bbox"] = [-5, 15, 10, 10]
    written["annotations"][1]["bbox"] = [45, 5, 10, 10]
    write(tmp_path, "train", written)
    row = open_coco(str(tmp_path), None, 3)["train"][1]
    assert row["boxes"][row["box_mask"]].tolist() == [[0, 15, 5, 20]]
    assert "1 boxes reach outside their images and are clipped, 1 without area" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"bbox": [1, 2, -3, 5]},
            r"got -3x5 in .*2017\.json, line 17, annotation 1; try correcting",
        ),
        ({"bbox": [1, 2, float("nan"), 5]}, r"line 17, annotation 1; try correcting or removing"),
        ({"bbox": [1, 2, 3]}, r"bbox as \[x, y, width, height\]"),
        ({"category_id": 4}, "expected a known category, got 4 in .*annotation 1"),
        ({"image_id": 8}, "expected a known image, got 8"),
        ({"image_id": "9"}, "whole number as 'image_id'"),
    ],
)
def test_wrong_annotations_are_told(tmp_path, change, message):
    written = content()
    written["annotations"][0] |= change
    write(tmp_path, "train", by_line(written))
    with pytest.raises(UserError, match=message) as error:
        open_coco(str(tmp_path), None, 3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('{"images": [\n  {"id": 1,}]}', "instances_train2017.json, line 2"),
        ("[]", "COCO's JSON object"),
        ('{"images": 3, "annotations": []}', "annotated objects|list of objects"),
    ],
)
def test_malformed_json_is_told(tmp_path, written, message):
    write(tmp_path, "train", written)
    with pytest.raises(UserError, match=message):
        open_coco(str(tmp_path), None, 3)


def test_names_do_not_lead_out_and_images_must_be_there(tmp_path):
    written = content()
    written["images"][0]["file_name"] = "../../secret.png"
    write(tmp_path, "train", written)
    with pytest.raises(UserError, match="inside the folder"):
        open_coco(str(tmp_path), None, 3)
    written["images"][0]["file_name"] = "gone.png"
    write(tmp_path, "train", written)
    with pytest.raises(UserError, match=r"gone\.png.*looked in"):
        open_coco(str(tmp_path), None, 3)


def test_too_many_boxes_name_the_key_to_raise(tmp_path):
    write(tmp_path, "train", content())
    with pytest.raises(UsageError, match=r"data\.max_boxes=2$"):
        open_coco(str(tmp_path), None, 1)


def test_an_id_of_thousands_of_digits_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [{"id": ' + "9" * 5000 + "}]}", encoding="utf-8")
    with pytest.raises(UserError, match=r"expected numbers of a few digits, got .*a\.json; try"):
        open_coco(str(tmp_path / "a.json"), None, 4)


def placed(root, images, file="annotations/instances_default.json", changes=()):
    """Write images, and a file that names them by the keys of `images`."""
    told = content()
    for entry, (name, path) in zip(told["images"], images.items(), strict=True):
        entry["file_name"] = name
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), (entry["id"], 0, 0)).save(root / path)
    for change in changes:
        change(told)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(told), encoding="utf-8")
    return root


def opened(root):
    return {s: [int(row["image"][0, 0, 0]) for row in source] for s, source in rows(root).items()}


def rows(root):
    found = open_coco(str(root), None, 3)
    return {split: [source[k] for k in range(len(source))] for split, source in found.items()}


@pytest.mark.parametrize(
    "name", ["instances_trainval", "latest", "retrieval", "instances_default", "result"]
)
def test_a_file_without_the_name_of_a_split_is_train(tmp_path, name):
    images = {"a.png": "images/a.png", "b.png": "images/b.png"}
    assert opened(placed(tmp_path, images, f"annotations/{name}.json")) == {"train": [7, 9]}


def test_split_names_of_files_and_folders(tmp_path):
    images = {"a.png": "Training/a.png", "b.png": "Training/b.png"}
    placed(tmp_path, images, "Training/_annotations.coco.JSON")
    placed(tmp_path, {k: f"pictures/Testing/{k}" for k in images}, "my-Testing.json")
    assert opened(tmp_path) == {"train": [7, 9], "test": [7, 9]}


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (("images\\a.png", "images\\b.png"), "images"),
        (("C:\\data\\images\\a.png", "C:\\data\\images\\b.png"), "images"),
        (("/data/upload/1/a.png", "/data/upload/1/b.png"), "photos"),
        (("./a.png", "./b.png"), "deep/down"),
    ],
)
def test_names_of_other_machines(tmp_path, names, folder):
    paths = [f"{folder}/a.png", f"{folder}/b.png"]
    root = placed(tmp_path, dict(zip(names, paths, strict=True)), "result.json")
    assert opened(root) == {"train": [7, 9]}


def test_the_longest_end_of_a_path_that_exists_counts(tmp_path):
    paths = ["left/a.png", "left/b.png"]
    placed(tmp_path, {f"D:\\set\\{path}": path for path in paths}, "result.json")
    (tmp_path / "right").mkdir()
    Image.new("RGB", (40, 20), (1, 1, 1)).save(tmp_path / "right/a.png")
    assert opened(tmp_path) == {"train": [7, 9]}


def test_an_annotation_file_by_its_path_finds_the_images_beside_its_folder(tmp_path):
    images = {"a.png": "val2017/a.png", "b.png": "val2017/b.png"}
    placed(tmp_path, images, "annotations/instances_val2017.json")
    assert opened(tmp_path / "annotations/instances_val2017.json") == {"train": [7, 9]}


def test_the_unused_root_and_unused_namesakes_are_no_classes(tmp_path):
    def with_root(told):
        told["categories"] += [
            {"id": 0, "name": "things", "supercategory": "none"},
            {"id": 1, "name": "car", "supercategory": "things"},
            {"id": 2, "name": "unused", "supercategory": "things"},
        ]

    images = {"a.png": "a.png", "b.png": "b.png"}
    root = placed(tmp_path, images, "train.json", [with_root])
    assert open_coco(str(root), None, 3)["train"].label_names == ("unused", "car", "zebra")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda told: told["images"][1].update(id=7),
            r"one image of the id 7 in .*, got 'a\.png' and 'b\.png'; try",
        ),
        (
            lambda told: told["images"][1].update(file_name="./a.png"),
            r"each image once in train\.json of .*, got entries 1 .* and 2 \('\./a\.png'\) for a",
        ),
        (
            lambda told: told["categories"][1].update(id=90),
            r"one category of the id 90 in .*, got 'zebra' and 'car'; try",
        ),
        (
            lambda told: told["categories"][1].update(name="zebra"),
            r"different names in .*, got 'zebra' as 3 and 90; try renaming",
        ),
    ],
    ids=["image ids", "file names", "category ids", "category names"],
)
def test_collisions_are_refused_by_both_names(tmp_path, change, message):
    images = {"a.png": "a.png", "b.png": "b.png"}
    placed(tmp_path, images, "train.json", [change])
    with pytest.raises(UserError, match=message):
        open_coco(str(tmp_path), None, 3)


def test_images_of_unknown_size_are_measured(tmp_path):
    def without_sizes(told):
        del told["images"][0]["width"], told["images"][0]["height"]
        told["images"][1].update(width=0, height=None)

    images = {"a.png": "a.png", "b.png": "b.png"}
    root = placed(tmp_path, images, "train.json", [without_sizes])
    assert open_coco(str(root), None, 3)["train"].image_shape == (20, 40, 3)


@pytest.mark.parametrize("area", [900, None, 0, "x"])
def test_areas_and_sizes_are_those_of_the_file(tmp_path, area):
    """An outline's area is kept; without one, the box has its own, in pixels as stored."""
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "a.png")
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 60, 20], "area": area}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 40}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [entry],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    example = open_coco(str(tmp_path), (20, 20), 2)["train"][0]
    assert example["box_area"].tolist() == [900 if area == 900 else 1200, 0]
    assert example["image_size"].tolist() == [40, 80]
    assert example["boxes"][0].tolist() == [2.5, 5, 17.5, 15]
