"""labelme's JSON files: shapes as boxes and as label maps, and what is refused."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.labelme import (
    draw_label_map,
    open_labelme_boxes,
    open_labelme_masks,
)
from imgrec_jax.data.formats.labelme_shapes import Shape

CUP = {"label": "cup", "shape_type": "rectangle", "points": [[12, 8], [2, 4]]}
PEN = {"label": "pen", "shape_type": "polygon", "points": [[20, 10], [30, 10], [30, 18], [20, 18]]}


def write(root, name, shapes, size=(40, 20), **more):
    path = root / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    about = {"imagePath": f"{path.stem}.jpg", "imageWidth": width, "imageHeight": height, **more}
    path.write_text(json.dumps({"version": "5.0", "shapes": shapes, **about}), encoding="utf-8")
    Image.new("RGB", size, (9, 9, 9)).save(path.with_suffix(".jpg"))
    return root


def test_boxes_of_all_shapes_with_an_area(tmp_path, caplog):
    ball = {"label": "ball", "shape_type": "circle", "points": [[20, 10], [23, 14]]}
    point = {"label": "tip", "shape_type": "point", "points": [[1, 1]]}
    write(tmp_path, "my a", [CUP, PEN, ball, point, {**CUP, "label": "__ignore__"}])
    with caplog.at_level(logging.WARNING):
        train = open_labelme_boxes(str(tmp_path), None, 4)["train"]
    assert train.label_names == ("ball", "cup", "pen")
    assert train[0]["boxes"].tolist() == [[2, 4, 12, 8], [20, 10, 30, 18], [15, 5, 25, 15], [0] * 4]
    assert train[0]["box_label"].tolist() == [1, 2, 0, 0]
    assert "1 shapes without area are left out, such as" in caplog.text


def test_split_folders_parallel_folders_and_sizes_not_annotated(tmp_path):
    write(tmp_path, "Training/a", [CUP], imageWidth=None, imageHeight=0)
    write(tmp_path, "Testing/a", [CUP])
    (tmp_path / "Testing" / "labels").mkdir()
    (tmp_path / "Testing/a.json").rename(tmp_path / "Testing/labels/a.JSON")
    splits = open_labelme_boxes(str(tmp_path), None, 1)
    assert {split: len(source) for split, source in splits.items()} == {"train": 1, "test": 1}


def test_label_maps_of_shapes(tmp_path):
    write(
        tmp_path,
        "a",
        [CUP, PEN, {**PEN, "label": "__ignore__", "points": [[0, 0], [0, 3], [3, 0]]}],
    )
    write(tmp_path, "b", [])
    train = open_labelme_masks(str(tmp_path))["train"]
    assert train.label_names == ("background", "cup", "pen")
    label_map = train.targets["label_map"][0]
    expected = np.zeros((20, 40), bool)
    expected[4:8, 2:12] = True
    np.testing.assert_array_equal(label_map == 1, expected)
    assert (label_map[11:18, 21:30] == 2).all()
    assert label_map[0, 0] == 255
    assert not train.targets["label_map"][1].any()


def test_later_shapes_cover_earlier_ones():
    whole = Shape("a", "rectangle", [(0, 0), (8, 8)], "")
    ball = Shape("b", "circle", [(4, 4), (6, 4)], "")
    drawn = draw_label_map([whole, ball], (8, 8), ["background", "a", "b"])
    assert drawn[4, 4] == 2
    assert (drawn[:, 0] == 1).all()
    assert draw_label_map([ball, whole], (8, 8), ["background", "a", "b"]).min() == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({**CUP, "points": [[1, 2]]}, r"'cup' and 'rectangle' with 1 in .*a\.json, shape 1; try"),
        ({**PEN, "points": [[1, 2], [3, float("nan")], [5, 6]]}, "'polygon' with 0 in"),
        ({**CUP, "label": None}, "got None and 'rectangle'"),
        ({**CUP, "shape_type": "star"}, "'star' with 2 in"),
        ("text", "got None and 'polygon' with 0"),
    ],
)
def test_shapes_that_cannot_be(tmp_path, shape, message):
    with pytest.raises(UserError, match=message):
        open_labelme_boxes(str(write(tmp_path, "a", [shape])), None, 1)


def test_what_is_no_such_set(tmp_path):
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"\(with 'shapes'\) in .*, got none of 1 JSON files"):
        open_labelme_boxes(str(tmp_path), None, 1)
    write(tmp_path, "a", [])
    with pytest.raises(UserError, match="expected annotated objects"):
        open_labelme_boxes(str(tmp_path), None, 1)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"the image of .*a\.json in the same"):
        open_labelme_masks(str(tmp_path))
