"""Every kind of source as `data inspect` and `data pack` read it: files as they are."""

import io
import tarfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from imgrec_jax.build.raw_images import open_stored
from imgrec_jax.config import get_config
from imgrec_jax.core.errors import UserError
from imgrec_jax.data.pack.pack import pack


def jpeg(row):
    """An image of a size of its own."""
    file = io.BytesIO()
    Image.new("RGB", (8 + row, 6), (40 * row, 0, 0)).save(file, "jpeg")
    return file.getvalue()


FILES = [jpeg(row) for row in range(4)]


def stored(source, **data):
    settings = {f"data__{key}": value for key, value in data.items()}
    return open_stored(get_config("base", data__source=source, **settings))


def make_folder(root):
    for row, data in enumerate(FILES):
        path = root / "ab"[row // 2] / f"{row}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return f"folder:{root}"


def make_archive(root):
    root.mkdir()
    make_folder(root / "set")
    with tarfile.open(root / "set.tar.gz", "w:gz") as tar:
        tar.add(root / "set", "set")
    return f"folder:{root / 'set.tar.gz'}"


def make_parquet(root):
    root.mkdir()
    images = [{"bytes": data, "path": None} for data in FILES]
    table = pyarrow.table({"image": images, "label": ["a", "a", "b", "b"]})
    pyarrow.parquet.write_table(table, root / "train.parquet", row_group_size=3)
    return f"parquet:{root}"


def make_pack(root):
    pack(stored(make_folder(root / "set")), root / "pack", workers=1)
    return f"array_record:{root / 'pack'}"


@pytest.mark.parametrize("make", [make_folder, make_archive, make_parquet, make_pack])
def test_files_are_read_as_they_are(tmp_path, make):
    train = stored(make(tmp_path / "data"))["train"]
    assert list(train.items) == FILES
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert train.label_names == ("a", "b")
    assert [item for item, _ in train.part(1, 3)] == FILES[1:3]
    assert [pixels.shape for _, pixels in train] == [(6, 8 + row, 3) for row in range(4)]


def test_imagenet_needs_no_size(tmp_path):
    for row, data in enumerate(FILES):
        path = tmp_path / "train" / f"n0000000{row // 2}" / f"{row}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    train = stored(f"imagenet:{tmp_path}")["train"]
    assert list(train.items) == FILES
    assert train.label_names == ("n00000000", "n00000001")


def test_arrays_are_read_as_arrays(tmp_path):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4, 1)
    np.savez(tmp_path / "set.npz", images=images, labels=[0, 1])
    train = stored(f"npz:{tmp_path / 'set.npz'}")["train"]
    assert [item.tolist() for item, _ in train.part(1, 2)] == [images[1].tolist()]
    assert train.part(1, 2).name(0).endswith("train[1]")


@pytest.mark.parametrize("make", [make_folder, make_archive])
def test_files_have_the_names_that_they_lie_under(tmp_path, make):
    train = stored(make(tmp_path / "data"))["train"].part(2, 4)
    assert train.name(1).endswith("b/3.jpg")
    assert str(tmp_path / "data") in train.name(1)


def test_what_is_not_there_is_told_as_in_training(tmp_path):
    with pytest.raises(UserError, match=r"expected a prepared TFDS set 'x'"):
        stored("tfds:x", dir=str(tmp_path))
    with pytest.raises(UserError, match=r"dataset_info.json"):
        stored(f"array_record:{tmp_path}")
