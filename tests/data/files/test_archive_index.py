"""Images in archives, each read alone: where it lies, what is damaged, and by whom it is read."""

import dataclasses
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import archive, archive_index
from imgrec_jax.data.files.archive_index import ArchiveImages, index_archive
from imgrec_jax.data.files.name_table import Names
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images.random_crop import RandomResizedCrop
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.workers.pool import with_workers

LONG = "x" * 150 + "/字.txt"  # longer than a plain header holds
FILES = {"b/2.txt": b"two" * 500, LONG: b"", "a/1.txt": bytes(range(256)), "b/1.txt": b"one"}


def write_tar(path: Path, files, kind=tarfile.PAX_FORMAT, mode="w") -> Path:
    with tarfile.open(path, mode, format=kind) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, files, kind=zipfile.ZIP_DEFLATED, before=b"") -> Path:
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a", kind) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


MAKERS = {
    "pax": lambda path: write_tar(path / "s.tar", FILES),
    "gnu": lambda path: write_tar(path / "s.tar", FILES, tarfile.GNU_FORMAT),
    "deflated": lambda path: write_zip(path / "s.zip", FILES),
    "stored": lambda path: write_zip(path / "s.zip", FILES, zipfile.ZIP_STORED),
    "self-extracting": lambda path: write_zip(path / "s.zip", FILES, before=b"#!program" * 99),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_every_file_is_read_without_the_others(tmp_path, maker):
    found = index_archive(MAKERS[maker](tmp_path))
    assert found
    assert list(found.names) == list(FILES)
    assert found.read([2, 0, 1, 3]) == [FILES["a/1.txt"], b"two" * 500, b"", b"one"]
    some = found.take(Names.of(["b/1.txt", LONG]))
    assert some.read([0, 1]) == [b"one", b""]
    assert some.name(1) == f"{found.path}: {LONG}"
    with pytest.raises(UserError, match=r"expected the image .*: c\.txt, got none"):
        found.take(Names.of(["c.txt"]))


def test_of_two_files_of_one_name_the_later_counts(tmp_path):
    path = write_tar(tmp_path / "s.tar", {"a": b"old"})
    write_tar(path, {"a": b"new!"}, mode="a")
    found = index_archive(path)
    assert found
    assert found.take(Names.of(["a"])).read([0]) == [b"new!"]


def test_what_is_compressed_as_a_whole_or_in_another_way_cannot_be_read_so(tmp_path):
    assert index_archive(write_tar(tmp_path / "s.tgz", FILES, mode="w:gz")) is None
    assert index_archive(write_tar(tmp_path / "named.tar", FILES, mode="w:xz")) is None
    assert index_archive(write_zip(tmp_path / "s.zip", FILES, zipfile.ZIP_LZMA)) is None
    locked = write_zip(tmp_path / "locked.zip", {"a": b"a"})
    data = bytearray(locked.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag that there is a password
    locked.write_bytes(data)
    assert index_archive(locked) is None


@pytest.mark.parametrize("kind", ["deflated", "stored"])
def test_no_changed_byte_of_a_zip_goes_unnoticed(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    found = index_archive(path)
    assert found
    whole = path.read_bytes()
    start, size = found.places[2, :2].tolist()
    for at in range(start + 5, start + size - 1, 7):  # at the ends there are bits to spare
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 64]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"s\.zip: a/1\.txt: "):
            found.read([2])
    path.write_bytes(whole[: start + 9])
    with pytest.raises(UserError, match=r"a/1\.txt: its end is missing; try copying"):
        found.read([2])


def test_a_file_that_inflates_beyond_all_bounds_is_refused(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "s.zip", {"bomb": bytes(10_000)})
    found = index_archive(path)
    assert found
    monkeypatch.setattr(archive_index, "MAX_MEMBER_BYTES", 9_999)
    with pytest.raises(UserError, match=r"bomb: its checksum is another"):
        found.read([0])


def test_a_long_index_is_kept_until_the_archive_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_index, "_KEPT_FROM", 3)
    path = write_zip(tmp_path / "s.zip", FILES)
    first = index_archive(path)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "members", None)
        again = index_archive(path)
    assert isinstance(first, ArchiveImages)
    assert isinstance(again, ArchiveImages)
    assert list(again.names) == list(FILES)
    assert (again.places == first.places).all()
    write_zip(path, {**FILES, "new": b"1"})
    changed = index_archive(path)
    assert changed
    assert len(changed) == 5


def image(number: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 10, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((60 - number, 40 + number)).save(stream, "JPEG")
    return stream.getvalue()


def test_batches_of_archives_are_those_of_the_folder_whoever_reads_them(tmp_path):
    files = {f"{'猫狗'[k % 2]}/{k}.jpg": image(k) for k in range(11)}
    for name, data in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    write_tar(tmp_path / "s.tar", dict(reversed(files.items())))
    write_zip(tmp_path / "s.zip", files)
    walks = []
    for where, workers in (("folder", 0), ("s.tar", 0), ("s.tar", 1), ("s.zip", 0), ("s.zip", 2)):
        with memory_limit.limited(0):
            source = open_folder(str(tmp_path / where), image_size=16)["train"]
        source = dataclasses.replace(source, crop=RandomResizedCrop(seed=1))  # pyright: ignore
        batches = TrainBatches(with_workers({"train": source}, workers)["train"], 4, seed=2)
        walks.append([batches(step) for step in (4, 0, 1)])  # step 4: of the second epoch, first
    assert walks[0][0]["image"].shape == (1, 4, 16, 16, 3)
    for walk in walks[1:]:
        for one, other in zip(walks[0], walk, strict=True):
            assert all((one[key] == other[key]).all() for key in one)


def test_damaged_images_of_an_archive_are_told_one_by_one(tmp_path):
    files = {f"{'ab'[k % 2]}/{k}.jpg": image(k) for k in range(6)}
    path = write_zip(tmp_path / "s.zip", files, zipfile.ZIP_STORED)
    data = path.read_bytes()
    at = data.index(files["b/3.jpg"]) + 300
    path.write_bytes(data[:at] + b"????" + data[at + 4 :])
    with memory_limit.limited(0):
        source = open_folder(str(path), image_size=16)["train"]
    source = dataclasses.replace(source, skip_broken=True)  # pyright: ignore
    rows = np.arange(6)
    broken = source.read(rows, np.zeros(6, int))["broken"]  # pyright: ignore
    assert [row for row in rows if broken[row]] == [4]  # b/1, b/3, b/5 come behind a/0, a/2, a/4
    assert "s.zip: b/3.jpg: its checksum is another" in broken[4]


def test_names_come_one_by_one_as_they_come_in_a_row():
    printable = ["", "字/1.jpg", "not UTF-8: \udcff", "b"]
    names = Names.of(printable)
    assert list(names) == printable
    assert [names[row] for row in range(4)] == printable
    assert list(names[1:3]) == printable[1:3]
