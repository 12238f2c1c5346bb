"""The cache of decoded images: quick, bounded, and never in the way."""

import dataclasses
import json
import logging
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.cache import decoded
from imgrec_jax.data.cache.decoded import cache_dir, cached, content_key
from imgrec_jax.data.sources.source import ArraySource


def data_set(value, names=("猫", "dog")):
    train = ArraySource(
        np.full((4, 2, 3, 3), value, np.uint8), np.array([0, 1, 1, 0], np.int32), names
    )
    return {"train": train, "test": train.take(np.array([1]))}


def never():
    pytest.fail("made anew")


def entry(key):
    return cache_dir() / "decoded" / key


def value(splits):
    return int(splits["train"].images[0, 0, 0, 0])


def test_second_call_reads_what_the_first_has_kept():
    cached("k", lambda: data_set(7))
    splits = cached("k", never)
    assert list(splits) == ["train", "test"]
    assert splits["train"].images.shape == (4, 2, 3, 3)
    assert splits["train"].images.dtype == np.uint8
    assert np.unique(splits["train"].images).tolist() == [7]
    assert splits["train"].labels.tolist() == [0, 1, 1, 0]
    assert splits["train"].labels.dtype == np.int32
    assert splits["test"].labels.tolist() == [1]
    assert splits["test"].label_names == ("猫", "dog")


def test_targets_and_facts_are_kept_by_split():
    plain = data_set(7)
    tokens = np.arange(8, dtype=np.int32).reshape(4, 2)
    train = dataclasses.replace(
        plain["train"], targets={"tokens": tokens, "labels": tokens[:, 0]}, facts={"words": ["猫"]}
    )
    cached("k", lambda: {**plain, "train": train})
    splits = cached("k", never)
    assert splits["train"].targets["tokens"].tolist() == tokens.tolist()
    assert splits["train"].targets["labels"].tolist() == [0, 2, 4, 6]
    assert splits["train"].labels.tolist() == [0, 1, 1, 0]
    assert splits["train"].facts == {"words": ["猫"]}
    assert splits["test"].targets == splits["test"].facts == {}


def test_entries_without_facts_are_read():
    """As versions before facts have written them."""
    cached("k", lambda: data_set(7))
    meta = json.loads((entry("k") / "meta.json").read_text(encoding="utf-8"))
    del meta["facts"]
    (entry("k") / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    assert value(cached("k", never)) == 7


def test_keys_do_not_mix():
    cached("one", lambda: data_set(1))
    cached("two", lambda: data_set(2))
    assert [value(cached(key, never)) for key in ("one", "two")] == [1, 2]


def flip_a_pixel(folder):
    path = folder / "test_images.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def shorten(folder):
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def pickle_labels(folder):
    np.save(folder / "train_labels.npy", np.array([{}], object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        shorten,
        pickle_labels,
        lambda folder: (folder / "meta.json").write_bytes(b'{"label_names": ["a'),
        lambda folder: (folder / "meta.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text('{"label_names": []}'),
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "train_labels.npy").write_bytes(b""),
        lambda folder: (folder / "test_labels.npy").unlink(),
    ],
)
def test_damaged_entry_is_made_anew(damage):
    cached("k", lambda: data_set(7))
    damage(entry("k"))
    assert value(cached("k", lambda: data_set(8))) == 8
    assert value(cached("k", never)) == 8


def used(key, when):
    """Let an entry have been used last at a time."""
    for path in entry(key).iterdir():
        os.utime(path, (when, when))
    os.utime(entry(key), (when, when))


def test_entries_used_longest_ago_make_room(monkeypatch):
    for number, key in enumerate(("a", "b", "c")):
        cached(key, lambda number=number: data_set(number))
        used(key, 1000 + number)
    cached("a", never)  # now "b" is the oldest
    size = sum(path.stat().st_size for path in entry("").glob("*/*"))
    monkeypatch.setenv("IMGREC_JAX_CACHE_BYTES", str(size))
    cached("d", lambda: data_set(9))
    assert sorted(os.listdir(entry(""))) == ["a", "c", "d"]
    monkeypatch.setenv("IMGREC_JAX_CACHE_BYTES", str(size // 3))
    cached("e", lambda: data_set(9))
    assert sorted(os.listdir(entry(""))) == ["e"]


def test_forgotten_drafts_are_removed_but_not_those_being_written():
    cached("k", lambda: data_set(1))
    for name, when in ((".draft-old", 1000), (".draft-new", None)):
        (entry(name)).mkdir()
        (entry(name) / "train_images.npy").write_bytes(b"half")
        if when:
            used(name, when)
    cached("l", lambda: data_set(2))
    assert sorted(os.listdir(entry(""))) == [".draft-new", "k", "l"]


def test_another_process_that_was_quicker_is_no_trouble(caplog):
    def make():
        cached("k", lambda: data_set(3))
        return data_set(3)

    assert value(cached("k", make)) == 3
    assert os.listdir(entry("")) == ["k"]
    assert value(cached("k", never)) == 3
    assert caplog.messages == []


def a_file_in_its_place(monkeypatch, tmp_path):
    (tmp_path / "occupied").write_bytes(b"")
    monkeypatch.setenv("IMGREC_JAX_CACHE", str(tmp_path / "occupied"))


def a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))


def a_quota(monkeypatch, tmp_path):
    def save(path, *_, **__):
        path.write_bytes(b"half")
        raise OSError(122, "Disk quota exceeded", str(path))

    monkeypatch.setattr(decoded.np, "save", save)


def a_small_bound(monkeypatch, tmp_path):
    monkeypatch.setenv("IMGREC_JAX_CACHE_BYTES", "89")


def no_home(monkeypatch, tmp_path):
    def expanduser(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", expanduser)


@pytest.mark.parametrize(
    ("trouble", "excerpt"),
    [
        (a_file_in_its_place, "Not a directory"),
        (a_full_disk, "110 bytes are needed, 10 are free on its disk"),
        (a_quota, "Disk quota exceeded"),
        (a_small_bound, "110 bytes are needed, IMGREC_JAX_CACHE_BYTES allows 89"),
        (no_home, "Could not determine home directory"),
    ],
)
def test_trouble_costs_one_warning(monkeypatch, tmp_path, caplog, trouble, excerpt):
    trouble(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert value(cached("k", lambda: data_set(5))) == 5
    [message] = caplog.messages
    assert excerpt in message
    assert "try IMGREC_JAX_CACHE=FOLDER" in message
    assert "\n" not in message
    if (tmp_path / "imgrec_jax_cache" / "decoded").exists():
        assert os.listdir(tmp_path / "imgrec_jax_cache" / "decoded") == []


@pytest.mark.parametrize("text", ["8GB", "-1", ""])
def test_bound_that_is_no_number_is_a_usage_error(monkeypatch, text):
    monkeypatch.setenv("IMGREC_JAX_CACHE_BYTES", text)
    with pytest.raises(UsageError, match=f"IMGREC_JAX_CACHE_BYTES, got '{text}'; try 8589934592"):
        cached("k", never)


def test_read_only_cache_can_still_be_read(monkeypatch):
    cached("k", lambda: data_set(6))

    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decoded.os, "utime", deny)
    assert value(cached("k", never)) == 6


def test_home_of_the_cache(monkeypatch):
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.setenv("IMGREC_JAX_CACHE", "~/mine")
    assert cache_dir() == Path("/home/user/mine")
    monkeypatch.delenv("IMGREC_JAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert cache_dir() == Path("/var/xdg/imgrec_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("/home/user/.cache/imgrec_jax")


def test_meta_is_utf8(monkeypatch):
    cached("k", lambda: data_set(1))
    text = (entry("k") / "meta.json").read_bytes().decode("utf-8")
    assert "猫" in text
    assert sorted(json.loads(text)) == ["checksums", "facts", "label_names"]


def test_key_of_a_file_follows_its_bytes(tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(b"one")
    key = content_key([path], 0)
    assert re.fullmatch("[0-9a-f]{64}", key)
    os.utime(path, (1, 1))
    assert content_key([path], 0) == key
    path.write_bytes(b"two")
    assert content_key([path], 0) != key
    assert content_key([path], 32) != content_key([path], 0)
    assert content_key([path], "32") != content_key([path], 32)


def test_key_of_several_files_follows_their_order_and_names(tmp_path):
    paths = [tmp_path / "train.tar", tmp_path / "test.tar"]
    for path in paths:
        path.write_bytes(b"same")
    assert content_key(paths) != content_key(paths[::-1])


def test_key_of_a_folder_follows_names_sizes_and_times(tmp_path):
    root = tmp_path / "set"
    (root / "猫").mkdir(parents=True)
    image = root / "猫" / "1.png"
    image.write_bytes(b"1")
    os.utime(image, ns=(5, 5))
    keys = [content_key([root])]
    os.utime(image, ns=(5, 6))
    keys.append(content_key([root]))
    image.write_bytes(b"12")
    os.utime(image, ns=(5, 6))
    keys.append(content_key([root]))
    image.rename(root / "猫" / "2.png")
    keys.append(content_key([root]))
    assert len(set(keys)) == 4
    (root / "猫" / ".DS_Store").write_bytes(b"finder")
    (root / ".git").mkdir()
    (root / ".git" / "index").write_bytes(b"git")
    assert content_key([root]) == keys[-1]
    moved = shutil.move(root, tmp_path / "elsewhere")
    assert content_key([Path(moved)]) == keys[-1]
