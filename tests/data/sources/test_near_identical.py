"""Images that look alike are grouped on request, and held out together."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.sources import open_source
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources import near_identical
from imgrec_jax.data.sources.near_identical import number_near_identical
from imgrec_jax.data.sources.source import ArraySource, gather


def scene(number, side=64):
    """Smooth random colours."""
    blocks = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC)


def recompressed(image):
    file = io.BytesIO()
    image.resize((48, 48)).resize((64, 64)).save(file, "JPEG", quality=60)
    return Image.open(io.BytesIO(file.getvalue()))


def test_copies_share_a_group_and_scenes_do_not():
    images = [scene(0), scene(1), recompressed(scene(0)), scene(2), recompressed(scene(2))]
    source = ArraySource(np.stack(list(map(np.asarray, images))), np.zeros(5, np.int32), ("a",))
    groups = number_near_identical(source, "here").tolist()
    assert groups[0] == groups[2]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 3


def test_chains_are_one_group_across_parcels(monkeypatch):
    monkeypatch.setattr(near_identical, "_ROWS", 2)
    monkeypatch.setattr(near_identical, "_READ", 3)
    levels = np.array([0, 100, 2, 4, 6, 8], np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (6, 8, 8, 1))
    source = ArraySource(images, np.zeros(6, np.int32), ("a",))
    assert number_near_identical(source, "here").tolist() == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("memory", [1.0, 0.0])
def test_they_are_held_out_together(tmp_path, memory):
    for label in range(2):
        for number in range(8):
            folder = tmp_path / str(label)
            folder.mkdir(exist_ok=True)
            image = scene(100 * label + number)
            image.save(folder / f"{number}.png")
            recompressed(image).save(folder / f"{number}_copy.png")
    config = get_config(
        "base",
        data__source=f"folder:{tmp_path}",
        data__holdout=0.25,
        data__group_by="near-identical",
        data__memory_gb=memory,
    )
    splits = open_source(config)
    parts = [gather(splits[s], np.arange(len(splits[s])))["image"] for s in ("train", "val")]
    assert len(parts[1]) == 8
    for image in parts[1].astype(np.float32):
        nearest = np.sort([np.abs(image - other).mean() for other in parts[1]])[1]
        assert all(np.abs(image - other).mean() > nearest for other in parts[0])


def test_too_many_and_no_images_are_refused(monkeypatch):
    monkeypatch.setattr(near_identical, "MOST", 2)
    images = np.zeros((3, 8, 8, 1), np.uint8)
    for some in (images, None):
        source = ArraySource(some, np.zeros(3, np.int32), ("a",))
        with pytest.raises(UsageError, match="expected 1 to 2 images for data"):
            number_near_identical(source, "here")
