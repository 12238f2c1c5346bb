"""The official binary archives of CIFAR-10 and CIFAR-100."""

import io
import tarfile

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats import cifar
from imgrec_jax.data.formats.cifar import find_cifar10_binary, open_cifar10, open_cifar100

NAMES10 = b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"
NAMES100 = b"\n".join(b"class_%d" % i for i in range(100)) + b"\n"
EXPECTED10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def record(*labels, red=(), green=(), blue=()):
    """A record whose planes are 0 but for the given (position in the plane, value)."""
    planes = bytearray(3072)
    for start, pixels in ((0, red), (1024, green), (2048, blue)):
        for position, value in pixels:
            planes[start + position] = value
    return bytes(labels) + bytes(planes)


def cifar10_files():
    """One record in each file but the first, which has two."""
    corner = record(6, red=[(0, 11), (1, 12)], green=[(0, 21), (32, 22)], blue=[(1023, 31)])
    files = {f"data_batch_{i}.bin": record(i) for i in range(2, 6)}
    return {
        "batches.meta.txt": NAMES10,
        "data_batch_1.bin": corner + record(9),
        **files,
        "test_batch.bin": record(3, red=[(5, 99)]) + record(0),
        "readme.html": b"<p>",
    }


def cifar100_files():
    return {
        "coarse_label_names.txt": b"coarse\n" * 20,
        "fine_label_names.txt": NAMES100,
        "train.bin": record(19, 99, green=[(0, 7)]) + record(4, 40),
        "test.bin": record(1, 2),
    }


def write_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_folder(path, files):
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture
def archive10(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    return write_archive(path, "cifar-10-batches-bin", cifar10_files())


@pytest.fixture
def folder10(tmp_path):
    return write_folder(tmp_path / "cifar-10-batches-bin", cifar10_files())


def check10(splits):
    assert list(splits) == ["train", "test"]
    train, test = splits["train"], splits["test"]
    assert train.images.shape == (6, 32, 32, 3)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int32
    assert train.labels.tolist() == [6, 9, 2, 3, 4, 5]
    assert train.label_names == EXPECTED10
    assert train.images[0, 0, 0].tolist() == [11, 21, 0]
    assert train.images[0, 0, 1].tolist() == [12, 0, 0]  # position 1 is row 0, column 1
    assert train.images[0, 1, 0].tolist() == [0, 22, 0]  # position 32 is row 1, column 0
    assert train.images[0, 31, 31].tolist() == [0, 0, 31]
    assert train.images[1:].sum() == 0
    assert test.labels.tolist() == [3, 0]
    assert test.images[0, 0, 5].tolist() == [99, 0, 0]


def test_the_archive(archive10):
    check10(open_cifar10(str(archive10)))


def test_the_unpacked_folder(folder10):
    check10(open_cifar10(str(folder10)))


def test_a_folder_that_holds_the_archive(archive10):
    check10(open_cifar10(str(archive10.parent)))


def test_a_folder_that_holds_the_unpacked_folder(folder10):
    check10(open_cifar10(str(folder10.parent)))


def test_the_unpacked_folder_goes_before_the_archive(archive10, folder10):
    assert find_cifar10_binary(archive10.parent) == folder10


def test_nothing_is_found_in_an_empty_folder(tmp_path):
    assert find_cifar10_binary(tmp_path) is None


def test_the_second_time_comes_from_the_cache(archive10, monkeypatch):
    open_cifar10(str(archive10))
    monkeypatch.setattr(cifar, "entries", None)
    check10(open_cifar10(str(archive10)))


@pytest.mark.parametrize("packed", [True, False])
def test_cifar100_has_fine_labels(tmp_path, packed):
    if packed:
        path = tmp_path / "cifar-100-binary.tar.gz"
        write_archive(path, "cifar-100-binary", cifar100_files())
    else:
        path = write_folder(tmp_path / "cifar-100-binary", cifar100_files())
    splits = open_cifar100(str(path))
    assert splits["train"].labels.tolist() == [99, 40]
    assert splits["train"].images[0, 0, 0].tolist() == [0, 7, 0]
    assert splits["test"].labels.tolist() == [2]
    assert splits["test"].label_names[:2] == ("class_0", "class_1")
    assert len(splits["test"].label_names) == 100


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("data_batch_3.bin", record(1)[:-1], "a multiple of 3073 bytes, got 3072"),
        ("data_batch_3.bin", b"", "a multiple of 3073 bytes, got 0"),
        ("test_batch.bin", record(10), "labels below 10, got 10"),
        ("batches.meta.txt", b"cat\ndog\n", "10 label names, got 2"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_named(tmp_path, packed, name, data, message):
    files = cifar10_files() | {name: data}
    if packed:
        path = write_archive(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", files)
    else:
        path = write_folder(tmp_path / "cifar-10-batches-bin", files)
    with pytest.raises(UserError, match=rf"{name}: expected {message}; try") as error:
        open_cifar10(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(folder10):
    (folder10 / "data_batch_4.bin").unlink()
    with pytest.raises(UserError, match=r"cifar-10-batches-bin: expected a file data_batch_4.bin"):
        open_cifar10(str(folder10))


def test_the_wrong_archive(tmp_path):
    path = write_archive(tmp_path / "x.tar.gz", "cifar-100-binary", cifar100_files())
    with pytest.raises(UserError, match=r"x.tar.gz: expected a file batches.meta.txt, got none"):
        open_cifar10(str(path))


def test_a_truncated_archive(archive10):
    archive10.write_bytes(archive10.read_bytes()[:200])
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz") as error:
        open_cifar10(str(archive10))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["nowhere", ""])
def test_a_path_without_archive(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"at '{where}', got neither; try cifar10:PATH"):
        open_cifar10(where)
