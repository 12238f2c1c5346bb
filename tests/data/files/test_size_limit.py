"""Files that unpack to far more than their size are refused, with the flag that allows them."""

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.raw_images import open_stored
from imgrec_jax.build.sources import open_source
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files import archive, size_limit
from imgrec_jax.data.files.access import list_files, read_file
from imgrec_jax.data.files.size_limit import Bounded
from imgrec_jax.data.formats.mnist import open_mnist
from imgrec_jax.data.formats.npz import open_npz

LEAST = 100_000
ZEROS = bytes(30 * LEAST)


@pytest.fixture(autouse=True)
def small_limit(monkeypatch):
    monkeypatch.setattr(size_limit, "LEAST_BYTES", LEAST)
    monkeypatch.setattr(size_limit, "_RATIO", 2)


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert message.startswith(f"expected at most {LEAST:,} bytes in ")
    assert "; try --config.data.file_gb=1 if it is no mistake" in message
    return message


def tar(files, compress=lzma.compress, end=b""):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as file:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return compress(buffer.getvalue() + end)


SMALL = {f"{label}/{row}.png": bytes(10) for label in "ab" for row in range(3)}
BOMBS = {
    "nothing but zeros.tar.xz": lzma.compress(ZEROS),
    "nothing but zeros.tar.gz": gzip.compress(ZEROS),
    "zeros behind the end.tar.xz": tar(SMALL, end=ZEROS),
    "a large member.tar.gz": tar({"a/1.png": ZEROS}, gzip.compress),
    "many members.tgz": tar({f"a/{row}.png": ZEROS[:LEAST] for row in range(9)}, gzip.compress),
    "a long name.tar.xz": tar({"a/" + "x" * 30 * LEAST: b""}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_compressed_tars_that_grow_are_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    assert name in refusal(list_files, path)


def test_sparse_members_count_as_what_they_unpack_to(tmp_path):
    header = tarfile.TarInfo("a/1.png")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"%011o\0" % (30 * LEAST)  # the size when it is unpacked
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "set.tar").write_bytes(bytes(block) + bytes(10240))
    assert "set.tar" in refusal(list_files, tmp_path / "set.tar")


def test_zips_that_grow_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for row in range(5):
            file.writestr(f"a/{row}.png", ZEROS[:LEAST])
    assert "set.zip" in refusal(list_files, tmp_path / "set.zip")
    assert "set.zip" in refusal(archive.members, tmp_path / "set.zip")


def test_arrays_that_grow_are_refused(tmp_path):
    images = np.zeros((2, 300, 300, 3), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", x_train=images, y_train=[0, 1])
    assert "set.npz" in refusal(open_npz, str(tmp_path / "set.npz"))


def test_idx_files_that_grow_are_refused(tmp_path):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        data = struct.pack(">4I", 2051, 300, 28, 28) + bytes(300 * 28 * 28)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    assert "train-images-idx3-ubyte.gz" in refusal(open_mnist, str(tmp_path))


def test_parquet_that_grows_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra imgrec_jax[parquet]")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [b"%d" % row + ZEROS[:LEAST] for row in range(9)]
    table = pyarrow.table({"image": rows, "label": [row % 2 for row in range(9)]})
    parquet.write_table(table, tmp_path / "train.parquet", compression="zstd", use_dictionary=False)
    config = get_config("base", data__source=f"parquet:{tmp_path}")
    assert "train.parquet" in refusal(open_stored, config)


def test_large_texts_are_refused_before_they_are_read(tmp_path):
    os.truncate(os.open(tmp_path / "train.json", os.O_CREAT | os.O_RDWR), LEAST + 1)
    config = get_config("base", data__source=f"coco:{tmp_path}", data__image_shape="8x8")
    assert "train.json" in refusal(open_source, config)


def test_the_flag_allows_more(tmp_path):
    images = np.zeros((2, 300, 300, 3), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", x_train=images, y_train=[0, 1])
    config = get_config("base", data__source=f"npz:{tmp_path}/set.npz", data__file_gb=0.001)
    assert len(open_source(config)["train"]) == 2
    assert len(open_stored(config)["train"]) == 2
    config.data.file_gb = 0.0001
    with pytest.raises(UserError, match=r"at most 100,000 bytes in .*set\.npz"):
        open_source(config)


def test_size_of_the_file_counts(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, 3 * LEAST, np.uint8).tobytes()
    path = tmp_path / "set.tar.xz"
    path.write_bytes(tar({"a/1.png": noise}))
    assert list_files(path) == ["a/1.png"]


def test_a_bounded_file_is_read_up_to_its_limit(tmp_path):
    path = Path(tmp_path / "x")
    path.write_bytes(b"")
    file = Bounded(io.BytesIO(ZEROS[:LEAST]), path)
    assert len(file.read()) == LEAST
    assert (file.read(), file.tell(), file.seek(5)) == (b"", LEAST, 5)
    assert len(file.read(10)) == 10
    for call in (lambda: file.seek(LEAST + 1), lambda: Bounded(io.BytesIO(ZEROS), path).read()):
        refusal(call)


def test_plain_files_are_read_at_once_up_to_the_limit(tmp_path):
    (tmp_path / "x").write_bytes(ZEROS[:LEAST])
    assert len(read_file(tmp_path / "x")) == LEAST
    (tmp_path / "x").write_bytes(ZEROS[: LEAST + 1])
    refusal(read_file, tmp_path / "x")
