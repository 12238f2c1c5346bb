"""TFDS sets prepared as ArrayRecord, without TensorFlow and without a network."""

import json
import logging
import pickle
import shutil
import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds_library
from made_tfds import png, prepare

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats import tfds
from imgrec_jax.data.formats.tfds import find_prepared, open_tfds, tfds_home
from imgrec_jax.data.sources import encoded, memory_limit

F = tfds_library.features


def features(shape=(6, 4, 3)):
    return {"image": F.Image(shape=shape), "label": F.ClassLabel(names=["red", "green", "blue"])}


COLORS = [((255, 0, 0), 0), ((0, 255, 0), 1), ((0, 0, 255), 2), ((200, 0, 0), 0)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    home = tmp_path_factory.mktemp("tfds")
    images = [(png(color), label) for color, label in COLORS]
    prepare(
        home,
        "shapes",
        {"train": images, "validation": images[:1], "test": images[1:3], "extra": images},
        features(),
    )
    return home


@pytest.fixture
def home(prepared, tmp_path, monkeypatch):
    """A copy of the prepared sets, and no network."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return shutil.copytree(prepared, tmp_path / "home")


def rewrite_info(folder, **values):
    path = folder / "dataset_info.json"
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps(content), encoding="utf-8")


def check(splits):
    assert sorted(splits) == ["test", "train", "val"]
    assert [len(splits[name]) for name in ("train", "val", "test")] == [4, 1, 2]
    train = splits["train"]
    assert train.label_names == ("red", "green", "blue")
    assert train.image_shape == (6, 4, 3)
    assert train.labels.dtype == np.int32
    assert sorted(train.labels.tolist()) == [0, 0, 1, 2]
    pixels = set()
    for row in range(4):
        example = train[row]
        assert example["image"].shape == (6, 4, 3)
        assert example["image"].dtype == np.uint8
        assert example["label"] == train.labels[row]
        pixels.add((*example["image"][5, 3].tolist(), int(example["label"])))
    assert pixels == {(255, 0, 0, 0), (0, 255, 0, 1), (0, 0, 255, 2), (200, 0, 0, 0)}


def test_a_small_set_lies_in_memory(home):
    splits = open_tfds("shapes", str(home))
    check(splits)
    assert splits["train"].images.shape == (4, 6, 4, 3)


def test_the_second_time_comes_from_the_cache(home, monkeypatch):
    open_tfds("shapes", str(home))
    monkeypatch.setattr(encoded, "decode", None)
    check(open_tfds("shapes", str(home)))


def test_a_large_set_is_decoded_when_asked_for(home, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 6 * 4 * 3 * 7 - 1)
    splits = open_tfds("shapes", str(home))
    assert isinstance(splits["train"], encoded.EncodedSource)
    check(splits)
    check({name: pickle.loads(pickle.dumps(source)) for name, source in splits.items()})
    both = splits["train"].__getitems__([2, 0])
    assert [int(example["label"]) for example in both] == splits["train"].labels[[2, 0]].tolist()


def test_the_labels_of_a_large_set_are_read_once_and_without_its_images(home, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 0)
    monkeypatch.setattr(encoded, "decode", None)
    assert sorted(open_tfds("shapes", str(home))["train"].labels.tolist()) == [0, 0, 1, 2]
    monkeypatch.setattr(tfds, "read_labels", None)
    assert sorted(open_tfds("shapes", str(home))["train"].labels.tolist()) == [0, 0, 1, 2]


def test_the_folder_comes_from_the_environment(home, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    check(open_tfds("shapes"))
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(tfds_home()) == "/somewhere/tensorflow_datasets"
    assert str(tfds_home("~/sets")) == "/somewhere/sets"


def test_images_are_resized_on_demand(home):
    assert open_tfds("shapes", str(home))["train"].image_shape == (6, 4, 3)
    train = open_tfds("shapes", str(home), image_size=2)["train"]
    assert train.images.shape == (4, 2, 2, 3)
    assert sorted(train.images[:, 0, 0].tolist()) == [
        [0, 0, 255], [0, 255, 0], [200, 0, 0], [255, 0, 0],
    ]  # fmt: skip


def test_grey_images_keep_one_channel(tmp_path):
    prepare(tmp_path, "grey", {"train": [(png(77), 1)]}, features((6, 4, 1)))
    train = open_tfds("grey", str(tmp_path))["train"]
    assert train.images.shape == (1, 6, 4, 1)
    assert train.images[0, 0, 0].tolist() == [77]


def test_images_of_several_sizes_need_one(tmp_path):
    images = [(png((9, 8, 7), (5, 3)), 0), (png((9, 8, 7), (2, 2)), 1)]
    prepare(tmp_path, "sizes", {"train": images}, features((None, None, 3)))
    with pytest.raises(UsageError, match=r"1.0.0 train\[1\]; try --config.data.image_size=3"):
        open_tfds("sizes", str(tmp_path))
    train = open_tfds("sizes", str(tmp_path), image_size=4)["train"]
    assert train.images.shape == (2, 4, 4, 3)
    assert train.images[0, 0, 0].tolist() == [9, 8, 7]


def test_images_of_an_unsaid_size_have_that_of_the_first(tmp_path):
    images = [(png((9, 8, 7), (5, 3)), 0), (png((1, 2, 3), (5, 3)), 1)]
    prepare(tmp_path, "unsaid", {"train": images}, features((None, None, 3)))
    assert open_tfds("unsaid", str(tmp_path))["train"].image_shape == (3, 5, 3)


def test_the_newest_version_is_read_unless_another_is_named(home):
    prepare(home, "shapes", {"train": [(png((1, 2, 3)), 2)]}, features(), version="10.0.0")
    prepare(home, "shapes", {"train": [(png((1, 2, 3)), 2)] * 2}, features(), version="9.0.0")
    assert len(open_tfds("shapes", str(home))["train"]) == 1
    assert len(open_tfds("shapes:9.0.0", str(home))["train"]) == 2
    check(open_tfds("shapes:1.0.0", str(home)))
    with pytest.raises(UserError, match=r"expected a prepared TFDS set 'shapes:2.0.0'"):
        open_tfds("shapes:2.0.0", str(home))


def test_a_config_is_named(tmp_path):
    prepare(tmp_path, "many", {"test": [(png((1, 2, 3)), 2)]}, features(), config="big-1")
    assert open_tfds("many/big-1", str(tmp_path))["test"].labels.tolist() == [2]
    assert open_tfds("many/big-1:1.0.0", str(tmp_path))["test"].labels.tolist() == [2]
    with pytest.raises(UserError, match=r"its configs big-1: try tfds:many/CONFIG"):
        open_tfds("many", str(tmp_path))


@pytest.mark.parametrize("where", ["cifar10", "cifar10:3.0.2", "mnist/config"])
def test_an_unprepared_set_is_told_without_asking_the_network(home, where):
    with pytest.raises(UserError, match=rf"'{where}' in .*home, got none") as error:
        open_tfds(where, str(home))
    assert "--file_format=array_record" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["", "../shapes", "/shapes", "shapes:latest", "a/b/c", "a b"])
def test_a_name_that_is_none(home, where):
    with pytest.raises(UsageError, match=r"expected tfds:NAME"):
        open_tfds(where, str(home))


def test_tfrecord_is_refused(home):
    rewrite_info(home / "shapes" / "1.0.0", fileFormat="tfrecord")
    with pytest.raises(UserError, match=r"in the format array_record, got tfrecord, which needs"):
        open_tfds("shapes", str(home))


def test_array_record_beside_tfrecord_is_read(home):
    folder = home / "shapes" / "1.0.0"
    rewrite_info(folder, fileFormat="tfrecord", alternativeFileFormats=["array_record"])
    assert find_prepared("shapes", home) == [(folder, ("tfrecord", "array_record"))]
    check(open_tfds("shapes", str(home)))


def test_an_unfinished_preparation_is_not_seen(home):
    (home / "shapes" / "incomplete.ABC_2.0.0").mkdir()
    (home / "shapes" / "3.0.0").mkdir()
    assert find_prepared("shapes", home) == [(home / "shapes" / "1.0.0", ("array_record",))]


def test_a_split_without_labels_is_left_out(tmp_path, caplog):
    images = [(png((1, 2, 3)), 1)]
    splits = {"train": images, "test": [(png((1, 2, 3)), -1)]}
    prepare(tmp_path, "unlabelled", splits, features())
    with caplog.at_level(logging.WARNING):
        assert list(open_tfds("unlabelled", str(tmp_path))) == ["train"]
    assert "the split test has no labels and is left out" in caplog.text


def test_the_label_is_found_without_supervised_keys(tmp_path):
    both = {"mask": F.Image(shape=(6, 4, 3)), **features()}
    splits = {"train": [(png((9, 9, 9)), png((1, 2, 3)), 1)]}
    prepare(tmp_path, "two_images", splits, both, supervised=False)
    assert open_tfds("two_images", str(tmp_path))["train"].images[0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("other", "values", "message"),
    [
        ({"label": F.Scalar(np.int64)}, (png((1, 2, 3)), 1), "one image and one class for each"),
        (
            {"image": F.Text()},
            ("a", 1),
            "one image and one class for each example, got image, label",
        ),
    ],
)
def test_a_set_of_another_kind(tmp_path, other, values, message):
    prepare(tmp_path, "other", {"train": [values]}, features() | other)
    with pytest.raises(UserError, match=rf"other/1.0.0: expected {message}") as error:
        open_tfds("other", str(tmp_path))
    assert "\n" not in str(error.value)


def test_images_of_floats_are_refused(home):
    path = home / "shapes" / "1.0.0" / "features.json"
    text = path.read_text(encoding="utf-8").replace('"uint8"', '"float32"')
    path.write_text(text.replace('"3"', '"1"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"expected images of 8 or 16 bits, got .*float32"):
        open_tfds("shapes", str(home))


def test_other_names_of_splits(tmp_path, caplog):
    images = [(png((9, 9, 9)), 1)]
    named = dict.fromkeys(("train", "train_full", "valid", "testing", "extra"), images)
    prepare(tmp_path, "named", named, features())
    assert list(open_tfds("named", str(tmp_path))) == ["train", "val", "test"]
    assert "the splits extra, train_full are left out" in caplog.text


def test_a_set_without_known_splits(tmp_path):
    prepare(tmp_path, "odd", {"unsupervised": [(png((1, 2, 3)), 1)]}, features())
    with pytest.raises(UserError, match="a split train, validation or test, got unsupervised"):
        open_tfds("odd", str(tmp_path))


def truncate(path):
    path.write_bytes(path.read_bytes()[:70000])


@pytest.mark.parametrize("damage", [truncate, lambda path: path.unlink()])
def test_damaged_records_are_told_in_one_line(home, damage):
    damage(home / "shapes" / "1.0.0" / "shapes-train.array_record-00000-of-00001")
    with pytest.raises(UserError, match=r"1.0.0 train: expected intact records, got: ") as error:
        open_tfds("shapes", str(home))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_damaged_descriptions_are_told_in_one_line(home, name, text):
    (home / "shapes" / "1.0.0" / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"shapes/1.0.0") as error:
        open_tfds("shapes", str(home))
    assert "\n" not in str(error.value)


def test_a_damaged_image_is_named(tmp_path):
    prepare(tmp_path, "broken", {"train": [(png((1, 2, 3))[:-20], 1)]}, features())
    with pytest.raises(UserError, match=r"broken/1.0.0 train\[0\]"):
        open_tfds("broken", str(tmp_path))
