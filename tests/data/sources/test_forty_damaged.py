"""Forty broken images of every kind: each is refused in one line that names it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.source import gather

_ROWS, _COLUMNS = np.mgrid[:24, :32]
_RAMP = np.stack([_ROWS * 9, _COLUMNS * 7, 100 + _ROWS + _COLUMNS], axis=-1)
IMAGE = Image.fromarray(
    (_RAMP + np.random.default_rng(0).integers(0, 8, _RAMP.shape)).astype(np.uint8)
)


def encoded(kind, image=IMAGE, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


WHOLE = {
    "jpg": encoded("JPEG"),
    "png": encoded("PNG"),
    "gif": encoded("GIF"),
    "bmp": encoded("BMP"),
    "tif": encoded("TIFF"),
    "webp": encoded("WEBP"),
    "ppm": encoded("PPM"),
}


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width, height, depth, color, data):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def changed(data, at, new):
    return data[:at] + new + data[at + len(new) :]


def broken():
    """Yield (name, data): cut short, overwritten, mislabelled, absurd."""
    for kind, data in WHOLE.items():
        for part in (0, 4, 40, len(data) // 2):
            yield f"{kind} cut at {part}.{kind}", data[:part]
    yield "jpg without its end.jpg", WHOLE["jpg"][:-2]
    yield "png without its end.png", WHOLE["png"][:-12]
    yield "png of another checksum.png", changed(WHOLE["png"], 29, b"\0\0\0\0")
    yield "png of damaged data.png", changed(WHOLE["png"], 60, bytes(40))
    yield "png of no pixels.png", png_of(0, 5, 8, 2, b"")
    yield "png of a billion pixels.png", png_of(2**15, 2**15, 8, 2, b"")
    yield "png of too few lines.png", png_of(8, 8, 8, 2, bytes(25 * 3))
    yield "bmp of a huge size.bmp", changed(WHOLE["bmp"], 18, struct.pack("<ii", 2**30, 2**30))
    yield "tif of floats.tif", encoded("TIFF", Image.new("F", (4, 4), 0.5))
    yield "a page.jpg", b"<!doctype html><title>404</title>"
    yield "zeros.png", bytes(4096)
    yield "a link of git-lfs.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    yield "a film.png", b"\0\0\0\x20ftypisom" + bytes(64)
    yield "an iphone's.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    yield "中文.jpg", b"not an image"


BROKEN = dict(broken())


def test_there_are_forty():
    assert len(BROKEN) >= 40
    assert len({data for data in BROKEN.values() if data}) >= 34


@pytest.mark.parametrize("limit", [2 << 30, 0], ids=["in memory", "on demand"])
@pytest.mark.parametrize("name", BROKEN)
def test_it_is_refused_in_one_line_that_names_it(tmp_path, monkeypatch, name, limit):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", limit)
    files = {"a/1.png": WHOLE["png"], f"b/{name}": BROKEN[name]}
    for file, data in files.items():
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes(data)
    with pytest.raises(UserError) as caught:
        gather(open_folder(str(tmp_path))["train"], np.arange(2))
    message = str(caught.value)
    assert message.startswith("expected ")
    assert f"{tmp_path}/b/{name}" in message
    assert "; try " in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", WHOLE)
def test_the_same_images_unbroken_are_read(tmp_path, kind):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"1.{kind}").write_bytes(WHOLE[kind])
    images = gather(open_folder(str(tmp_path))["train"], np.arange(2))["image"].astype(int)
    assert images.shape == (2, 24, 32, 3)
    difference = np.abs(images[0] - np.asarray(IMAGE, int)).mean()
    assert difference < {"jpg": 6, "webp": 6, "gif": 6}.get(kind, 0.001)
