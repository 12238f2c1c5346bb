"""What an inspection finds, in numbers worked out by hand, and what the contact sheet shows."""

import io
import logging

import numpy as np
import pytest
from PIL import Image, ImageFont

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.inspect import contact_sheet
from imgrec_jax.data.inspect.contact_sheet import THUMBNAIL, SheetRow, draw_contact_sheet
from imgrec_jax.data.inspect.inspection import inspect
from imgrec_jax.data.inspect.sheet_rows import sheet_rows
from imgrec_jax.data.raw.items import Images

NAMES = ("cat", "dog")


def png(color, size):
    """The bytes of an image of one colour, `size` = width, height."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "png")
    return file.getvalue()


def split(items, labels, where="train", names=NAMES):
    return Images(items, where, np.array(labels, np.int32), names)


def test_sizes_and_classes_and_channels():
    items = [png((0, 51, 255), (2, 1)), png((102, 51, 0), (4, 2)), png((0, 51, 0), (3, 10))]
    report = inspect({"train": split(items, [0, 1, 1])}).splits["train"]
    assert report.examples == 3
    assert report.class_counts.tolist() == [1, 2]
    assert report.pixels.widths == (2, 3, 4)
    assert report.pixels.heights == (1, 2, 10)
    # 40 pixels in all: 8 of them red 102, 2 of them blue 255
    assert report.pixels.mean == pytest.approx((0.4 * 8 / 40, 0.2, 2 / 40))
    assert report.pixels.std == pytest.approx((0.4 * (0.2 * 0.8) ** 0.5, 0.0, (0.05 * 0.95) ** 0.5))
    assert report.damaged == ()


def test_the_spread_within_an_image_counts():
    grey = np.array([[[[0]], [[255]]]], np.uint8)
    report = inspect({"test": split(grey, [1])}).splits["test"]
    assert report.pixels.mean == (0.5,)
    assert report.pixels.std == (0.5,)


def test_many_images_are_told_in_their_order():
    items = [png((row % 256, row // 256, 1), (2, 2)) for row in range(500)]
    for row in (3, 64, 499):
        items[row] = b"damaged"
    damaged = inspect({"train": split(items, [0] * 500)}).damaged
    assert [why.split("train[")[1].split("]")[0] for why in damaged] == ["3", "64", "499"]


def test_repeats_are_found_by_their_pixels():
    red, blue = png((255, 0, 0), (4, 4)), png((0, 0, 255), (4, 4))
    bmp = io.BytesIO()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(bmp, "bmp")
    found = inspect({
        "train": split([red, blue, red, b"x"], [0, 1, 1, 0]),
        "test": split([bmp.getvalue(), png((255, 0, 0), (2, 8)), b"x"], [0, 0, 0], "test"),
    })  # fmt: skip
    assert found.repeats == (
        ("train[0]", "train", "train[2]", "train", False),
        ("train[0]", "train", "test[0]", "test", True),
    )


def test_progress_counts_all_splits():
    seen = []
    items = [png((0, 0, 0), (1, 1))] * 2
    inspect({"a": split(items, [0, 1]), "b": split(items, [0, 1])}, lambda *c: seen.append(c))
    assert seen == [(2, 4), (4, 4)]


def test_a_split_without_intact_images():
    with pytest.raises(UserError, match=r"intact images in the split train, got none: expected"):
        inspect({"train": split([b"x"], [0])})


def test_the_sheet_takes_some_of_each_class_and_passes_over_damaged_ones():
    items = [png((row, 0, 0), (1, 1)) for row in range(40)]
    items[0] = b"damaged"
    images = split(items, [0] * 36 + [1] * 4)
    rows = sheet_rows(images, inspect({"train": images}).splits["train"])
    assert [(row.name, row.note) for row in rows] == [
        ("cat", "class 0: 36 images"),
        ("dog", "class 1: 4 images"),
    ]
    assert [int(image[0, 0, 0]) for image in rows[0].images] == [
        1,
        4,
        8,
        12,
        16,
        20,
        24,
        27,
        30,
        33,
    ]
    assert [int(image[0, 0, 0]) for image in rows[1].images] == [36, 37, 38, 39]


def test_the_sheet_takes_twenty_of_many_classes():
    names = tuple(f"class {k}" for k in range(1000))
    images = split([png((0, 0, 0), (1, 1))], [999], names=names)
    rows = sheet_rows(images, inspect({"train": images}).splits["train"])
    assert len(rows) == 20
    assert (rows[0].name, rows[19].name) == ("class 0", "class 999")
    assert [len(row.images) for row in rows] == [0] * 19 + [1]


def test_images_stand_whole_in_their_squares():
    wide = np.full((10, 200, 3), (255, 0, 0), np.uint8)
    small = np.zeros((2, 2, 1), np.uint8)
    small[0, 1] = 255
    clear = np.full((96, 96, 4), (0, 0, 255, 255), np.uint8)
    sheet = np.asarray(draw_contact_sheet("title", [SheetRow("a", "1", [wide, small, clear])]))
    assert sheet.dtype == np.uint8
    bottom, right = (size - 16 for size in sheet.shape[:2])  # the margin
    squares = [
        sheet[bottom - THUMBNAIL : bottom, right - k * 102 + 6 : right - k * 102 + 102]
        for k in (3, 2, 1)
    ]
    red = (squares[0] == (255, 0, 0)).all(-1)
    assert np.argwhere(red).min(0).tolist() == [45, 0]  # 96 by 5 pixels, in the middle
    assert np.argwhere(red).max(0).tolist() == [49, 95]
    assert np.unique(squares[1]).tolist() == [0, 255]  # without smoothing
    assert (squares[1][:48, 48:] == 255).all()
    assert (squares[1][48:] == 0).all()
    assert (squares[2] == (0, 0, 255)).all()


def test_names_in_any_letters_are_drawn(caplog, monkeypatch):
    rows = [SheetRow("a" * 200, "note", []), SheetRow("\u732b", "", [])]
    # As on a machine without fonts of its own.
    monkeypatch.setattr(contact_sheet, "_fonts", lambda size: (ImageFont.load_default(size),))
    with caplog.at_level(logging.WARNING):
        sheet = draw_contact_sheet("\u732b", rows)
    assert sheet.width < 300  # the long name is cut
    assert "no font on this machine has the letters \u732b of" in caplog.text
