"""Encoded images with what stands beside them: the same in memory, on demand and by workers."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.sources import for_reading, open_source
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.raw.open import source_images
from imgrec_jax.data.sources import encoded
from imgrec_jax.data.sources.encoded import EncodedSource, FileImages, load
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.relabel import Relabelled, relabel
from imgrec_jax.data.sources.source import facts_of, gather, targets_of
from imgrec_jax.data.workers.pool import with_workers

LABELS = np.array([0, 1, 0, 1, 1], np.int32)
TOKENS = np.arange(10, dtype=np.int32).reshape(5, 2)
SECOND = np.array([2, 0, 1, 2, 0], np.int32)


@pytest.fixture
def files(tmp_path):
    """Five images of 6x8 pixels, each grey in its own value."""
    for row in range(5):
        Image.new("RGB", (8, 6), (row, row, row)).save(tmp_path / f"{row}.png")
    return FileImages(tmp_path, Names.of([f"{row}.png" for row in range(5)]))


@pytest.fixture
def captioned(files):
    """The images with two labels and two tokens each."""
    targets = {"tokens": TOKENS, "second_label": SECOND}
    return EncodedSource(
        files, LABELS, ("dog", "cat"), (6, 6, 3), {"image_size": 6},
        targets=targets, facts={"vocabulary": list("abcdefghij")},
    )  # fmt: skip


@pytest.fixture
def boxed(files):
    """The images stretched to 12x8, with a box of class 1 each."""
    targets = {
        "boxes": np.tile(np.array([0, 0, 4, 6], np.float32), (5, 1, 1)),
        "box_label": np.ones((5, 1), np.int32),
        "box_mask": np.ones((5, 1), bool),
    }
    return EncodedSource(
        files, np.zeros(5, np.int32), ("dog", "cat"), (12, 8, 3), {},
        targets=targets, sizes=np.tile([6, 8], (5, 1)),
    )  # fmt: skip


def check(source, rows):
    """Assert that a source gives these rows of `captioned`, in batches and one by one."""
    places = np.array([2, 0, 2])
    expected = np.array(rows)[places]
    batch = gather(source, places)
    assert list(batch) == ["image", "label", "tokens", "second_label"]
    assert batch["image"][:, 0, 0, 0].tolist() == expected.tolist()
    np.testing.assert_array_equal(batch["tokens"], TOKENS[expected])
    np.testing.assert_array_equal(batch["second_label"], SECOND[expected])
    np.testing.assert_array_equal(targets_of(source)["tokens"], TOKENS[rows])
    assert source[2]["tokens"].tolist() == TOKENS[rows[2]].tolist()
    assert facts_of(source) == {"vocabulary": list("abcdefghij")}


def test_targets_and_facts_stand_in_every_form_of_a_source(captioned):
    check(captioned, range(5))
    check(load(captioned), range(5))
    held = Rows(captioned, np.array([4, 1, 3]))
    check(held, [4, 1, 3])
    check(with_workers({"train": held}, 1)["train"], [4, 1, 3])
    named = relabel(held, ("ant", "cat", "dog"), "folder:x")
    check(named, [4, 1, 3])
    assert gather(named, np.arange(3))["label"].tolist() == named.labels.tolist() == [1, 1, 1]
    cut = dataclasses.replace(captioned, crop=RandomResizedCrop(seed=0))
    batch = gather(cut, np.array([1, 3]), np.array([5, 6]))
    np.testing.assert_array_equal(batch["tokens"], TOKENS[[1, 3]])


def test_a_set_is_loaded_in_parts_of_bounded_memory(captioned, monkeypatch):
    monkeypatch.setattr(encoded, "_CHUNK_BYTES", 2 * 6 * 6 * 3)
    check(load(captioned), range(5))


def test_class_numbers_of_parts_follow_the_kind_of_their_field(boxed):
    named = relabel(boxed, ("ant", "cat", "dog"), "voc:x")
    assert isinstance(named, Relabelled)
    assert gather(named, np.array([3]))["box_label"].tolist() == [[1]]
    assert targets_of(relabel(boxed, ("cat", "dog"), "voc:x"))["box_label"].tolist() == [[0]] * 5
    assert named.labels.tolist() == [0] * 5


def test_an_annotation_of_another_size_is_reported_by_name(boxed):
    assert boxed[4]["image"].shape == (12, 8, 3)
    wrong = dataclasses.replace(boxed, sizes=np.tile([6, 9], (5, 1)))
    with pytest.raises(UserError, match=r"of 9x6 as its annotation says, got 8x6 in .*4\.png; try"):
        wrong[4]


def test_boxes_are_inspected_on_images_of_their_size(boxed):
    stored = source_images({"train": boxed, "val": Rows(boxed, np.array([1, 2]))}, "voc:x")
    for images, rows in ((stored["train"], 5), (stored["val"], 2)):
        assert [image.shape for _, image in images] == [(12, 8, 3)] * rows
        assert len(images.fields["boxes"]) == rows


def test_images_without_boxes_are_inspected_as_they_are_stored(captioned):
    (stored, image), *_ = source_images({"train": captioned}, "folder:x")["train"]
    assert isinstance(stored, bytes)
    assert image.shape == (6, 8, 3)


@pytest.fixture
def voc(tmp_path):
    """Three square images with a box each, in the layout of VOC; the second is cut off."""
    root = tmp_path / "VOC"
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for name in "abc":
        buffer = io.BytesIO()
        Image.effect_noise((32, 32), 50).convert("RGB").save(buffer, "JPEG")
        data = buffer.getvalue()[: -200 if name == "b" else None]
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(data)
        box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
        (root / "Annotations" / f"{name}.xml").write_text(
            "<annotation><size><width>32</width><height>32</height></size>"
            f"<object><name>dot</name><bndbox>{box}</bndbox></object></annotation>",
            encoding="utf-8",
        )
    return root


def test_damaged_images_with_boxes_are_skipped_and_counted(voc):
    config = get_config(
        "base", data__source=f"voc:{voc}", data__broken="skip-and-count", data__workers=0
    )
    train = for_reading(config.data, open_source(config, ("image", "boxes")))["train"]
    batch = gather(train, np.arange(3))
    assert (batch["broken"] != "").tolist() == [False, True, False]
    assert batch["box_mask"][:, 0].tolist() == [True] * 3
    assert list(train.found) == [1]


def test_random_crops_are_refused_where_boxes_would_not_follow(voc):
    config = get_config(
        "base", data__source=f"voc:{voc}", data__crop="random_resized_crop", data__image_size=32
    )
    with pytest.raises(UsageError, match=r"expected data\.crop='' for voc:"):
        open_source(config, ("image", "boxes"))
