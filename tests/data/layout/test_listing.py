"""Folders are listed once, remembered while they do not change, and held in little memory."""

import os
import pickle
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import folder_tree, index_cache
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.layout import listing
from imgrec_jax.data.layout.listing import list_images, listing_of
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.memory_limit import decoded_limit, memory_bytes

WORDS = ["", "a/b.jpg", "猫/一.png", "x" * 300, "\udcc3.png"]


def test_names_are_a_sequence():
    names = Names.of(WORDS)
    assert list(names) == WORDS
    assert len(names) == 5
    assert (names[-1], names[2], names[-5]) == (WORDS[-1], "猫/一.png", "")
    assert list(names[1:4]) == WORDS[1:4]
    assert list(names[3:1]) == []
    assert list(names[::-2]) == WORDS[::-2]
    assert list(names[2:][1:2]) == ["x" * 300]
    assert "猫/一.png" in names
    assert list(Names.joined([names[3:], Names.of([]), names[:2]])) == WORDS[3:] + WORDS[:2]
    assert list(Names.joined([])) == list(Names.of([])) == []
    assert list(pickle.loads(pickle.dumps(names[1:3]))) == WORDS[1:3]
    for row in (5, -6):
        with pytest.raises(IndexError):
            names[row]


def test_a_million_names_take_less_than_60_bytes_each():
    names = Names.of(f"n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG" for i in range(100_000))
    assert (names.text.nbytes + names.ends.nbytes) / len(names) < 60


def tree(root, names, age=3600):
    """Make empty files in folders that were last changed an hour ago."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    settle(root, age)
    return root


def settle(root, age=3600):
    then = time.time() - age
    for folder, _, _ in os.walk(root):
        os.utime(folder, (then, then))


NAMES = ["cat/2.jpg", "cat/10.JPG", "cat/a/1.webp", "dog/x.Png", "top.bmp", "dog/notes.txt"]


def test_images_are_listed_by_folder_and_name(tmp_path):
    clutter = ["cat/.x.jpg", ".hidden/1.jpg", "cat/.git/2.jpg", "labels.csv", "dog/a/b/deep.csv"]
    for found in (list_images(tree(tmp_path, NAMES + clutter)), listing_of(NAMES + clutter)):
        assert list(found.names) == [
            "top.bmp", "cat/10.JPG", "cat/2.jpg", "cat/a/1.webp", "dog/x.Png",
        ]  # fmt: skip
        assert [(folder, list(names)) for folder, names in found.parts()] == [
            ("", ["top.bmp"]),
            ("cat", ["cat/10.JPG", "cat/2.jpg"]),
            ("cat/a", ["cat/a/1.webp"]),
            ("dog", ["dog/x.Png"]),
        ]
        assert list(found.tables) == ["labels.csv", "dog/notes.txt"]
    assert len(list_images(tmp_path).others) == 4


@pytest.fixture
def kept(monkeypatch):
    """Keep lists of any length, and count how often a folder is listed."""
    listed = []
    monkeypatch.setattr(listing, "KEPT_FROM", 1)
    plain = folder_tree.read_folder
    monkeypatch.setattr(
        folder_tree, "read_folder", lambda path: (listed.append(Path(path).name), plain(path))[1]
    )
    return listed


def test_a_large_folder_is_listed_once(tmp_path, kept):
    root = tree(tmp_path / "猫", NAMES)
    first = list_images(root)
    assert sorted(kept) == ["a", "cat", "dog", "猫"]
    kept.clear()
    second = list_images(root)
    assert kept == []
    assert list(second.names) == list(first.names)
    assert [f for f, _ in second.parts()] == ["", "cat", "cat/a", "dog"]
    assert second.counts.tolist() == [1, 2, 1, 1]
    assert list(second.tables) == list(second.others) == ["dog/notes.txt"]
    (tmp_path / "link").symlink_to(root)
    assert list(list_images(tmp_path / "link").names) == list(first.names)
    assert kept == []


@pytest.mark.parametrize(
    ("change", "images"),
    [
        (lambda root: (root / "cat/a/new.png").touch(), 6),
        (lambda root: (root / "dog/x.Png").unlink(), 4),
        (lambda root: (root / "dog/x.Png").rename(root / "dog/y.txt"), 4),
        (lambda root: tree(root / "emu", ["1.png", "2.png"]), 7),
        (lambda root: (root / "cat/a/1.webp").unlink() or (root / "cat/a").rmdir(), 4),
    ],
    ids=["more", "fewer", "renamed", "another folder", "a folder less"],
)
def test_a_folder_that_changes_is_listed_anew(tmp_path, kept, change, images):
    root = tree(tmp_path / "set", NAMES)
    assert len(list_images(root).names) == 5
    change(root)
    assert len(list_images(root).names) == images
    settle(root, 1800)
    list_images(root)
    kept.clear()
    assert len(list_images(root).names) == images
    assert kept == []


def test_a_folder_in_place_of_another_is_listed_anew(tmp_path, kept):
    root = tree(tmp_path / "set", ["a/1.png"])
    os.utime(root / "a", ns=(0, 10**18))
    os.utime(root, ns=(0, 10**18))
    assert list(list_images(root).names) == ["a/1.png"]
    root.rename(tmp_path / "old")
    tree(root, ["a/2.png"])
    os.utime(root / "a", ns=(0, 10**18))
    os.utime(root, ns=(0, 10**18))
    assert list(list_images(root).names) == ["a/2.png"]


@pytest.mark.parametrize("age", [0, -3600])
def test_a_folder_that_has_just_changed_is_not_trusted(tmp_path, kept, age):
    root = tree(tmp_path / "set", NAMES, age)
    list_images(root)
    kept.clear()
    list_images(root)
    assert len(kept) == 4


def test_small_folders_and_archives_are_not_kept(tmp_path):
    list_images(tree(tmp_path / "set", NAMES))
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(tmp_path / "set", "set")
    assert list(list_images(tmp_path / "set.tar").names)[1] == "set/cat/10.JPG"
    assert not (tmp_path / "imgrec_jax_cache").exists()


def test_a_cache_that_cannot_be_written_is_told_of(tmp_path, kept, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("IMGREC_JAX_CACHE", str(tmp_path / "file"))
    assert len(list_images(tree(tmp_path / "set", NAMES)).names) == 5
    assert "the list of images is not cached: " in caplog.text
    assert caplog.text.count("\n") == 1


def test_an_index_is_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    index_cache.keep_index("a", {"x": np.arange(3)})
    assert index_cache.load_index("a")["x"].tolist() == [0, 1, 2]

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    index_cache.keep_index("b", {"x": np.arange(3)})
    assert [path.name for path in (tmp_path / "imgrec_jax_cache" / "index").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "x.heif", "y.avif", "z.Hif"])
def test_heic_is_named_with_its_remedy(tmp_path, name):
    root = tree(tmp_path, ["cat/1.jpg", f"dog/{name}"])
    with pytest.raises(UserError) as caught:
        list_images(root)
    assert f"got 'dog/{name}', which is HEIC or AVIF; try converting it" in str(caught.value)
    assert "heif-convert" in str(caught.value)


def test_the_memory_for_decoded_images(tmp_path, monkeypatch):
    assert decoded_limit() == min(2 << 30, memory_bytes() // 4)
    (tmp_path / "memory.max").write_text("4000\n", encoding="utf-8")
    assert memory_bytes(tmp_path) == 4000
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    whole = memory_bytes(tmp_path)
    assert whole > 1 << 20
    assert memory_bytes(tmp_path / "nowhere") == whole
    monkeypatch.setattr(memory_limit, "memory_bytes", lambda: 4000)
    assert decoded_limit() == 1000
