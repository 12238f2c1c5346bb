"""Annotations that cannot be meant get one warning: almost equal classes, relative boxes."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.raw_images import open_stored
from imgrec_jax.build.sources import open_source
from imgrec_jax.data.formats.coco import read_coco
from imgrec_jax.data.sources.similar_names import warn_of_similar_names


def warnings(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("Cat", "cat", "dog"), "'Cat' and 'cat'"),
        (("1", "1.0", "2"), "'1' and '1.0'"),
        (("01", "1", "2"), "'01' and '1'"),
        (("cat", "cat ", "a b", "a  b"), "'cat' and 'cat ', 'a b' and 'a  b'"),
        (("cat", "CAT", "Cat"), "'cat' and 'CAT', 'cat' and 'Cat'"),
        (("\uff21", "a"), "'\uff21' and 'a'"),  # full width
    ],
)
def test_classes_that_are_almost_equal_get_one_warning(caplog, names, pairs):
    warn_of_similar_names(names, "here")
    assert len(warnings(caplog)) == 1
    assert warnings(caplog)[0].startswith(f"here: the classes {pairs} differ only in case")


@pytest.mark.parametrize("names", [("cat", "cats"), ("1", "2"), ("a1", "a1.0"), ("a-b", "ab")])
def test_other_classes_get_none(caplog, names):
    warn_of_similar_names(names, "here")
    assert not warnings(caplog)


@pytest.mark.parametrize("open_any", [open_source, open_stored])
@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_every_source_warns_once(tmp_path, caplog, open_any, kind):
    images = np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3)
    where = tmp_path / "set.npz"
    np.savez(where, x_train=images, y_train=[0, 1, 0, 1], label_names=["Cat", "cat"])
    if kind == "folder":
        where = tmp_path / "set"
        for row, image in enumerate(images):
            path = where / ("Cat", "cat")[row % 2] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    with caplog.at_level(logging.WARNING):
        open_any(get_config("base", data__source=f"{kind}:{where}"))
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([[0.1, 0.1, 0.4, 0.5], [0.0, 0.0, 1.0, 1.0]], "2 of 2 boxes lie between 0 and 1"),
        ([[0.1, 0.1, 0.4, 0.5], [0.2, 0.1, 0.4, 0.5], [4, 4, 9, 9]], "2 of 3 boxes lie"),
        ([[0.1, 0.1, 0.4, 0.5], [4, 4, 9, 9]], ""),
        ([[0, 0, 9, 9]], ""),
    ],
)
def test_boxes_in_fractions_get_one_warning(tmp_path, caplog, boxes, expected):
    Image.new("RGB", (48, 32)).save(tmp_path / "0.png")
    entries = [
        {"id": k, "image_id": 0, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 0, "file_name": "0.png", "width": 48, "height": 32}],
        "annotations": entries,
        "categories": [{"id": 1, "name": "cup"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    read_coco(str(tmp_path)).cleaned()
    assert len(warnings(caplog)) == bool(expected)
    assert expected in "".join(warnings(caplog))
