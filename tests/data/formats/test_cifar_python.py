"""torchvision's folder, and the reader of plain pickles under it."""

import hashlib
import pickle
import struct

import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.safe_pickle import NotPlainError, load_plain
from imgrec_jax.data.formats import cifar_python
from imgrec_jax.data.formats.cifar_python import open_cifar10_python

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Stream:
    """The opcodes of a Python 2 pickle as cPickle wrote them, with memo numbers from 1."""

    def __init__(self):
        self.data = b"\x80\x02"
        self.memo = 0

    def add(self, data, remember=False):
        self.data += data
        if remember:
            self.memo += 1
            self.data += b"q" + bytes([self.memo])
        return self

    def text(self, text):
        return self.add(b"U" + bytes([len(text)]) + text, remember=True)

    def array(self, rows, cols, data, fortran=False):
        self.add(b"cnumpy.core.multiarray\n_reconstruct\n", remember=True)
        self.add(b"cnumpy\nndarray\n", remember=True)
        self.add(b"K\x00\x85", remember=True).text(b"b").add(b"\x87", remember=True)
        self.add(b"R", remember=True)
        self.add(b"(K\x01J" + struct.pack("<i", rows) + b"M" + struct.pack("<H", cols))
        self.add(b"\x86", remember=True)
        self.add(b"cnumpy\ndtype\n", remember=True).text(b"u1").add(b"K\x00K\x01\x87", True)
        self.add(b"R", remember=True).add(b"(K\x03").text(b"|")
        self.add(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t", remember=True).add(b"b")
        self.add(b"\x88" if fortran else b"\x89")
        self.add(b"T" + struct.pack("<i", len(data)) + data)
        return self.add(b"t", remember=True).add(b"b")


def batch(labels, planes):
    """A file such as data_batch_1, with as many images as there are labels."""
    stream = Stream().add(b"}", remember=True).add(b"(")
    stream.text(b"batch_label").text(b"training batch 1 of 5")
    stream.text(b"labels").add(b"]", remember=True)
    stream.add(b"(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e")
    stream.text(b"data").array(len(labels), 3072, planes)
    stream.text(b"filenames").add(b"]", remember=True).add(b"(").text(b"a.png").text(b"b.png")
    return stream.add(b"eu.").data


def planes(red, blue):
    """Two images: red at row 0, column 1 of the first, blue at row 1, column 0 of the second."""
    data = np.zeros((2, 3, 32, 32), np.uint8)
    data[0, 0, 0, 1] = red
    data[1, 2, 1, 0] = blue
    return data.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six files of two images each, with checksums to fit."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        write(folder, name, batch([i, 9 - i], planes(100 + i, 200 + i)), monkeypatch)
    return folder


def write(folder, name, data, monkeypatch):
    (folder / name).write_bytes(data)
    monkeypatch.setitem(cifar_python._MD5, name, hashlib.md5(data).hexdigest())


def test_the_six_files_become_two_splits(folder):
    splits = open_cifar10_python(folder)
    assert list(splits) == ["train", "test"]
    train, test = splits["train"], splits["test"]
    assert train.images.shape == (10, 32, 32, 3)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int32
    assert train.labels.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    assert train.label_names == NAMES
    assert train.images[0, 0, 1].tolist() == [100, 0, 0]
    assert train.images[1, 1, 0].tolist() == [0, 0, 200]
    assert train.images[8, 0, 1].tolist() == [104, 0, 0]
    assert test.images.shape == (2, 32, 32, 3)
    assert test.images[0, 0, 1].tolist() == [105, 0, 0]
    assert test.labels.tolist() == [5, 4]


def test_the_published_checksums_are_those_looked_for():
    assert cifar_python._MD5["data_batch_1"] == "c99cafc152244af753f735de768cd75f"
    assert cifar_python._MD5["test_batch"] == "40351d587109b95175f43aff81a1287e"
    assert len(set(cifar_python._MD5.values())) == 6


def test_a_file_with_another_checksum_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(cifar_python, "load_plain", None)
    (folder / "data_batch_1").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"data_batch_1: expected MD5 \w{32}, got \w{32}; try"):
        open_cifar10_python(folder)


def test_a_missing_file_is_named(folder):
    (folder / "data_batch_5").unlink()
    with pytest.raises(UserError, match="expected a file data_batch_5, got none; try"):
        open_cifar10_python(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream().add(b"K\x01.").data, "'data' of shape"),
        (batch([1], b"\0" * 3072).replace(b"data", b"dada"), "'data' of shape .*, got none"),
        (batch([1], b"\0" * 3072).replace(b"labels", b"lapels"), "a list of 1 'labels'"),
        (batch([1, 10], planes(0, 0)), "labels 0 to 9"),
        (batch([1], b"\0" * 3072).replace(b"u1", b"f4"), "a pickle of plain data"),
    ],
)
def test_a_file_with_other_contents_is_named(folder, data, message, monkeypatch):
    write(folder, "data_batch_1", data, monkeypatch)
    with pytest.raises(UserError, match=f"data_batch_1: expected {message}") as error:
        open_cifar10_python(folder)
    assert "\n" not in str(error.value)


def test_the_official_label_file_is_read():
    stream = Stream().add(b"}", remember=True).add(b"(")
    stream.text(b"num_cases_per_batch").add(b"M\x10\x27")
    stream.text(b"label_names").add(b"]", remember=True).add(b"(")
    for name in NAMES:
        stream.text(name.encode())
    data = stream.add(b"e").text(b"num_vis").add(b"M\x00\x0cu.").data
    # The checksum published for `batches.meta`: this is that file, to the byte.
    assert hashlib.md5(data).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"
    assert load_plain(data) == {
        b"num_cases_per_batch": 10000,
        b"label_names": [name.encode() for name in NAMES],
        b"num_vis": 3072,
    }


def test_arrays_in_both_orders():
    in_rows = load_plain(Stream().array(2, 3, b"\1\2\3\4\5\6").add(b".").data)
    in_columns = load_plain(Stream().array(2, 3, b"\1\2\3\4\5\6", fortran=True).add(b".").data)
    assert in_rows.dtype == np.uint8
    assert in_rows.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert in_columns.tolist() == [[1, 3, 5], [2, 4, 6]]


def test_a_remembered_value_comes_back():
    stream = Stream().add(b"]", remember=True).add(b"(").text(b"x").add(b"h\x02K\x05a" + b"e.")
    with pytest.raises(NotPlainError):  # the inner `a` appends to a string
        load_plain(stream.data)
    stream = Stream().add(b"]", remember=True).add(b"(").text(b"x").add(b"h\x02e.")
    assert load_plain(stream.data) == [b"x", b"x"]


def test_code_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    stream = Stream().add(b"cos\nsystem\n").text(f"touch {marker}".encode()).add(b"\x85R.").data
    with pytest.raises(NotPlainError, match="the name 'os system' is not allowed"):
        load_plain(stream)
    assert not marker.exists()
    assert pickle.loads(stream, encoding="utf-8") == 0  # the stream is a real one:
    assert marker.exists()  # unpickling runs it


def test_code_inside_an_array_is_refused(tmp_path):
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')".encode()
    call = b"cbuiltins\neval\nU" + bytes([len(code)]) + code + b"\x85R"
    data = Stream().array(1, 3, b"\1\2\3").add(b".").data.replace(b"T\x03\0\0\0\1\2\3", call)
    with pytest.raises(NotPlainError, match="the name 'builtins eval' is not allowed"):
        load_plain(data)
    assert not marker.exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02cnumpy\nndarray\n.",  # allowed within an array, not as a value
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nU\x01a\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.",
        b"\x80\x02cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R.",
        b"\x80\x02(ios\nsystem\n.",  # INST
        b"\x80\x02(cos\nsystem\no.",  # OBJ
        b"\x80\x02cnumpy\nndarray\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02U\x01xQ.",  # BINPERSID
        b"Px\n.",  # PERSID
        b"\x80\x02N.",
        b"\x80\x02\x88.",
        b"\x80\x02K\x01\x85.",  # a tuple
        b"\x80\x02G\0\0\0\0\0\0\0\0.",  # a float
        b"\x80\x02X\x01\0\0\0x.",  # a text
        b"\x80\x02]q\x01h\x01a" + b"\x85.",
        b"\x80\x02}(K\x01u.",  # a key without value
        b"\x80\x02}(]K\x01u.",  # a list as a key
        b"\x80\x02K\x01a.",
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02h\x01.",
        b"\x80\x02e.",
        b"\x80\x02(.",
        b"\x80\x02.",
        b"\x80\x02]",
        b"\xff",
        b"",
    ],
)
def test_what_is_not_plain_is_refused(stream):
    with pytest.raises(NotPlainError):
        load_plain(stream)


def test_a_list_that_holds_itself_ends():
    value = load_plain(b"\x80\x02]q\x01h\x01a.")
    assert value[0] is value


def test_damage_anywhere_is_refused_or_plain():
    good = Stream().add(b"]", remember=True).array(1, 3, b"\1\2\3").add(b"a.").data
    outcomes = {"plain": 0, "refused": 0}
    for position in range(len(good)):
        for value in (0, 0x28, 0x52, 0x63, 0x74, 0xFF):
            try:
                load_plain(good[:position] + bytes([value]) + good[position + 1 :])
                outcomes["plain"] += 1
            except NotPlainError:
                outcomes["refused"] += 1
    assert outcomes["refused"] > outcomes["plain"] > 0
