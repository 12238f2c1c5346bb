"""One string, `kind:where`, opens every source with what the config says of it."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build import source_kinds
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.build.source_kinds import SOURCES, SourceSpec, read_shape, source_spec
from imgrec_jax.build.tasks import open_data
from imgrec_jax.core.errors import UsageError


def png(value, size=(6, 5)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Ten images in two classes, whose names tell another class."""
    for value in range(10):
        path = tmp_path / "set" / "ab"[value % 2] / f"{'xyz'[value % 3]}_{value}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(value))
    return tmp_path / "set"


def opened(source, **keys):
    return open_data(get_config("base", data__source=source, **keys))


def test_the_form_of_images_reaches_the_source(folder):
    train = opened(f"folder:{folder}", data__image_size=4, data__channels=1, data__dtype="uint16")[
        "train"
    ]
    assert train.image_shape == (4, 4, 1)
    assert train.images.dtype == np.uint16
    assert train.images[:, 0, 0, 0].tolist() == [v * 257 for v in (0, 6, 4, 2, 8, 3, 9, 1, 7, 5)]


def test_where_labels_come_from_reaches_the_source(folder):
    train = opened(f"folder:{folder}", data__label_pattern="^(?P<label>.)_")["train"]
    assert train.label_names == ("x", "y", "z")
    (folder / "labels.csv").write_text("a,b\nx_0,good\ny_1,bad\n", encoding="utf-8")
    train = opened(f"folder:{folder}", data__columns="a,b")["train"]
    assert train.label_names == ("bad", "good")
    assert len(train) == 2


def test_val_is_held_out_where_there_is_none(folder):
    splits = opened(f"folder:{folder}", data__holdout=4.0)
    assert [len(splits[split]) for split in ("train", "val")] == [6, 4]
    for number in (0, 1):
        (folder / "val" / "ab"[number]).mkdir(parents=True)
        (folder / "val" / "ab"[number] / "1.png").write_bytes(png(1))
    (folder / "train").mkdir()
    for name in "ab":
        (folder / name).rename(folder / "train" / name)
    with pytest.raises(UsageError, match=r"which has its own val split, got 4\.0; try --conf"):
        opened(f"folder:{folder}", data__holdout=4.0)


def test_unknown_kinds():
    with pytest.raises(
        UsageError, match=r"unknown kind of data.source 'imagnet'; did you mean 'im"
    ):
        opened("imagnet:/data")


def test_sources_of_one_size_refuse_another():
    formats = "array_record or folder or imagenet or masks or npz or parquet or tfds for"
    with pytest.raises(UsageError, match=formats):
        opened("digits", data__image_size=9)


def test_a_crop_is_for_squares_that_are_cut():
    with pytest.raises(UsageError, match=r"expected data.center_crop=1 for digits .* got 0.5; try"):
        opened("digits", data__center_crop=0.5)


def test_what_decodes_resizes_and_rows_for_fields_take_a_shape():
    """`decode` cuts to a size, and what has a place in an image is stretched with it."""
    specs = [source_spec(kind) for kind in SOURCES]
    specs += [row for spec in specs for row in spec.fields.values()]
    assert all(spec.resizes for spec in specs if spec.decodes)
    assert all(
        row.shapes
        for spec in specs
        for field, row in spec.fields.items()
        if field != "target_image"  # pairs of two resolutions, of images as they are
    )


def test_the_first_field_that_a_kind_has_a_row_for_chooses_how_it_is_opened():
    own = source_spec("tfds")
    assert source_spec("tfds", ("image", "label")) is own
    assert source_spec("tfds", ("image", "boxes")) is own.fields["boxes"]
    assert source_spec("tfds", ("label_map", "boxes")) is own.fields["label_map"]
    assert not own.fields["boxes"].decodes
    assert source_spec("digits", ("image", "boxes")).open is SOURCES["digits"]


def test_a_row_is_a_function_or_says_what_it_can_do(monkeypatch, folder):
    made = opened("digits")
    monkeypatch.setitem(source_kinds.SOURCES, "mine", lambda where, data: made)
    assert opened("mine:x") == made
    with pytest.raises(
        UsageError, match=r"data\.image_shape='' for mine, .*; try coco or labelme or masks"
    ):
        opened("mine:x", data__image_shape="8x8")
    monkeypatch.setitem(source_kinds.SOURCES, "mine", SourceSpec(lambda *_: made, shapes=True))
    assert opened("mine:x", data__image_shape="8x8") == made
    with pytest.raises(
        UsageError,
        match=r"try coco or labelme or masks or mine or voc or yolo, or data\.image_size",
    ):
        opened(f"folder:{folder}", data__image_shape="4x6")
    with pytest.raises(UsageError, match=r"data\.channels=0 and data\.dtype=uint8 for mine"):
        opened("mine:x", data__channels=3)


@pytest.mark.parametrize("kind", sorted(set(SOURCES) - {"cifar10", "digits"}))
def test_a_path_that_is_not_there_is_told_in_one_line(kind, tmp_path):
    with pytest.raises(Exception, match="expected ") as caught:
        opened(f"{kind}:{tmp_path}/nowhere", data__dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "; try " in str(caught.value)


def test_a_shape_is_height_by_width():
    assert read_shape("") is None
    assert read_shape("120x160") == (120, 160)
    for text in ("120", "120x", "0x160", "120x160x3", "-1x2", "1.5x2", "99999x99999"):
        with pytest.raises(UsageError, match=rf"HEIGHTxWIDTH in pixels, got '{text}'; try"):
            read_shape(text)


def test_sources_of_squares_refuse_a_shape(folder):
    with pytest.raises(UsageError, match=r"data\.image_shape='' for folder, .* got 4x6; try "):
        opened(f"folder:{folder}", data__image_shape="4x6")
    with pytest.raises(UsageError, match=r"data\.image_size=0 beside data\.image_shape=4x6, got 4"):
        opened(f"folder:{folder}", data__image_shape="4x6", data__image_size=4)


def test_a_second_source_is_opened_whole_and_only_for_training(folder):
    """The number of examples, the held-out part and the classes are those of the first source."""
    keys = {"data__examples_per_class": 1, "data__image_size": 8}
    keys |= {"data__unlabelled": f"folder:{folder}"}
    folder = f"folder:{folder}"
    splits = opened(folder, **keys)
    assert (len(splits["train"]), len(splits["unlabelled"])) == (2, 10)
    sampling = {"data__sampling": "two_sources(ratio=2)", "batch_size": 8}
    experiment = build_experiment(get_config("base", data__source=folder, **keys, **sampling))
    assert experiment.data.train(0)["unlabelled_image"].shape == (1, 8, 2, 8, 8, 3)
    assert "unlabelled" not in experiment.data.passes


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "expected a second source in data.unlabelled for data.sampling=two_sources"),
        ({"data__unlabelled": "digits"}, "expected images of 8x8x3 .* got 8x8x1"),
    ],
)
def test_a_second_source_that_does_not_fit_is_refused(folder, keys, message):
    keys = {"data__sampling": "two_sources(ratio=2)", "data__image_size": 8, **keys}
    with pytest.raises(UsageError, match=message):
        build_experiment(get_config("base", data__source=f"folder:{folder}", **keys))
