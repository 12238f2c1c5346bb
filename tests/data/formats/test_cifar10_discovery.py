"""CIFAR-10 found by itself, in the documented order, or downloaded."""

import functools
import hashlib
import http.server
import io
import json
import logging
import os
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats import cifar10, cifar_python
from imgrec_jax.data.formats.cifar10 import find_cifar10
from imgrec_jax.data.formats.cifar10_tfds import write_cifar10
from imgrec_jax.data.formats.tfds import find_prepared
from imgrec_jax.data.sources.source import ArraySource

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_binary(path, red):
    """An archive with one image of each class to train on (by twos), class 3 to test on."""

    def record(label):
        return bytes([label]) + bytes([red]) * 1024 + bytes([label]) * 1024 + b"\0" * 1024

    files = {f"data_batch_{i}.bin": record(2 * i - 2) + record(2 * i - 1) for i in range(1, 6)}
    files |= {"test_batch.bin": record(3), "batches.meta.txt": "\n".join(NAMES).encode() + b"\n\n"}
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_tfds(home, red):
    """A prepared set with two images of class 1 to train on, one of class 8 to test on."""
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[..., 0] = red
    train = ArraySource(images, np.asarray([1, 1], np.int32), NAMES)
    test = ArraySource(images[:1], np.asarray([8], np.int32), NAMES)
    return write_cifar10({"train": train, "test": test}, home)


def write_python(folder, red, monkeypatch):
    """The folder of torchvision with one image in each file, all of class 5."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNK\x00K\x00K\x00tb"
    pixels = b"T\x00\x0c\x00\x00" + bytes([red]) * 1024 + b"\0" * 2048
    array = empty + b"(K\x01K\x01M\x00\x0c\x86" + dtype + b"\x89" + pixels + b"tb"
    data = b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x05eu."
    folder.mkdir(parents=True)
    for name in cifar_python._MD5:
        (folder / name).write_bytes(data)
        monkeypatch.setitem(cifar_python._MD5, name, hashlib.md5(data).hexdigest())


def red(splits):
    """Say which copy was read: each is filled with a red of its own."""
    for source in splits.values():
        assert source.label_names == NAMES
        assert source.image_shape == (32, 32, 3)
    return int(splits["train"].images[0, 0, 0, 0])


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty data folder; the working folder is an empty one beside it; no network."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("IMGREC_JAX_CIFAR10_URL", "http://127.0.0.1:9/nothing")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def archive_url(tmp_path, monkeypatch):
    """The address of an archive on a server on the loopback, as if it were the official one."""
    path = write_binary(tmp_path / "served" / "cifar.tar.gz", red=50)
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(path.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/cifar.tar.gz"
        httpd.shutdown()
        thread.join()


def test_the_order_of_the_places(home, monkeypatch):
    here = home.parent / "here" / "data"
    write_python(here / "cifar-10-batches-py", 10, monkeypatch)
    assert red(find_cifar10(str(home))) == 10
    write_python(home / "cifar-10-batches-py", 11, monkeypatch)
    assert red(find_cifar10(str(home))) == 11
    write_binary(here / "cifar-10-binary.tar.gz", 12)
    assert red(find_cifar10(str(home))) == 12
    write_binary(home / "cifar-10-binary.tar.gz", 13)
    assert red(find_cifar10(str(home))) == 13
    write_tfds(home, 14)
    assert red(find_cifar10(str(home))) == 14


def test_the_folder_comes_from_the_environment(home, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))
    write_binary(home / "cifar-10-binary.tar.gz", 15)
    assert red(find_cifar10()) == 15


def test_a_tfrecord_set_is_passed_over_with_one_line(home, caplog):
    info = write_tfds(home, 14) / "dataset_info.json"
    content = json.loads(info.read_text(encoding="utf-8")) | {"fileFormat": "tfrecord"}
    info.write_text(json.dumps(content), encoding="utf-8")
    write_binary(home / "cifar-10-binary.tar.gz", 13)
    with caplog.at_level(logging.WARNING):
        assert red(find_cifar10(str(home))) == 13
    assert caplog.messages == [
        f"{info.parent}: skipped, its format needs TensorFlow: tfrecord",
    ]


def test_a_set_with_other_labels_is_refused(home):
    (write_tfds(home, 14) / "label.labels.txt").write_text("\n".join("abcdefghij"), "utf-8")
    with pytest.raises(UserError, match=r"airplane .* truck, got a b c d e f g h i j; try"):
        find_cifar10(str(home))


def test_a_download_becomes_a_set_that_stock_tfds_reads(home, archive_url, monkeypatch, capfd):
    monkeypatch.setenv("IMGREC_JAX_CIFAR10_URL", archive_url)
    first = find_cifar10(str(home))
    assert red(first) == 50
    assert sorted(first["train"].labels.tolist()) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert (first["train"].images[:, 5, 5, 1] == first["train"].labels).all()
    assert first["test"].labels.tolist() == [3]
    assert sorted(path.name for path in home.iterdir()) == [".cifar10.lock", "cifar10"]
    assert [path.name for path in (home / "cifar10").iterdir()] == ["3.0.2"]
    assert capfd.readouterr().out == ""

    monkeypatch.setenv("IMGREC_JAX_CIFAR10_URL", "http://127.0.0.1:9/nothing")
    second = find_cifar10(str(home))  # without a network, and in the same order
    assert second["train"].labels.tolist() == first["train"].labels.tolist()

    program = f"""
import json
import tensorflow_datasets as tfds
train = tfds.data_source("cifar10", data_dir={str(home)!r}, split="train")
test = tfds.data_source("cifar10", data_dir={str(home)!r}, split="test")
names = tfds.builder("cifar10", data_dir={str(home)!r}).info.features["label"].names
rows = [[e["id"].decode(), int(e["label"]), *e["image"].shape, *e["image"][7, 9].tolist()]
        for e in (*train, *test)]
print(json.dumps([names, sorted(rows)]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    names, rows = json.loads(result.stdout.splitlines()[-1])
    assert names == list(NAMES)
    assert rows == [
        ["test_00000", 3, 32, 32, 3, 50, 3, 0],
        *[[f"train_{i:05d}", i, 32, 32, 3, 50, i, 0] for i in range(10)],
    ]


def test_a_killed_preparation_leaves_nothing_that_is_read(home, archive_url, monkeypatch):
    program = f"""
import os, cv2
from imgrec_jax.data.formats import cifar10
cv2.imencode = lambda *_: os.kill(os.getpid(), 9)
cifar10.SHA256 = {cifar10.SHA256!r}
cifar10.find_cifar10({str(home)!r})
"""
    environment = {**os.environ, "IMGREC_JAX_CIFAR10_URL": archive_url}
    result = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert result.returncode == -9
    assert find_prepared("cifar10", home) == []
    (left_over,) = (home / "cifar10").iterdir()
    assert (home / "cifar-10-binary.tar.gz").is_file()  # what was downloaded is not lost
    assert red(find_cifar10(str(home))) == 50
    write_tfds(home, 14)
    assert not left_over.exists()
    assert red(find_cifar10(str(home))) == 14


def test_an_archive_stays_where_a_tfrecord_set_takes_the_place(home, archive_url, monkeypatch):
    info = write_tfds(home, 14) / "dataset_info.json"
    before = info.read_text(encoding="utf-8").replace("array_record", "tfrecord")
    info.write_text(before, encoding="utf-8")
    monkeypatch.setenv("IMGREC_JAX_CIFAR10_URL", archive_url)
    assert red(find_cifar10(str(home))) == 50
    assert info.read_text(encoding="utf-8") == before
    assert (home / "cifar-10-binary.tar.gz").is_file()


def test_an_impossible_download_says_all_that_is_needed(home):
    with pytest.raises(UserError) as error:
        find_cifar10(str(home))
    message = str(error.value)
    assert "http://127.0.0.1:9/nothing, got: " in message
    assert f"{home / 'cifar10'}: " in message
    assert f"{home}: cifar-10-binary.tar.gz, cifar-10-batches-bin or " in message
    assert f"{home.parent / 'here' / 'data'}: cifar-10-binary.tar.gz, " in message
    assert "cifar-10-batches-py" in message
    for flag in (
        "--config.data.dir=DIR",
        "--config.data.source=folder:PATH",
        "--config.data.source=cifar10:PATH",
        "--config.data.source=npz:PATH",
    ):
        assert flag in message


def test_another_file_at_the_address_is_refused(home, archive_url, monkeypatch):
    monkeypatch.setenv("IMGREC_JAX_CIFAR10_URL", archive_url)
    monkeypatch.setattr(cifar10, "SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"expected sha256 0{64} from"):
        find_cifar10(str(home))


def test_a_data_folder_that_cannot_be_made(home):
    home.write_bytes(b"a file")
    with pytest.raises(UserError, match=r"What failed: .*home cannot be written"):
        find_cifar10(str(home))


def test_the_official_address_and_checksum():
    assert cifar10.URL == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert cifar10.SHA256 == "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
