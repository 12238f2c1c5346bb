"""Warnings about boxes that cannot be meant."""

import pytest

from imgrec_jax.data.sources.box_annotations import Annotation, Scene, clean


def scene(*boxes, name="a.jpg", width=40, height=30):
    annotations = [Annotation("cup", box, False, f"{name}, box") for box in boxes]
    return Scene(name, width, height, annotations)


@pytest.mark.parametrize(
    ("boxes", "told"),
    [
        ([(2, 2, 28, 38)], True),
        ([(2, 2, 8, 8), (2, 2, 28, 38)], True),
        ([(2, 2, 28, 30.5)], False),  # a rounding
        ([(2, 2, 38, 28)], False),
        ([(2, 2, 38, 38)], False),  # fits neither
        ([], False),
    ],
)
def test_boxes_that_fit_only_the_unturned_image_get_one_warning(caplog, boxes, told):
    clean([scene(*boxes), scene(*boxes, name="b.jpg")], "set train")
    lines = [line for line in caplog.messages if "EXIF" in line]
    assert [line.partition(", have")[0] for line in lines] == [
        "set train: 2 images, such as a.jpg"
    ] * told


def test_square_images_are_not_suspected(caplog):
    clean([scene((2, 2, 50, 50), height=40)], "set")
    assert "EXIF" not in caplog.text
