"""What an inspection tells of boxes, in numbers worked out by hand."""

import json

from made_voc import xml
from PIL import Image

from imgrec_jax.__main__ import main

OBJECTS = {
    "a": [("cell", (0, 0, 10, 20)), ("cell", (5, 5, 25, 15)), ("dish", (0, 0, 64, 48))],
    "b": [("cell", (10, 10, 40, 22))],
    "c": [],
}


def make_set(folder):
    """Write three images of 64x48, of which one has no boxes; a cell in the second is hard."""
    for inner in ("Annotations", "JPEGImages"):
        (folder / inner).mkdir(parents=True)
    for number, (name, objects) in enumerate(OBJECTS.items()):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(folder / f"JPEGImages/{name}.png")
        hard = "<object><name>cell</name><difficult>1</difficult><bndbox><xmin>1</xmin>"
        hard += "<ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></object>"
        text = xml(objects, extra=hard if name == "b" else "")
        (folder / f"Annotations/{name}.xml").write_text(text, encoding="utf-8")


def test_boxes_are_counted_and_measured_by_label(tmp_path, capsys):
    make_set(tmp_path / "set")
    arguments = ["inspect", f"voc:{tmp_path / 'set'}", f"--out={tmp_path}"]
    assert main(["data", *arguments, "--json"]) == 0
    statistics = json.loads(capsys.readouterr().out)["splits"]["train"]
    assert statistics["classes"] == {"cell": 2, "dish": 1}  # images
    assert statistics["boxes"]["labels"]["cell"] == {
        "boxes": 3,
        "width": {"least": 10, "median": 20, "most": 30},
        "height": {"least": 10, "median": 12, "most": 20},
    }
    assert statistics["boxes"]["labels"]["dish"]["boxes"] == 1
    assert statistics["boxes"]["ignored"] == 1
    assert statistics["boxes"]["images_without"] == 1
    assert statistics["boxes"]["in_an_image"] == {"least": 0, "median": 2, "most": 3}

    assert main(["data", *arguments]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "cell 3 10 / 20 / 30 10 / 12 / 20" in lines
    assert "train 4 1 0 / 2 / 3 1" in lines
    assert "--config=bccd_fcos" in lines[-1]
