"""The advice about a file that cannot be read fits the reason."""

import errno
import os
from pathlib import Path

import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.files.access import read_file, unreadable


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_file(path)
    return str(caught.value)


def test_a_missing_file_is_missing(tmp_path):
    gone = tmp_path / "gone.jpg"
    assert f"got {gone}: it is missing; try restoring it" in refusal(gone)
    assert "it is missing; try restoring it" in refusal(tmp_path / "folder" / "gone.jpg")


def test_a_broken_link_and_one_to_itself(tmp_path):
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    assert "it is a link to a missing file; try restoring it" in refusal(tmp_path / "broken.jpg")
    assert "try removing the link, which leads back to itself" in refusal(tmp_path / "circle.jpg")


def test_a_folder_and_a_long_name(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    assert "try moving the folder away" in refusal(tmp_path / "folder.jpg")
    assert "try a shorter name" in refusal(tmp_path / ("a" * 300))


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "changing its permissions"),
        (errno.EMFILE, "a higher limit of open files (ulimit -n)"),
        (errno.EIO, "copying it again, perhaps from another disk"),
        (errno.EBADF, "copying it again"),
    ],
)
def test_other_reasons(number, advice):
    error = unreadable(Path("a"), OSError(number, os.strerror(number), "b/c.jpg"))
    assert str(error).endswith(f"got b/c.jpg: {os.strerror(number)}; try {advice}")
