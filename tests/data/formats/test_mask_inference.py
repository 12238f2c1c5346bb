"""What the values of label images stand for where no class list says it."""

import cv2
import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.mask_inference import add_counts, count_values, values_of
from imgrec_jax.data.formats.mask_values import read_mask_values


def mask_of(values, side=5):
    """A row of squares, one for each value."""
    return np.repeat(np.repeat(np.array([values], np.int32), side, 0), side, 1)


def meaning(*masks):
    """The name of each value of label images, and the names of all classes."""
    table = values_of(map(count_values, masks), "here")
    values = np.unique(np.concatenate([mask.ravel() for mask in masks])).tolist()
    names = {v: [*table.label_names, *["ignore"] * 255][table.numbers[v]] for v in values}
    return names, table.label_names


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 255], ["background", "object"]),
        ([0, 1], ["background", "object"]),
        ([0, 128], ["background", "object"]),
        ([0, 1, 255], ["background", "object", "ignore"]),
        ([0, 1, 2], ["0", "1", "2"]),
        ([0, 1, 2, 255], ["0", "1", "2", "ignore"]),
        ([1, 2, 255], ["1", "2", "ignore"]),
        ([0, 128, 255], ["0", "128", "255"]),
        ([0, 85, 170, 255], ["0", "85", "170", "255"]),
        ([*range(0, 150, 2), 255], [*map(str, range(0, 150, 2)), "ignore"]),
        ([3], ["3"]),
        ([255], ["255"]),
    ],
)
def test_values_are_classes_or_ignored(values, expected):
    names, classes = meaning(mask_of(values))
    assert names == dict(zip(values, expected, strict=True))
    assert classes == tuple(name for name in expected if name != "ignore")


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        (
            [0, 255, 255, 255],
            [
                "masks of here: 0 is background (25.0 % of the pixels), 255 is object (75.0 %); "
                "--config.data.mask_values='0=NAME,255=NAME' names them otherwise"
            ],
        ),
        (
            [0, 128, 255, 255],
            [
                "masks of here: 255 is a class (50.0 % of the pixels), as the values are grey "
                "levels; --config.data.mask_values='0=NAME,128=NAME,255=ignore' ignores it"
            ],
        ),
        (
            [0, 1, 2, 255],
            [
                "masks of here: 255 is ignored (25.0 % of the pixels); "
                "--config.data.mask_values='0=NAME,1=NAME,2=NAME,255=NAME' makes it a class"
            ],
        ),
        ([0, 1, 2], []),
    ],
)
def test_each_open_choice_gets_one_line(caplog, values, notes):
    values_of([count_values(mask_of(values))], "here")
    assert [record.getMessage() for record in caplog.records] == notes


@pytest.mark.parametrize("values", [(0, 255), (0, 1, 200)])
def test_interpolated_masks_get_one_line_and_a_way_out(caplog, values):
    mask = mask_of(values, 16).astype(np.float32)
    small = cv2.resize(cv2.resize(mask, (11, 7)), mask.shape[::-1])
    blurred = np.rint(small).astype(np.int32)
    values_of([count_values(blurred)], "here")
    (note,) = [record.getMessage() for record in caplog.records]
    assert "occur on edges alone, as in masks resized with interpolation" in note
    table = read_mask_values(note.partition("mask_values='")[2].rstrip("'"))
    assert table is not None
    assert set(np.unique(blurred)) <= set(table.numbers)
    if values == (0, 255):
        assert table.label_names == ("background", "object")
        assert (table.apply(blurred, "") == (blurred > 127)).all()


def test_many_rare_classes_are_not_interpolated(caplog):
    mask = np.zeros((100, 100), np.int32)
    for number in range(1, 60):
        top, left = divmod(number, 10)
        mask[10 * top : 10 * top + 4, 10 * left : 10 * left + 4] = number
    values_of([count_values(mask)], "here")
    assert not caplog.records


def test_counts_are_of_pixels_images_and_areas():
    thin = np.zeros((5, 5), np.int32)
    thin[2] = 7
    total = add_counts([count_values(thin), count_values(mask_of([7, 70_000]))])
    assert total.pixels == {0: 20, 7: 30, 70_000: 25}
    assert total.images == {0: 1, 7: 2, 70_000: 1}
    assert total.areas == {7, 70_000}
    assert total.share(0, 7) == pytest.approx(50 / 75)


def test_too_many_values_are_refused():
    with pytest.raises(UserError, match="at most 255 classes, got 299 values in the masks of here"):
        values_of([count_values(np.arange(300, dtype=np.int32)[None].repeat(9, 0))], "here")


def test_ranges_of_values_share_a_class():
    table = read_mask_values("0-127=background,128-254=object,255=ignore")
    assert table is not None
    mask = np.array([[0, 127, 128, 254, 255]], np.int32)
    assert table.apply(mask, "").tolist() == [[0, 0, 1, 1, 255]]
