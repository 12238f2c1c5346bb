"""What cannot be a data set of images is refused in one line that names it."""

import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files import archive
from imgrec_jax.data.formats import folder
from imgrec_jax.data.formats.folder import open_folder


def image(size=(4, 3), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(buffer, kind)
    return buffer.getvalue()


PNG = image()
TWO = {"a/1.png": PNG, "b/1.png": PNG}


def write(root, files):
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def write_tar(path, files, mode="w", **header):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        if header:
            member = tarfile.TarInfo()
            for key, value in header.items():
                setattr(member, key, value)
            tar.addfile(member)
    return path


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def refusal(path, kind=UserError, **options):
    with pytest.raises(UserError) as caught:
        open_folder(str(path), **options)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    assert "; try " in message or "; did you mean " in message
    return message


@pytest.mark.parametrize(
    ("files", "excerpt"),
    [
        ({}, "no image and 0 other files"),
        ({"a/notes.txt": b"", "a/.x.png": PNG, "b/Thumbs.db": b""}, "no image and 3 other files"),
        ({"1.png": PNG, "2.png": PNG}, "class folders of images in {root}, got the image '1"),
        (TWO | {"3.png": PNG}, "got the image '3.png' in none"),
        ({"train/1.png": PNG}, "got the image 'train/1.png' in none"),
        (TWO | {"train/a/1.png": PNG}, "got 'train' beside 'a'; try moving all class folders"),
        (
            {f"{split}/{c}/1.png": PNG for split in ("train", "val", "Valid") for c in "ab"},
            "one folder per split in {root}, got Valid, train, val",
        ),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, files, excerpt):
    root = write(tmp_path / "set", files)
    assert excerpt.format(root=root) in refusal(root)
    if files:
        path = write_tar(tmp_path / "set.tar", files)
        assert excerpt.format(root=path) in refusal(path)


def test_path_that_does_not_exist(tmp_path):
    write(tmp_path / "flowers", TWO)
    message = refusal(tmp_path / "flower", UsageError)
    assert f"got '{tmp_path / 'flower'}', which does not exist; did you mean 'flowers'?" in message
    assert "--config.data.source=folder:PATH" in message
    assert "which does not exist; try" in refusal(tmp_path / "no" / "where" / "x", UsageError)
    assert "got ''" in refusal("", UsageError)
    assert "which does not exist" in refusal("~no_such_user/x", UsageError)


def test_file_that_is_no_archive(tmp_path):
    (tmp_path / "set.rar").write_bytes(b"Rar!")
    assert "set.rar, which is neither" in refusal(tmp_path / "set.rar")
    for name in ("set.tar", "set.tar.xz", "set.tgz", "set.zip"):
        (tmp_path / name).write_bytes(b"this is a text\n" * 100)
        assert f"archive, got {tmp_path / name}: " in refusal(tmp_path / name)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated_image_is_named(tmp_path, kind):
    files = {"a/1.png": PNG, "b/broken.png": image((200, 150), kind)[:-40]}
    root = write(tmp_path / "set", files)
    assert f"got {root}/b/broken.png: " in refusal(root)
    tar = write_tar(tmp_path / "set.tar.xz", files, "w:xz")
    assert f"got {tar}: b/broken.png: " in refusal(tar)


def test_empty_and_foreign_image_files_are_named(tmp_path):
    for number, data in enumerate((b"", b"<!doctype html>")):
        root = write(tmp_path / str(number), {"a/1.png": PNG, "b/2.jpg": data})
        assert f"got {root}/b/2.jpg ({len(data)} bytes)" in refusal(root)


def test_several_sizes_are_told_with_the_way_out(tmp_path):
    root = write(tmp_path / "set", {"a/1.png": PNG, "b/2.png": image((6, 5))})
    message = refusal(root, UsageError)
    assert f"got 4x3 in {root}/a/1.png and 6x5 in {root}/b/2.png; " in message
    assert "try --config.data.image_size=3" in message
    assert len(open_folder(str(root), image_size=3)["train"]) == 2


def test_impossible_image_size(tmp_path):
    assert "got -3" in refusal(write(tmp_path / "set", TWO), UsageError, image_size=-3)


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png", "a/..", "\\\\h\\x"]
)
def test_names_that_lead_out_of_an_archive(tmp_path, name):
    for path in (
        write_tar(tmp_path / "set.tar", TWO | {name: PNG}),
        write_zip(tmp_path / "set.zip", TWO | {name: PNG}),
    ):
        message = refusal(path)
        assert f"in {path}, which points outside of it" in message
        assert repr(name.replace("\\", "/"))[1:-1] in message
    assert sorted(os.listdir(tmp_path)) == ["set.tar", "set.zip"]


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "a/1.png"), (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""), (tarfile.DIRTYPE, ""),
    ],
)  # fmt: skip
def test_links_and_devices_in_a_tar_are_skipped_and_named(tmp_path, caplog, kind, target):
    path = write_tar(tmp_path / "set.tar", TWO, name="a/2.png", type=kind, linkname=target)
    assert len(open_folder(str(path))["train"]) == 2
    named = [f"{path}: a/2.png skipped" in line for line in caplog.messages]
    assert named == ([] if kind == tarfile.DIRTYPE else [True])


def test_links_in_a_zip_are_skipped_and_named(tmp_path, caplog):
    path = write_zip(tmp_path / "set.zip", TWO)
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("a/2.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    assert len(open_folder(str(path))["train"]) == 2
    assert f"{path}: a/2.png skipped: no regular file" in caplog.text


def test_member_that_claims_more_than_a_gigabyte(tmp_path, monkeypatch):
    path = tmp_path / "set.tar"
    header = tarfile.TarInfo("a/1.png")
    header.size = (1 << 30) + 1
    path.write_bytes(header.tobuf() + bytes(10240))
    assert "at most 1,073,741,824 bytes, got 'a/1.png' in" in refusal(path)
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", len(PNG) - 1)
    assert f"got 'a/1.png' in {tmp_path}/set.zip, which claims {len(PNG)}" in refusal(
        write_zip(tmp_path / "set.zip", TWO)
    )


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.xz", "zip"])
def test_truncated_archives_are_noticed_wherever_they_end(tmp_path, suffix):
    path = tmp_path / f"set.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    files = {f"{c}/{i}.png": buffer.getvalue() for c in "ab" for i in range(4)}
    if suffix == "zip":
        write_zip(path, files)
    else:
        write_tar(path, files, {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[suffix])
    whole = path.read_bytes()
    end = 8 * 1024 if suffix == "tar" else len(whole)  # 8 members of two blocks, then zeros
    cuts = sorted({*range(100, end, 100), *range(512, end, 512), end - 1})
    for cut in cuts:
        path.write_bytes(whole[:cut])
        assert (
            f"expected an intact .tar or .tar.xz or .tar.gz or .tgz or .zip archive, got {path}"
            in (refusal(path))
        )
    path.write_bytes(whole)
    assert len(open_folder(str(path))["train"]) == 8


def test_damaged_header_inside_a_tar_does_not_end_it_quietly(tmp_path):
    path = write_tar(tmp_path / "set.tar", TWO | {"c/1.png": PNG})
    data = bytearray(path.read_bytes())
    data[2 * 1024 + 5] ^= 1  # in the name of the third member, which its checksum covers
    path.write_bytes(data)
    assert f"got {path}: its end is missing" in refusal(path)


def test_damaged_member_of_a_zip(tmp_path):
    path = write_zip(tmp_path / "set.zip", TWO)
    data = path.read_bytes()
    at = data.index(PNG)
    path.write_bytes(data[: at + 20] + b"????" + data[at + 24 :])
    assert f"got {path}: a/1.png: its checksum is another" in refusal(path)
    path = write_zip(path, {"a/0.png": PNG} | TWO)  # the first one is whole, so all are decoded
    data = path.read_bytes()
    at = data.index(PNG, data.index(PNG) + 1)
    path.write_bytes(data[: at + 20] + b"????" + data[at + 24 :])
    assert "Bad CRC-32" in refusal(path)


def test_zip_with_a_password(tmp_path):
    path = write_zip(tmp_path / "set.zip", TWO)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            struct.pack_into("<H", data, at + offset, 1)
            at = data.find(mark, at + 1)
    path.write_bytes(data)
    assert "password required" in refusal(path)


def test_two_archives_for_one_split(tmp_path):
    root = write(tmp_path / "set", {})
    write_tar(root / "train.tar", TWO)
    write_zip(root / "Train.zip", TWO)
    assert "one archive per split in" in refusal(root)


def test_archive_and_folder_for_different_splits(tmp_path):
    root = write(tmp_path / "set", {f"train/{name}": data for name, data in TWO.items()})
    write_tar(root / "test.tar", TWO)
    assert "the folder of 'train' and test.tar; try unpacking" in refusal(root)


def test_archive_that_holds_another_split_than_its_name_says(tmp_path):
    root = write(tmp_path / "set", {})
    write_tar(root / "train.tar", TWO)
    write_tar(root / "test.tar", {f"val/{name}": data for name, data in TWO.items()})
    assert "expected test images in the test archive of" in refusal(root)


def test_unreadable_folder_and_file_are_named(tmp_path, monkeypatch):
    root = write(tmp_path / "set", TWO)
    (root / "b" / "1.png").unlink()
    (root / "b" / "1.png").symlink_to(root / "nowhere.png")
    assert f"got {root}/b/1.png: it is a link to a missing file" in refusal(root)

    def deny(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folder, "_find_roots", deny)
    assert f"got {root}: Permission denied; try changing its permissions" in refusal(root)


def test_subfolder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    root = write(tmp_path / "set", TWO | {"c/1.png": PNG})
    scandir = os.scandir

    def deny(path):
        if str(path).endswith("/c"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert f"got {root}/c: Permission denied" in refusal(root)
