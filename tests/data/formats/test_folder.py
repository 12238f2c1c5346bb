"""Folders and archives of images become the same data set, whatever they are packed in."""

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats import folder
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import ArraySource, gather


def png(value, size=(4, 3)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


# The value of each image is its row in the finished split (in test: 100 more).
IMAGES = {
    "train/cat/10.png": png(0),
    "train/cat/9.png": png(1),
    "train/dog/a/b.png": png(3),
    "train/dog/c.PNG": png(2),
    "train/emu/x.png": png(4),
    "Test/cat/y.png": png(100),
    "Test/emu/z.png": png(101),
}
CLUTTER = {
    "train/cat/._9.png": b"finder",
    "train/cat/.DS_Store": b"finder",
    "train/cat/Thumbs.db": b"windows",
    "train/dog/desktop.ini": b"windows",
    "train/README.txt": b"about",
    "__MACOSX/train/cat/._9.png": b"finder",
    ".git/objects/pack.png": b"git",
}


def write(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def part(split, strip=False):
    return {
        name.partition("/")[2] if strip else name: data
        for name, data in IMAGES.items()
        if name.startswith(split)
    }


def packed_folder(tmp):
    return write(tmp / "set", IMAGES | CLUTTER)


def packed_zip(tmp):
    return write_zip(tmp / "set.zip", IMAGES | CLUTTER)


def packed_tar_backwards(tmp):
    files = dict(reversed((IMAGES | CLUTTER).items()))
    return write_tar(tmp / "set.tar", {f"./{name}": data for name, data in files.items()})


def packed_tar_xz_wrapped(tmp):
    return write_tar(tmp / "s.tar.xz", {f"animals/{k}": v for k, v in IMAGES.items()}, "w:xz")


def packed_tgz(tmp):
    return write_tar(tmp / "set.TGZ", IMAGES | CLUTTER, "w:gz")


def packed_by_split(tmp):
    (tmp / "set").mkdir()
    write_tar(tmp / "set" / "train.tar.xz", part("train"), "w:xz")
    write_zip(tmp / "set" / "TEST.zip", part("Test", strip=True))
    (tmp / "set" / "README.md").write_bytes(b"about")
    (tmp / "set" / "._train.tar").write_bytes(b"finder")
    return tmp / "set"


def packed_by_split_and_wrapped(tmp):
    (tmp / "set").mkdir()
    train = {f"animals/{name}": data for name, data in part("train").items()}
    write_tar(tmp / "set" / "train.tar.gz", train, "w:gz")
    write_tar(tmp / "set" / "test.tar", part("Test"))
    return tmp / "set"


def packed_by_split_and_unpacked(tmp):
    write_tar(write(tmp / "set", IMAGES) / "train.tar", part("train"))
    return tmp / "set"


@pytest.mark.parametrize(
    "pack",
    [
        packed_folder, packed_zip, packed_tar_backwards, packed_tar_xz_wrapped, packed_tgz,
        packed_by_split, packed_by_split_and_wrapped, packed_by_split_and_unpacked,
    ],
    ids=lambda pack: pack.__name__,
)  # fmt: skip
def test_every_form_gives_the_same_data_set(tmp_path, pack):
    splits = open_folder(str(pack(tmp_path)))
    assert list(splits) == ["train", "test"]
    assert splits["train"].label_names == splits["test"].label_names == ("cat", "dog", "emu")
    assert splits["train"].image_shape == (3, 4, 3)
    assert splits["train"].labels.tolist() == [0, 0, 1, 1, 2]
    assert splits["test"].labels.tolist() == [0, 2]
    assert splits["train"].labels.dtype == np.int32
    values = {
        split: gather(source, np.arange(len(source)))["image"] for split, source in splits.items()
    }
    assert values["train"].dtype == np.uint8
    assert values["train"].max((1, 2, 3)).tolist() == [0, 1, 2, 3, 4]
    assert values["train"].min((1, 2, 3)).tolist() == [0, 1, 2, 3, 4]
    assert values["test"].max((1, 2, 3)).tolist() == [100, 101]


def test_archives_of_several_splits_may_use_the_same_names(tmp_path):
    for split, value in (("train", 1), ("test", 101)):
        files = {f"{c}/1.png": png(value + i) for i, c in enumerate("ab")}
        write_tar(tmp_path / f"{split}.tar", files)
    splits = open_folder(str(tmp_path))
    assert [int(splits["train"][row]["image"].max()) for row in (0, 1)] == [1, 2]
    assert [int(splits["test"][row]["image"].max()) for row in (0, 1)] == [101, 102]


def test_without_split_folders_all_is_train(tmp_path):
    splits = open_folder(str(write(tmp_path / "s", {"b/1.png": png(1), "a/1.png": png(2)})))
    assert list(splits) == ["train"]
    assert splits["train"].label_names == ("a", "b")
    assert splits["train"][0]["image"][0, 0, 0] == 2


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "VAL"])
def test_validation_folder_has_many_names(tmp_path, name):
    files = {f"{split}/{c}/1.png": png(1) for split in ("train", name) for c in "ab"}
    assert list(open_folder(str(write(tmp_path / "s", files)))) == ["train", "val"]


def test_numeric_classes_are_in_numeric_order(tmp_path):
    files = {f"{name}/1.png": png(int(name)) for name in ("0", "1", "2", "10", "007")}
    source = open_folder(str(write(tmp_path / "s", files)))["train"]
    assert source.label_names == ("0", "1", "2", "007", "10")
    assert [int(source[row]["image"][0, 0, 0]) for row in range(5)] == [0, 1, 2, 7, 10]


def test_one_name_in_letters_makes_the_order_alphabetic(tmp_path):
    files = {f"{name}/1.png": png(1) for name in ("2", "10", "x")}
    assert open_folder(str(write(tmp_path / "s", files)))["train"].label_names == ("10", "2", "x")


def test_chinese_class_names_in_a_folder_and_in_a_tar(tmp_path):
    files = {"猫/一.png": png(1), "狗/二.png": png(2)}
    for path in (write(tmp_path / "动物", files), write_tar(tmp_path / "动物.tar", files)):
        source = open_folder(str(path))["train"]
        assert source.label_names == ("狗", "猫")
        assert source[1]["image"][0, 0, 0] == 1


def zip_with_raw_names(path, names):
    """A zip as Windows writes it: names in the local encoding, nothing said about which."""
    stand_ins = {chr(ord("A") + i) * len(raw): raw for i, raw in enumerate(names)}
    write_zip(path, {stand_in: png(i + 1) for i, stand_in in enumerate(stand_ins)})
    data = path.read_bytes()
    for stand_in, raw in stand_ins.items():
        assert data.count(stand_in.encode()) == 2
        data = data.replace(stand_in.encode(), raw)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("encoding", "classes"),
    [("gbk", ("狗", "猫")), ("utf-8", ("汽车", "飞机")), ("cp437", ("Bär", "Löwe"))],
)
def test_zip_names_without_a_stated_encoding(tmp_path, encoding, classes):
    names = [f"{name}/{i}.png".encode(encoding) for i, name in enumerate(classes)]
    source = open_folder(str(zip_with_raw_names(tmp_path / "s.zip", names)))["train"]
    assert source.label_names == classes
    assert source[1]["image"][0, 0, 0] == 2


def test_gbk_names_in_a_folder_and_in_a_tar_can_be_printed(tmp_path):
    raw = [name.encode("gbk").decode("utf-8", "surrogateescape") for name in ("猫", "狗")]
    files = {f"{name}/1.png": png(value) for value, name in enumerate(raw)}
    tar = tmp_path / "s.tar"
    with tarfile.open(tar, "w", encoding="utf-8", errors="surrogateescape") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for path in (write(tmp_path / "s", files), tar):
        source = open_folder(str(path))["train"]
        assert source.label_names == ("狗", "猫")
        assert source[1]["image"][0, 0, 0] == 0


def test_latin_1_names_are_no_chinese(tmp_path):
    names = [name.encode("latin-1").decode("utf-8", "surrogateescape") for name in ("Bär", "Größe")]
    root = write(tmp_path / "s", {f"{name}/1.png": png(1) for name in (*names, "猫")})
    assert open_folder(str(root))["train"].label_names == ("Bär", "Größe", "猫")


def test_accents_written_by_a_mac_and_by_linux_are_one_class(tmp_path):
    files = {
        "train/cafe\u0301/1.png": png(1),
        "train/bar/1.png": png(1),
        "test/caf\u00e9/1.png": png(1),
    }
    assert open_folder(str(write_tar(tmp_path / "s.tar", files)))["test"].labels.tolist() == [1]


def test_works_where_the_locale_knows_only_ascii(tmp_path):
    write(tmp_path / "s", {"猫/一.png": png(1), "狗/二.png": png(2)})
    code = (
        "from imgrec_jax.data.formats.folder import open_folder\n"
        "for _ in range(2): print(ascii(open_folder('s')['train'].label_names))"
    )
    environment = {
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
        "IMGREC_JAX_CACHE": "cache", "PYTHONPATH": str(Path(folder.__file__).parents[3]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("('\\u72d7', '\\u732b')\n" * 2, "")


def test_class_may_be_missing_in_test(tmp_path):
    files = {"train/a/1.png": png(1), "train/b/1.png": png(1), "test/b/1.png": png(9)}
    test = open_folder(str(write(tmp_path / "s", files)))["test"]
    assert test.labels.tolist() == [1]
    assert test.label_names == ("a", "b")


def test_home_directory_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "s", IMAGES)
    assert len(open_folder("~/s")["train"]) == 5


def test_links_are_followed_in_a_folder_but_not_in_circles(tmp_path):
    write(tmp_path / "elsewhere", {"1.png": png(1), "2.png": png(2)})
    root = write(tmp_path / "s", {"a/1.png": png(3)})
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "again").symlink_to(root)
    assert open_folder(str(root))["train"].labels.tolist() == [0, 1, 1]


def test_image_size_makes_images_of_several_sizes_one_square(tmp_path):
    files = {"a/1.png": png(7, (30, 20)), "b/1.png": png(8, (5, 90))}
    source = open_folder(str(write(tmp_path / "s", files)), image_size=10)["train"]
    assert source.image_shape == (10, 10, 3)
    assert gather(source, np.arange(2))["image"].mean((1, 2, 3)).tolist() == [7, 8]


@pytest.mark.parametrize("pack", [packed_folder, packed_zip, packed_by_split])
def test_second_opening_decodes_nothing_anew(tmp_path, monkeypatch, pack):
    path = str(pack(tmp_path))
    first = open_folder(path)
    monkeypatch.setattr(folder, "_decode_all", lambda *_: pytest.fail("decoded again"))
    second = open_folder(path)
    for split, rows in (("train", [0, 1, 2, 3, 4]), ("test", [100, 101])):
        assert isinstance(second[split], ArraySource)
        assert gather(second[split], np.arange(len(rows)))["image"].max((1, 2, 3)).tolist() == rows
        assert second[split].labels.tolist() == first[split].labels.tolist()
        assert second[split].label_names == ("cat", "dog", "emu")


def test_changed_images_and_options_are_decoded_anew(tmp_path):
    root = write(tmp_path / "s", {"a/1.png": png(1), "b/1.png": png(2)})
    assert open_folder(str(root))["train"][0]["image"].max() == 1
    assert open_folder(str(root), image_size=2)["train"].image_shape == (2, 2, 3)
    write(root, {"a/1.png": png(5)})
    assert open_folder(str(root))["train"][0]["image"].max() == 5
    write(root, {"a/0.png": png(6)})
    assert open_folder(str(root))["train"].labels.tolist() == [0, 0, 1]


def test_large_folder_is_decoded_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr(
        memory_limit, "MAX_DECODED_BYTES", 3 * 4 * 3 * 7 - 1
    )  # a byte less than 7 need
    splits = open_folder(str(write(tmp_path / "s", IMAGES | CLUTTER)))
    train = splits["train"]
    assert isinstance(train, EncodedSource)
    assert list(splits) == ["train", "test"]
    assert len(train) == 5
    assert train.image_shape == (3, 4, 3)
    assert train.labels.tolist() == [0, 0, 1, 1, 2]
    batch = gather(train, np.array([4, 0, 3, 3]))
    assert batch["image"].max((1, 2, 3)).tolist() == [4, 0, 3, 3]
    assert batch["label"].tolist() == [2, 0, 1, 1]
    assert splits["test"][1]["image"].max() == 101
    assert not (tmp_path / "imgrec_jax_cache").exists()


def test_folder_of_exactly_the_limit_is_kept_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 3 * 4 * 3 * 7)
    splits = open_folder(str(write(tmp_path / "s", IMAGES)))
    assert isinstance(splits["train"], ArraySource)


def test_large_folder_tells_of_another_size_when_it_meets_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 0)
    root = write(tmp_path / "s", {"a/1.png": png(1), "b/1.png": png(1, (7, 5))})
    source = open_folder(str(root))["train"]
    with pytest.raises(UsageError, match=r"4x3 in the first image and 7x5 in .*b/1\.png"):
        gather(source, np.array([0, 1]))


def packed_by_split_and_not_compressed(tmp):
    (tmp / "set").mkdir()
    write_tar(tmp / "set" / "train.tar", part("train"))
    write_zip(tmp / "set" / "test.zip", part("Test", strip=True))
    return tmp / "set"


@pytest.mark.parametrize(
    "pack", [packed_zip, packed_tar_backwards, packed_by_split_and_not_compressed]
)
def test_large_archive_is_decoded_on_demand(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 100)
    splits = open_folder(str(pack(tmp_path)))
    train = splits["train"]
    assert isinstance(train, EncodedSource)
    assert train.labels.tolist() == [0, 0, 1, 1, 2]
    assert gather(train, np.array([4, 0, 3, 3]))["image"].max((1, 2, 3)).tolist() == [4, 0, 3, 3]
    assert splits["test"][1]["image"].max() == 101


def test_large_compressed_tar_has_to_be_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 100)
    with pytest.raises(UserError, match=r"more than 100 bytes\), got .*\.TGZ; try unpacking"):
        open_folder(str(packed_tgz(tmp_path)))


def test_many_parcels_keep_names_and_images_together(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_PARCEL_BYTES", 200)
    files = {f"{c}/{i:03d}.png": png(i + 100 * (c == "b")) for c in "ab" for i in range(60)}
    source = open_folder(str(write_tar(tmp_path / "s.tar", dict(reversed(files.items())))))["train"]
    expected = [*range(60), *range(100, 160)]
    assert gather(source, np.arange(120))["image"].max((1, 2, 3)).tolist() == expected


@pytest.mark.shared_data
@pytest.mark.slow
def test_real_cifar10(shared_data):
    splits = open_folder(str(shared_data / "cifar10_jpeg"))
    assert np.bincount(splits["train"].labels).tolist() == [5000] * 10
    assert np.bincount(splits["test"].labels).tolist() == [1000] * 10
    assert splits["train"].image_shape == (32, 32, 3)
    assert splits["train"].label_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    images = gather(splits["train"], np.arange(0, 50_000, 50))["image"]
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, [0.4913, 0.4821, 0.4465], atol=0.01)
