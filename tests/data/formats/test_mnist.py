"""The four IDX files."""

import gzip
import struct

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.mnist import open_mnist

NAMES = {
    "train-images-idx3-ubyte": (2051, 3),
    "train-labels-idx1-ubyte": (2049, 3),
    "t10k-images-idx3-ubyte": (2051, 2),
    "t10k-labels-idx1-ubyte": (2049, 2),
}


def images(count, side=28):
    """Images 0, 1, ... filled with 10, 11, ..., but for a bright pixel in row 1, column 2."""
    data = np.repeat(np.arange(10, 10 + count, dtype=np.uint8), side * side)
    data = data.reshape(count, side, side)
    data[:, 1, 2] = 255
    return struct.pack(">IIII", 2051, count, side, side) + data.tobytes()


def labels(*values):
    return struct.pack(">II", 2049, len(values)) + bytes(values)


@pytest.fixture
def folder(tmp_path):
    """A whole set: 3 images to train on, 2 to test on."""
    write(tmp_path, "train-images-idx3-ubyte", images(3))
    write(tmp_path, "train-labels-idx1-ubyte", labels(7, 0, 9))
    write(tmp_path, "t10k-images-idx3-ubyte", images(2))
    write(tmp_path, "t10k-labels-idx1-ubyte", labels(4, 4))
    return tmp_path


def write(folder, name, data):
    with gzip.open(folder / f"{name}.gz", "wb") as file:
        file.write(data)


def check(splits):
    assert list(splits) == ["train", "test"]
    train = splits["train"]
    assert train.images.shape == (3, 28, 28, 1)
    assert train.images.dtype == np.uint8
    assert train.images[:, 0, 0, 0].tolist() == [10, 11, 12]
    assert train.images[0, 1, 2, 0] == 255
    assert train.images[0, 2, 1, 0] == 10
    assert train.labels.dtype == np.int32
    assert train.labels.tolist() == [7, 0, 9]
    assert train.label_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert splits["test"].labels.tolist() == [4, 4]


def test_compressed_files(folder):
    check(open_mnist(str(folder)))


def test_unpacked_files(folder):
    for path in folder.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    check(open_mnist(str(folder)))


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / f"{name}.gz").unlink()
    with pytest.raises(UserError, match=rf"expected {name}.gz .* got no such file; try"):
        open_mnist(str(folder))


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"got '.*nowhere', which is none; try mnist:FOLDER"):
        open_mnist(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train-images-idx3-ubyte", labels(1, 2), "an IDX header, got 10 bytes"),
        ("train-images-idx3-ubyte", labels(*range(9)), "magic number 2051, got 2049"),
        ("train-labels-idx1-ubyte", images(3), "magic number 2049, got 2051"),
        ("train-labels-idx1-ubyte", b"\0\0\x08", "an IDX header, got 3 bytes in all"),
        ("train-labels-idx1-ubyte", labels(1, 2), "3 labels for train-images-idx3-ubyte.gz, got 2"),
        ("train-labels-idx1-ubyte", labels(1, 2, 10), "labels 0 to 9, got 10"),
        ("train-images-idx3-ubyte", images(3)[:-1], "2352 bytes after the header, got 2351"),
        ("train-images-idx3-ubyte", images(3) + b"x", "2352 bytes after the header, got more"),
        ("train-images-idx3-ubyte", images(3, side=20), "28x28 images, got 20x20"),
        ("train-images-idx3-ubyte", images(0), "a sensible size"),
        (
            "train-images-idx3-ubyte",
            struct.pack(">IIII", 2051, 2**32 - 1, 28, 28),
            r"a sensible size, got \[4294967295, 28, 28\]",
        ),
        (
            "train-images-idx3-ubyte",
            struct.pack(">IIII", 2051, 3, 2**31, 2**31),
            "a sensible size",
        ),
    ],
)
def test_a_malformed_file_is_named(folder, name, data, message):
    write(folder, name, data)
    with pytest.raises(
        UserError, match=rf"{name}.gz: expected (an IDX file with |a header with )?{message}"
    ) as error:
        open_mnist(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"no gzip" + data])
def test_a_damaged_gzip_is_named(folder, damage):
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte.gz: expected a whole, readable"):
        open_mnist(str(folder))


def test_a_bomb_is_not_unpacked(folder, monkeypatch):
    sizes = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size=-1: sizes.append(size) or read(self, size)
    )
    write(folder, "train-images-idx3-ubyte", images(3) + bytes(1 << 20))
    with pytest.raises(UserError, match="got more"):
        open_mnist(str(folder))
    assert sizes == [16, 2353]


@pytest.mark.shared_data
def test_the_real_files(shared_data):
    splits = open_mnist(str(shared_data / "mnist"))
    assert splits["train"].images.shape == (60000, 28, 28, 1)
    assert splits["train"].labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert splits["test"].images.shape == (10000, 28, 28, 1)
    assert splits["test"].labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert abs(splits["train"].images.mean() / 255 - 0.1307) < 5e-5  # the well-known mean
