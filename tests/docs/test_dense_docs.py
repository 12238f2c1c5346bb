"""The page on masks and boxes: its commands are understood, its layouts are read."""

import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from made_voc import xml
from PIL import Image

from imgrec_jax.build.models import encoder_kind
from imgrec_jax.build.source_kinds import SOURCES
from imgrec_jax.build.tasks import open_data
from imgrec_jax.cli import predict
from imgrec_jax.config import parse_command_line

PAGE = (Path(__file__).resolve().parents[2] / "docs/dense_tasks.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line.strip().removeprefix("python -m imgrec_jax "))
    for line in PAGE.replace("\\\n", " ").splitlines()
    if line.startswith("    python -m imgrec_jax ")
]


def test_every_command_is_understood():
    verbs = [verb for verb, *_ in COMMANDS]
    assert [verbs.count(verb) for verb in ("train", "evaluate", "predict")] == [7, 2, 1]
    for verb, *arguments in COMMANDS:
        if verb == "train":
            config = parse_command_line(arguments).config
            assert config.data.source.partition(":")[0] in SOURCES
            assert encoder_kind(config) in {"PlainEncoder", "ResNet"}
        if verb == "predict":
            assert predict._parse(arguments).out == "drawn"


def test_every_flag_outside_of_commands_is_understood():
    quoted = re.findall(r"`(--config\.[^`]+)`", PAGE)
    blocks = [line.strip() for line in PAGE.splitlines() if line.startswith("    --config.")]
    assert len(quoted) + len(blocks) >= 7
    for flags in (*quoted, *blocks):
        parse_command_line(["--config=base", *shlex.split(flags)])


def contents(name):
    """Return what a file of a layout holds; images are 32x32 of two classes."""
    if name.endswith(".xml"):
        return xml([("cell", (2, 3, 9, 9))], size=(32, 32)).encode()
    if name.endswith(".json") and name.startswith("desk/"):
        shape = {"label": "cell", "shape_type": "rectangle", "points": [[2, 3], [9, 9]]}
        return json.dumps({"imagePath": f"{Path(name).stem}.jpg", "shapes": [shape]}).encode()
    if name.endswith(".json"):
        split = "train/a.jpg" if "train" in name else "val/b.jpg"
        image = {"id": 1, "file_name": Path(split).name, "width": 32, "height": 32}
        box = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 3, 7, 6]}
        category = {"id": 7, "name": "cell"}
        annotations = {"images": [image], "annotations": [box], "categories": [category]}
        return json.dumps(annotations).encode()
    texts = {"classes": "0 ground\n1 cell\n", "train": "a\n", "test": "b\n"}
    texts["data"] = "names: [cell]\ntrain: train/images\nval: valid/images\n"
    if name.endswith((".txt", ".yaml")):
        return texts.get(Path(name).stem, "0 0.5 0.5 0.2 0.2\n").encode()
    value = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 2
    file = io.BytesIO()
    Image.fromarray(value).save(file, "PNG" if name.endswith(".png") else "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "splits", "labels"),
    [
        ("masks", ["train"], ("ground", "cell")),
        ("voc", ["train", "test"], ("cell",)),
        ("coco", ["train", "val"], ("cell",)),
        ("yolo", ["train", "val"], ("cell",)),
        ("labelme", ["train", "test"], ("cell",)),
    ],
)
def test_every_layout_is_read(kind, splits, labels, tmp_path):
    top, *names = re.search(rf"```layout {kind}\n(.*?)\n```", PAGE, re.DOTALL).group(1).split()
    for name in names:
        path = tmp_path / top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents(f"{top}{name}"))
    source = f"--config.data.source={kind}:{tmp_path / top}"
    found = open_data(parse_command_line(["--config=base", source]).config)
    assert list(found) == splits
    assert found["train"].label_names == labels
    assert found["train"].image_shape == (32, 32, 3)
