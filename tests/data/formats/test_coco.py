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
        ({"bbox": [1, 2, -3, 5]}, r"got -3x5 in .*2017\.json, line 17, annotation 1; try mending"),
        ({"bbox": [1, 2, float("nan"), 5]}, r"line 17, annotation 1; try mending or removing"),
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
        ('{"images": 3, "annotations": []}', "annotated things|list of objects"),
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
