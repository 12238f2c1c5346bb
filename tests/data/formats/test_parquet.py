"""Parquet files as the Hugging Face hub stores image sets."""

import io
import json
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.huggingface import open_parquet
from imgrec_jax.data.sources import encoded, memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import ArraySource, gather

pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra imgrec_jax[parquet]")
pq = pytest.importorskip("pyarrow.parquet")


def png(value, size=(4, 3)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, values, labels, *, label_names=("cat", "dog"), image="image", group=3, **more):
    """Write a shard as the library `datasets` does: struct column, names in the metadata."""
    images = [
        {"bytes": png(v) if isinstance(v, int) else v, "path": f"p{i // 2}_{i}.png"}
        for i, v in enumerate(values)
    ]
    table = pa.table({image: images, "label": labels, **more})
    if label_names:
        features = {
            image: {"_type": "Image"},
            "label": {"names": list(label_names), "_type": "ClassLabel"},
        }
        metadata = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": metadata})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.fixture
def shards(tmp_path):
    root = tmp_path / "set"
    write(root / "data" / "train-00001-of-00002.parquet", [14, 15, 16], [1, 1, 0])
    write(root / "data" / "train-00000-of-00002.parquet", [10, 11, 12, 13], [0, 1, 0, 0])
    write(root / "data" / "test-00000-of-00001.parquet", [20, 21], [1, 0])
    write(root / "data" / "unsupervised-00000-of-00001.parquet", [1], [-1])
    (root / "README.md").write_text("about", encoding="utf-8")
    return root


def values(source):
    return gather(source, np.arange(len(source)))["image"][:, 0, 0, 0].tolist()


def check(splits):
    assert list(splits) == ["train", "test"]
    assert values(splits["train"]) == [10, 11, 12, 13, 14, 15, 16]
    assert splits["train"].labels.tolist() == [0, 1, 0, 0, 1, 1, 0]
    assert splits["train"].labels.dtype == np.int32
    assert values(splits["test"]) == [20, 21]
    assert splits["test"].labels.tolist() == [1, 0]
    assert splits["train"].label_names == splits["test"].label_names == ("cat", "dog")
    assert splits["train"].image_shape == (3, 4, 3)


def test_a_folder_of_shards(shards, monkeypatch):
    check(open_parquet(str(shards)))
    monkeypatch.setattr(encoded, "decode", lambda *_, **__: np.zeros((3, 4, 3), np.uint8))
    splits = open_parquet(str(shards))  # from the cache
    assert isinstance(splits["train"], ArraySource)
    check(splits)


def test_a_large_set_stays_encoded(shards, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 3 * 4 * 3 * 9 - 1)
    splits = open_parquet(str(shards))
    assert isinstance(splits["train"], EncodedSource)
    check(splits)
    check({split: pickle.loads(pickle.dumps(source)) for split, source in splits.items()})
    batch = gather(splits["train"], np.array([6, 0, 3, 3]))
    assert batch["image"][:, 0, 0, 0].tolist() == [16, 10, 13, 13]
    assert batch["label"].tolist() == [0, 0, 0, 0]
    assert splits["train"].encoded.name(5).endswith("data/train-00001-of-00002.parquet[1]")


@pytest.mark.parametrize("name", ["default/train/0000.parquet", "TRAIN.parquet", "x.parquet"])
def test_the_split_is_told_by_file_or_folder(tmp_path, name):
    write(tmp_path / "set" / name, [1, 2], [0, 1])
    assert list(open_parquet(str(tmp_path / "set"))) == ["train"]


def test_one_file(tmp_path):
    path = write(tmp_path / "validation-0.parquet", [1, 2], [0, 1])
    assert values(open_parquet(str(path))["val"]) == [1, 2]
    write(tmp_path / "trainings.parquet", [1, 2], [0, 1])
    assert values(open_parquet(str(tmp_path / "trainings.parquet"))["train"]) == [1, 2]


def test_files_of_no_split_are_left_out_where_others_have_one(tmp_path, caplog):
    for name in ("train-0.parquet", "contest.parquet", "pretrain.parquet"):
        write(tmp_path / "set" / name, [1, 2], [0, 1])
    splits = open_parquet(str(tmp_path / "set"))
    assert {split: len(source) for split, source in splits.items()} == {"train": 2}
    assert "no split is named by contest.parquet, pretrain.parquet: left out" in caplog.text


def test_image_size(shards):
    train = open_parquet(str(shards), image_size=2)["train"]
    assert train.image_shape == (2, 2, 3)
    assert train.images[:, 1, 1, 2].tolist() == [10, 11, 12, 13, 14, 15, 16]


def test_labels_without_names(tmp_path):
    path = write(tmp_path / "a.parquet", [1, 2, 3], [0, 10, 2], label_names=())
    assert open_parquet(str(path))["train"].label_names == ("0", "2", "10")
    path = write(tmp_path / "b.parquet", [1, 2, 3], ["猫", "狗", "猫"], label_names=())
    train = open_parquet(str(path))["train"]
    assert (train.label_names, train.labels.tolist()) == (("狗", "猫"), [1, 0, 1])


@pytest.mark.parametrize(
    ("labels", "label_names"),
    [
        ([1.0, 0.0, 1.0], ("0", "1")),
        ([b"dog", b"cat", b"dog"], ("cat", "dog")),
        ([True, False, True], ("False", "True")),
        ([2147483648, 0, 2147483648], ("0", "2147483648")),
        (np.array([2**64 - 1, 0, 2**64 - 1], np.uint64), ("0", str(2**64 - 1))),
        ([[7], [3], [7]], ("3", "7")),
        ([[0, 1], [1, 0], [0, 1]], ("0", "1")),
        ([1, -1, 1], ("-1", "1")),
        (["1.0", "0.0", "1.0"], ("0", "1")),
        (["['b']", "['a']", "['b']"], ("a", "b")),
        ([["b"], ["a"], ["b"]], ("a", "b")),
    ],
)
def test_labels_whose_meaning_is_plain(tmp_path, labels, label_names):
    path = write(tmp_path / "a.parquet", [1, 2, 3], labels, label_names=())
    train = open_parquet(str(path))["train"]
    assert (train.label_names, train.labels.tolist()) == (label_names, [1, 0, 1])


@pytest.mark.parametrize("missing", [None, -1, float("nan"), "-1", "", []])
def test_rows_without_a_label_are_left_out(tmp_path, caplog, monkeypatch, missing):
    kind = {str: str, list: lambda label: [label]}.get(type(missing), int)
    labels = [missing, kind(1), kind(0), missing, kind(1)]
    path = write(tmp_path / "a.parquet", [10, 11, 12, 13, 14], labels, label_names=(), group=2)
    for limit in (1 << 20, 0):  # in memory, and read on demand
        monkeypatch.setattr(memory_limit, "decoded_limit", lambda limit=limit: limit)
        train = open_parquet(str(path))["train"]
        assert (values(train), train.labels.tolist()) == ([11, 12, 14], [1, 0, 1])
    assert "2 of 5 rows of train have no label and are left out" in caplog.text
    assert train.encoded.name(2).endswith("a.parquet[4]")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (
            [0.5, 1.0],
            r"a whole number from 0 or a name, got 0.5 in .*parquet\[0\], column",
        ),
        ([0, -7], r"got -7 in .*parquet\[1\], column 'label'; try"),
        ([[1], [1, 2]], r"got a list of 2 in .*parquet\[1\], column 'label'; try"),
        ([{"a": 1}, {"a": 2}], r"got {'a': 1} in .*parquet\[0\], column 'label'; try"),
        ([float("inf"), 1], r"got inf in .*parquet\[0\]"),
    ],
)
def test_labels_without_a_plain_meaning_are_refused(tmp_path, labels, told):
    path = write(tmp_path / "a.parquet", [1, 2], labels, label_names=())
    with pytest.raises(UserError, match=told) as caught:
        open_parquet(str(path))
    assert "\n" not in str(caught.value)


def test_an_unlabelled_split_is_left_out(tmp_path, caplog):
    write(tmp_path / "train-0.parquet", [1, 2], [0, 1])
    write(tmp_path / "test-0.parquet", [1, 2], [-1, -1])
    assert list(open_parquet(str(tmp_path))) == ["train"]
    assert "the split test has no labels and is left out" in caplog.text


def test_other_columns(tmp_path):
    path = write(tmp_path / "a.parquet", [1, 2], [0, 1], image="img", fine=["x", "y"])
    assert open_parquet(str(path))["train"].label_names == ("cat", "dog")
    assert open_parquet(str(path), columns="img,fine")["train"].label_names == ("x", "y")
    with pytest.raises(UserError, match=r"one of labels in .*, got img, label, fine; try --config"):
        open_parquet(str(path), columns="img,coarse")


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [("patient", [0, 1, 0, 1]), (r"(p\d)_\d", [0, 0, 1, 1]), (r"_([02]|.)", [0, 1, 2, 3])],
)
def test_groups_by_column_or_path(tmp_path, group_by, groups):
    path = write(tmp_path / "a.parquet", [1, 2, 3, 4], [0, 1, 0, 1], patient=[7, 3, 7, 3])
    assert open_parquet(str(path), group_by=group_by)["train"].groups.tolist() == groups


@pytest.mark.parametrize(
    ("image", "label", "excerpt"),
    [
        (None, 0, r"the bytes of an image in the column 'image', got none in .*parquet\[0\]"),
        (b"<html>", 0, r"expected an image .*, got .*a.parquet\[0\] \(6 bytes\)"),
        (png(1)[:-20], 0, r"expected an intact image, got .*a.parquet\[0\]"),
        (1, 2, r"of the 2 classes \(cat, dog\), got '2' in .*parquet\[0\], column 'label'; try"),
    ],
)
def test_bad_rows_are_named(tmp_path, image, label, excerpt):
    path = write(tmp_path / "a.parquet", [image, 2], [label, 1])
    with pytest.raises(UserError, match=excerpt) as caught:
        open_parquet(str(path))
    assert "\n" not in str(caught.value)


def test_damaged_and_missing_files(tmp_path):
    path = write(tmp_path / "set" / "train.parquet", [1, 2], [0, 1])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"an intact Parquet file, got .*train.parquet: ") as caught:
        open_parquet(str(path))
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=r"expected files named like train-00000-of-00002\.parquet"):
        open_parquet(str(tmp_path / "set"))
    with pytest.raises(UsageError, match=r"expected a path after 'parquet:', got '.*/nowhere'"):
        open_parquet(str(tmp_path / "nowhere"))


def test_without_pyarrow_the_way_out_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"got none installed; try pip install 'imgrec_jax\[parq"):
        open_parquet(str(tmp_path / "a.parquet"))
