"""Folders are walked through links, without circles and without what is no regular file."""

import os
import socket

import pytest

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files import folder_tree
from imgrec_jax.data.files.access import existing_path, list_files, read_file
from imgrec_jax.data.layout.listing import list_images

FILES = ["cat/1.png", "cat/a/2.png", "dog/1.png"]


@pytest.fixture
def root(tmp_path):
    for name in FILES:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "set"


def listed(root):
    """Return the files of a folder, which both ways of listing agree on."""
    names = sorted(list_files(root))
    assert names == sorted(list_images(root).names)
    return names


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        here = os.open(path.parent, os.O_RDONLY)  # the paths of sockets are short
        try:
            end.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        make_socket,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: (os.mkfifo(path.with_name(".fifo")), path.symlink_to(".fifo")),
        lambda path: path.symlink_to(path.name),
        lambda path: (path.symlink_to("b.png"), path.with_name("b.png").symlink_to(path.name)),
    ],
    ids=["fifo", "socket", "link to a device", "link to a fifo", "link to itself", "two links"],
)
def test_what_is_no_regular_file_is_skipped_and_named(root, caplog, make):
    make(root / "cat" / "a.png")
    assert listed(root) == FILES
    (warning,) = caplog.messages
    assert warning.startswith(f"{root}: cat/a.png")
    assert "skipped: no regular file" in warning


def test_link_to_nothing_is_listed_so_that_reading_it_names_it(root):
    (root / "cat/9.png").symlink_to("nowhere")
    assert "cat/9.png" in listed(root)
    with pytest.raises(UserError, match=r"got .*9\.png: it is a link to a missing file"):
        read_file(root / "cat/9.png")


@pytest.mark.parametrize(
    "links",
    [
        {"cat/up": ".."},
        {"cat/self": "."},
        {"cat/above": "../.."},
        {"cat/a/to_dog": "../../dog", "dog/to_cat": "../cat"},
        {"cat/to_dog": "../dog", "dog/out": "../../other", "../other/back": "../set/cat"},
    ],
    ids=["to the parent", "to itself", "out of the set", "two", "three, one of them outside"],
)
def test_links_in_a_circle_are_skipped_and_named(root, caplog, links):
    (root.parent / "other").mkdir()
    for name, target in links.items():
        (root / name).symlink_to(target)
    names = listed(root)
    assert [name for name in names if "other" not in name and "out/" not in name] == FILES
    assert len(names) == 3
    (warning,) = caplog.messages
    assert warning.startswith(f"{root}: {', '.join(n for n in links if n[0] != '.')}")


def test_links_without_a_circle_are_followed(root, caplog):
    (root / "emu").symlink_to("dog")
    (root / "test").symlink_to("cat")
    (root / "one.png").symlink_to("dog/1.png")
    assert listed(root) == sorted([*FILES, "emu/1.png", "one.png", "test/1.png", "test/a/2.png"])
    assert caplog.messages == []


def test_a_folder_behind_many_links_is_read_once(root, monkeypatch):
    for number in range(20):
        (root / f"n{number}").symlink_to("dog")
    read, plain = [], folder_tree.read_folder
    monkeypatch.setattr(
        folder_tree, "read_folder", lambda path: (read.append(path), plain(path))[1]
    )
    assert len(list_files(root)) == 23
    assert len(read) == 4


def test_only_three_of_many_are_named(root, caplog):
    for number in range(5):
        os.mkfifo(root / f"{number}.png")
    list_files(root)
    assert "0.png, 1.png, 2.png and 2 more skipped" in caplog.text


def test_reading_what_is_no_regular_file_is_an_error_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    for path in (tmp_path / "x.jpg", "/dev/zero"):
        with pytest.raises(UserError, match=f"expected a regular file, got {path}"):
            read_file(path)


def test_a_data_set_is_a_folder_or_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(UsageError, match=r"a regular file after 'npz:', got '.*x\.npz'"):
        existing_path(str(tmp_path / "x.npz"), "npz")
