"""Truth beside answers, by hand: what is drawn, what is ignored, which images are the worst."""

import numpy as np
import pytest

from imgrec_jax.tasks.detection import drawing as detection_drawing
from imgrec_jax.tasks.segmentation import report as segmentation_report

GREY = np.full((2, 3, 3), 100, np.uint8)
SECOND = (128, 0, 0)  # of Pascal VOC's palette; the first is black


def test_true_label_maps_are_drawn_and_ignored_pixels_are_left():
    example = {"label_map": np.array([[0, 1, 255], [1, 1, 255]], np.uint8)}
    answer = np.zeros((2, 3, 2))
    answer[..., 1] = 1.0
    drawn = segmentation_report.compare(answer, example, GREY, ("a", "b"))
    assert drawn["truth"].tolist() == [
        [[50, 50, 50], [114, 50, 50], [100, 100, 100]],
        [[114, 50, 50], [114, 50, 50], [100, 100, 100]],
    ]
    assert (drawn["predicted"] == [114, 50, 50]).all()
    assert list(segmentation_report.compare(None, example, GREY, ("a", "b"))) == ["truth"]
    assert segmentation_report.legend(("a", "b")) == [("a", (0, 0, 0)), ("b", SECOND)]


def test_the_worst_label_maps_are_those_of_the_lowest_pixel_accuracy():
    """Hit, true and predicted pixels of two classes: 3 of 4, none of 4, nothing to score."""
    pixels = np.array([[[2, 2, 3], [1, 2, 1]], [[0, 4, 0], [0, 0, 4]], [[0, 0, 0], [0, 0, 0]]])
    name, values = segmentation_report.quality({"pixels": pixels})
    assert name == "pixel accuracy"
    np.testing.assert_array_equal(values, [0.75, 0.0, np.nan])


def test_intervals_of_miou_are_over_images():
    """Of one image drawn again and again nothing moves; of two it is one, the other, or both."""
    one = np.array([[[3, 4, 4], [3, 4, 4]]])  # IoU 3/5 of both classes
    report = segmentation_report.report({"pixels": one}, ("a", "b"))
    assert report["intervals"]["miou"] == pytest.approx([0.6, 0.6])
    assert report["intervals"]["pixel_accuracy"] == [0.75, 0.75]
    both = np.concatenate([one, [[[4, 4, 4], [0, 0, 0]]]])  # of class a alone, all right
    report = segmentation_report.report({"pixels": both}, ("a", "b"))
    assert report["intervals"]["miou"] == pytest.approx([0.6, 1.0])  # mean of 7/9 and 3/5 within
    nothing = segmentation_report.report({"pixels": 0 * one}, ("a", "b"))
    assert nothing["intervals"] == {}


EXAMPLE = {
    "boxes": np.array([[10, 10, 30, 30], [40, 10, 60, 30], [0, 0, 0, 0]], np.float32),
    "box_label": np.array([0, 1, 0]),
    "box_mask": np.array([True, True, False]),
    "box_ignore": np.array([False, True, False]),
}


def test_true_boxes_are_drawn_enlarged_and_ignored_ones_grey():
    """An image of 80 pixels is shown at 480: corners lie at six times their places."""
    image = np.zeros((40, 80, 3), np.uint8)
    answer = {"boxes": np.array([[20.0, 5, 50, 35]]), "scores": np.array([0.9]), "labels": [1]}
    answer["labels"] = np.array(answer["labels"])
    drawn = detection_drawing.compare(answer, EXAMPLE, image, ("cell", "猫"))
    assert drawn["truth"].shape == (240, 480, 3)
    assert drawn["truth"][60, 60].tolist() == [230, 60, 50]
    assert drawn["truth"][60, 359].tolist() == [150, 150, 150]
    assert drawn["truth"][0, 0].tolist() == [0, 0, 0]
    assert drawn["predicted"][30, 120].tolist() == [50, 110, 230]
    assert list(detection_drawing.compare(None, EXAMPLE, image, ("a", "b"))) == ["truth"]
    names = [name for name, _ in detection_drawing.legend(("cell", "猫"))]
    assert names == ["cell", "#1 猫"]


def test_the_worst_boxes_are_those_of_the_lowest_f1():
    """One of two found with one false alarm: 2 / (2 + 2); what is ignored does not count."""
    rows = {
        "scores": np.array([[0.9, 0.8, 0.7, 0.1], [0, 0, 0, 0]]),
        "matched": np.array([[True, False, False, True], [False] * 4]),
        "set_aside": np.array([[False, False, True, False], [False] * 4]),
        "true_mask": np.array([[True, True, True], [True, False, False]]),
        "true_ignore": np.array([[False, False, True], [True, False, False]]),
    }
    name, values = detection_drawing.quality(rows)
    assert name == "F1"
    np.testing.assert_array_equal(values, [0.5, np.nan])
