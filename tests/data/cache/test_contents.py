"""The cache as `data cache` shows and empties it."""

import os

import numpy as np
import pytest

from imgrec_jax.core.cache_folder import cache_dir
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.cache.contents import Entry, clear_cache, list_cache
from imgrec_jax.data.cache.decoded import cached
from imgrec_jax.data.sources.source import ArraySource


def fill(key="a" * 64, n=6, names=("cat", "dog")):
    images = np.zeros((n, 4, 5, 3), np.uint8)
    return cached(key, lambda: {"train": ArraySource(images, np.zeros(n, np.int32), names)})


def write(path, size=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def test_what_there_is_is_described():
    fill(names=("a", "b", "c", "d", "e"))
    write(cache_dir() / "compiled" / "jit_step", 5000)
    write(cache_dir() / "index" / "key.npz", 70)
    write(cache_dir() / "decoded" / ".draft-x" / "train_images.npy", 10)
    found = list_cache()
    assert [(entry.path.name, entry.what) for entry in found] == [
        ("compiled", "compiled programs"),
        ("a" * 64, "decoded images: 6 of 5x4 in 5 classes (a, b, c, d, ...)"),
        ("index", "lists of images"),
        (".draft-x", "decoded images, unfinished"),
    ]
    files = (cache_dir() / "decoded" / ("a" * 64)).iterdir()
    assert [entry.size for entry in found] == [5000, sum(f.stat().st_size for f in files), 70, 10]


def test_the_age_is_that_of_the_last_use():
    fill()
    meta = cache_dir() / "decoded" / ("a" * 64) / "meta.json"
    for path in (meta.parent, *meta.parent.iterdir()):
        os.utime(path, (1000, 1000))
    os.utime(meta, (2000, 2000))
    assert list_cache()[0].used == 2000


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"label_names": 3, "checksums": {"x": 1}}'])
def test_a_damaged_entry_is_shown_too(text):
    fill()
    (cache_dir() / "decoded" / ("a" * 64) / "meta.json").write_text(text, encoding="utf-8")
    assert list_cache()[0].what == "decoded images"


def test_all_of_it_is_removed_and_nothing_else():
    fill()
    write(cache_dir() / "compiled" / "jit_step", 5000)
    write(cache_dir() / "index" / "key.npz", 70)
    write(cache_dir() / "thesis.tex", 3)
    size = sum(entry.size for entry in list_cache())
    assert clear_cache(list_cache()) == size
    assert list_cache() == []
    assert (cache_dir() / "thesis.tex").read_bytes() == bytes(3)


def test_links_are_removed_and_not_followed(tmp_path):
    write(tmp_path / "mine" / "precious", 9)
    fill()
    entry = cache_dir() / "decoded" / ("a" * 64)
    os.symlink(tmp_path / "mine", entry / "inside")
    os.symlink(tmp_path / "mine", cache_dir() / "decoded" / "beside")
    os.symlink(tmp_path / "mine", cache_dir() / "compiled")
    sizes = {found.path.name: found.size for found in list_cache()}
    assert sizes["beside"] == 0
    assert sizes["compiled"] == 0
    clear_cache(list_cache())
    assert (tmp_path / "mine" / "precious").read_bytes() == bytes(9)
    assert not os.path.lexists(entry)
    assert not os.path.lexists(cache_dir() / "decoded" / "beside")
    assert not os.path.lexists(cache_dir() / "compiled")


def test_a_linked_folder_of_entries_is_not_entered(tmp_path):
    write(tmp_path / "mine" / "entry" / "precious", 9)
    cache_dir().mkdir(parents=True)
    os.symlink(tmp_path / "mine", cache_dir() / "decoded")
    assert [(entry.path.name, entry.size) for entry in list_cache()] == [("decoded", 0)]
    clear_cache(list_cache())
    assert (tmp_path / "mine" / "entry" / "precious").exists()


def test_what_lies_outside_is_never_removed(tmp_path):
    write(tmp_path / "precious", 9)
    with pytest.raises(UserError, match=r"expected something in the cache"):
        clear_cache([Entry(tmp_path / "precious", "", 9, 0.0)])
    assert (tmp_path / "precious").exists()


def test_no_cache_at_all():
    assert list_cache() == []
    assert clear_cache([]) == 0
