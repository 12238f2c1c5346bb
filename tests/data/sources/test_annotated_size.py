"""Images have the size of their annotation, as stored if that is what it fits."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.sources import annotated_size
from imgrec_jax.data.sources.annotated_size import stretch_annotated

STORED = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)


@pytest.fixture(autouse=True)
def nothing_warned(monkeypatch):
    monkeypatch.setattr(annotated_size, "_warned", set())


def stretched(turn, size, name="set/a.png", shape=(4, 6)):
    exif = Image.Exif()
    exif[274] = turn
    buffer = io.BytesIO()
    Image.fromarray(STORED).save(buffer, "PNG", exif=exif)
    image = decode(buffer.getvalue(), name)
    return stretch_annotated(image, buffer.getvalue(), name, size, shape)


def test_annotation_of_the_pixels_as_stored_gets_them_with_one_warning(caplog):
    for name in ("set/a.png", "set/b.png", "other/a.png"):
        assert np.array_equal(stretched(6, (4, 6), name), STORED)
    assert [line.partition(" ")[0] for line in caplog.messages] == ["set/a.png", "other/a.png"]
    assert "EXIF orientation" in caplog.messages[0]


@pytest.mark.parametrize(("turn", "size"), [(6, (6, 4)), (3, (4, 6)), (1, (4, 6))])
def test_annotation_of_the_upright_image_gets_it(caplog, turn, size):
    assert stretched(turn, size, shape=size).shape == (*size, 3)
    assert caplog.messages == []


@pytest.mark.parametrize(("turn", "size"), [(1, (6, 4)), (6, (5, 6)), (3, (6, 4))])
def test_another_size_is_an_error(turn, size):
    with pytest.raises(UserError, match=f"image of {size[1]}x{size[0]} as its annotation says"):
        stretched(turn, size)
