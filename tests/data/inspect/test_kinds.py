"""Every field of a data set is inspected by its kind, in numbers worked out by hand."""

import io
import json
import logging

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.__main__ import main
from imgrec_jax.data.inspect.inspection import inspect
from imgrec_jax.data.inspect.sheet_rows import sheet_rows
from imgrec_jax.data.raw.items import Images

PIXELS = np.full((3, 8, 8, 3), 100, np.uint8) + np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)


def report_of(fields, labels=(0, 0, 0), names=("a", "b"), items=PIXELS, **more):
    images = Images(items, "train", np.array(labels, np.int32), names, fields=fields, **more)
    return images, inspect({"train": images}).splits["train"]


def png(values, mode=None):
    file = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8), mode).save(file, "PNG")
    return file.getvalue()


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def told(capsys, *arguments):
    """The status, the lines without repeated spaces, and the result as JSON."""
    status = main(["data", "inspect", *arguments])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    main(["data", "inspect", *arguments, "--json"])
    return status, lines, json.loads(capsys.readouterr().out)


def masks_of(root, masks, images=None):
    """Write images with masks; an image is as large as its mask, and grey."""
    for row, mask in enumerate(masks):
        shape = np.asarray(mask).shape[:2]
        image = png(np.full((*shape, 3), 10 * row)) if images is None else images[row]
        write(root, {f"images/{row}.png": image, f"masks/{row}.png": png(mask)})
    return f"masks:{root}"


def test_label_maps_count_the_images_of_each_class():
    maps = np.zeros((3, 8, 8), np.uint8)
    maps[1, :2] = 1
    maps[2, :4] = 255
    _, report = report_of({"label_map": maps})
    assert report.class_counts.tolist() == [3, 1]
    assert report.has(1).tolist() == [False, True, False]
    assert list(map(tuple, report.fields["label_map"].values)) == [
        ("0", 144, 3, "a"),
        ("255", 32, 1, "ignore"),
        ("1", 16, 1, "b"),
    ]
    assert "label" not in report.fields


def test_tokens_are_measured_and_named():
    tokens = np.array([[1, 2, 0, 0], [2, 2, 2, 2], [0, 1, 0, 0]])
    _, report = report_of({"tokens": tokens}, items=None, facts={"vocabulary": ["-", "x", "y"]})
    found = report.fields["tokens"]
    assert report.pixels is None
    assert found.lengths == (2, 2, 4)
    assert (found.longest, found.vocabulary, found.distinct) == (4, 3, 3)
    assert found.frequent == (("y", 5), ("x", 2))


def test_further_images_and_unknown_numbers_are_measured():
    fields = {
        "target_image": PIXELS[:, :4],
        "depth": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]]),
    }
    _, report = report_of(fields, labels=(0, 1, 1))
    assert report.class_counts.tolist() == [1, 2]
    assert report.fields["target_image"].heights == (4, 4, 4)
    depth = report.fields["depth"]
    assert (depth.shape, depth.least, depth.mean, depth.most) == ((2,), 1.0, 4.0, 9.0)


def test_annotations_are_drawn_on_the_sheet():
    maps = np.zeros((3, 8, 8), np.uint8)
    maps[:, :4], maps[:, 7] = 1, 255
    images, report = report_of({"label_map": maps})
    drawn = sheet_rows(images, report)[1].images[0]
    assert drawn[0, 0].tolist() == [114, 50, 50]  # half of (128, 0, 0)
    assert drawn[5, 0].tolist() == [50, 50, 50]
    assert drawn[7, 0].tolist() == [100, 100, 100]

    boxes = {
        "boxes": np.tile(np.array([[2, 2, 6, 6]], np.float32), (3, 1, 1)),
        "box_label": np.array([[0], [1], [1]], np.int32),
        "box_mask": np.array([[True], [True], [False]]),
    }
    images, report = report_of(boxes)
    assert report.class_counts.tolist() == [1, 1]
    drawn = sheet_rows(images, report)[1].images[0]
    edge = (drawn != 101).any(-1)
    assert edge.sum() == 12
    assert edge[2, 2:6].all()
    assert not edge[3:5, 3:5].any()


def test_a_target_image_follows_its_image_on_the_sheet():
    images, report = report_of({"target_image": 2 * PIXELS}, labels=(0, 0, 1))
    rows = sheet_rows(images, report)
    assert [int(image[0, 0, 0]) for image in rows[0].images] == [100, 200, 101, 202]


def test_masks_are_listed_by_value_with_the_flag_that_changes_them(tmp_path, capsys, caplog):
    half = np.repeat([[0] * 16, [255] * 16], 8, 0)
    source = masks_of(tmp_path / "set", [half, np.zeros((16, 24))])
    with caplog.at_level(logging.WARNING):
        status, lines, found = told(capsys, source, f"--out={tmp_path}")
    assert status == 0
    assert "0 80.00 % 2 background" in lines
    assert "255 20.00 % 1 object" in lines
    flag = "--config.data.mask_values='0=background,255=object'"
    assert f"{flag} changes what values are taken for" in lines
    assert "background 2" in lines
    assert "object 1" in lines
    assert "--config=camvid_unet" in lines[-1]
    assert "--config.data.image_shape=16x16" in lines[-1]
    assert found["splits"]["train"]["classes"] == {"background": 2, "object": 1}
    assert found["splits"]["train"]["label_map"]["flag"] == flag
    assert (tmp_path / "contact_sheet.png").exists()


def test_values_without_a_class_and_damaged_masks_are_listed(tmp_path, capsys):
    source = masks_of(tmp_path / "set", [np.zeros((8, 8)), np.ones((8, 8)), np.zeros((8, 8))])
    write(tmp_path / "set", {"masks/2.png": b"junk", "images/2.png": png(np.full((8, 8, 3), 9))})
    write(tmp_path / "set", {"images/1.png": png(np.full((4, 8, 3), 9))})
    flag = "--config.data.mask_values=0=ground"
    status, lines, found = told(capsys, source, f"--out={tmp_path}", flag)
    assert status == 3
    assert "1 50.00 % 1 no class" in lines
    assert any(line.startswith("training refuses values without a class; try ") for line in lines)
    damaged = found["splits"]["train"]["damaged"]
    assert len(damaged) == 2
    assert "masks/2.png: " in damaged[0]
    assert "(8x4), got 8x8 in" in damaged[1]


def test_colours_are_listed_before_they_have_classes(tmp_path, capsys):
    mask = np.zeros((8, 8, 3), np.uint8)
    mask[:4] = (128, 0, 16)
    _, lines, _ = told(capsys, masks_of(tmp_path / "set", [mask]), f"--out={tmp_path}")
    assert "#800010 50.00 % 1 no class" in lines
    assert any("mask_values='#000000=NAME,#800010=NAME'" in line for line in lines)
    flag = "--config.data.mask_values=#000000=sky,#800010=car"
    _, lines, _ = told(capsys, masks_of(tmp_path / "set", [mask]), f"--out={tmp_path}", flag)
    assert "#800010 50.00 % 1 car" in lines
    assert "'--config.data.mask_values=#000000=sky,#800010=car'" in lines[-1]


@pytest.mark.parametrize("layout", ["seg", "tokens"])
def test_an_npz_with_other_fields(tmp_path, capsys, layout):
    fields = {"train_tokens": np.ones((4, 3), int), "train_target_tokens": np.ones((4, 3), int)}
    if layout == "seg":
        fields = {"train_images": np.zeros((12, 8, 8, 3), np.uint8)}
        fields |= {
            "train_labels": np.zeros(12, int),
            "train_label_map": np.zeros((12, 8, 8), np.uint8),
        }
    np.savez(tmp_path / "set.npz", **fields)
    status, lines, found = told(capsys, f"npz:{tmp_path / 'set.npz'}", f"--out={tmp_path}")
    assert status == 0
    if layout == "seg":
        assert "--config=camvid_unet" in lines[-1]
        assert "--config.data.image_shape= --config.data.holdout=0.1" in lines[-1]
    else:
        assert found["contact_sheet"] is None
        assert lines[-1].startswith("Next: a task for the fields target_tokens, tokens, as docs/")
