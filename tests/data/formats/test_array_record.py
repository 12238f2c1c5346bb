"""Folders of ArrayRecord shards with TFDS's description of them."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds_library
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.tfds import open_array_record
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import ArraySource, gather

F = tfds_library.features


def png(values, kind=np.uint8):
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 4), values, kind)).save(buffer, "PNG")
    return buffer.getvalue()


def prepare(home, values, kind=np.uint8, shape=(3, 4, 3)):
    """Write grey images of these values, labelled alternately, by TFDS itself."""

    class Shades(tfds_library.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds_library.core.Version("1.0.0")

        def _info(self):
            features = F.FeaturesDict(
                {
                    "image": F.Image(shape=shape, dtype=kind),
                    "label": F.ClassLabel(names=["even", "odd"]),
                }
            )
            return tfds_library.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ("train", "validation")}

        def _generate_examples(self, split):
            for number, value in enumerate(values if split == "train" else values[:2]):
                yield number, {"image": png(value, kind), "label": number % 2}

    tfds_library.disable_progress_bar()
    Shades(data_dir=home, file_format="array_record").download_and_prepare()
    return home / "shades" / "1.0.0"


def contents(source):
    batch = gather(source, np.arange(len(source)))
    return sorted(zip(batch["image"][:, 0, 0, 0].tolist(), batch["label"].tolist(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("tfds"), [10, 20, 30])


@pytest.mark.parametrize(("limit", "kind"), [(2 << 30, ArraySource), (0, EncodedSource)])
def test_the_folder_is_read_in_memory_and_from_the_disk(folder, monkeypatch, limit, kind):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", limit)
    for _ in range(2):
        splits = open_array_record(str(folder))
        assert list(splits) == ["train", "val"]
        assert isinstance(splits["train"], kind)
        assert contents(splits["train"]) == [(10, 0), (20, 1), (30, 0)]
        assert contents(splits["val"]) == [(10, 0), (20, 1)]
        assert splits["val"].label_names == ("even", "odd")
        assert splits["train"].image_shape == (3, 4, 3)


def test_the_form_of_images(folder, tmp_path):
    assert open_array_record(str(folder), image_size=2)["val"].image_shape == (2, 2, 3)
    assert open_array_record(str(folder), channels=1)["val"].image_shape == (3, 4, 1)
    grey = prepare(tmp_path, [256, 65535], np.uint16, (3, 4, 1))
    assert contents(open_array_record(str(grey))["train"]) == [(1, 0), (255, 1)]
    deep = open_array_record(str(grey), dtype="uint16")["train"]
    assert (deep.images.dtype, deep.image_shape) == (np.uint16, (3, 4, 1))
    assert contents(deep) == [(256, 0), (65535, 1)]


def test_other_folders(folder, tmp_path):
    with pytest.raises(UserError, match=r"with a dataset_info.json and ArrayRecord shards, got"):
        open_array_record(str(folder.parent))
    with pytest.raises(UsageError, match=r"a path after 'array_record:', got 'nowhere'"):
        open_array_record("nowhere")
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "x"}), encoding="utf-8")
    with pytest.raises(UserError, match=r"in the format array_record, got tfrecord, which needs"):
        open_array_record(str(tmp_path))
