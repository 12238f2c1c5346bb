"""Damage in the body of a JPEG is noticed, and nothing else is taken for damage."""

import io

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images import decoder_messages, jpeg
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.resize import Area
from imgrec_jax.data.inspect.inspection import inspect
from imgrec_jax.data.raw.open import source_images
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import gather

RNG = np.random.default_rng(0)
RAMP = np.linspace(0, 180, 96)[:, None, None] + RNG.integers(0, 60, (96, 128, 3))
IMAGE = Image.fromarray(RAMP.astype(np.uint8))


def encoded(image=IMAGE, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"quality": 90, **options})
    return buffer.getvalue()


def exif():
    """Return EXIF data that turns the image and holds a thumbnail with an end mark of its own."""
    block = Image.Exif()
    block[274] = 6
    block[37500] = encoded(IMAGE.resize((16, 12)))
    return block.tobytes()


WHOLE = {
    "plain": encoded(),
    "progressive": encoded(progressive=True),
    "full chroma": encoded(subsampling=0),
    "optimized": encoded(optimize=True),
    "restart markers": encoded(restart_marker_blocks=4),
    "grey": encoded(IMAGE.convert("L")),
    "cmyk": encoded(IMAGE.convert("CMYK")),
    "turned": encoded(exif=exif()),
    "flat": encoded(Image.new("L", (128, 96), 80), optimize=True),
}
RESTARTS = WHOLE["restart markers"]


def hole(data, n):
    return data[: n // 3] + bytes(n // 3) + data[2 * n // 3 :]


def cut(data, n):
    return data[: n // 2] + data[n // 2 + n // 8 :]


def noise(data, n):
    part = np.random.default_rng(1).integers(0, 255, n // 8, np.uint8).tobytes()
    return data[: n // 2] + part + data[n // 2 + n // 8 :]


def early_end(data, n):
    return data[: n // 2] + b"\xff\xd9"


DAMAGES = [hole, cut, noise, early_end]
LOOKS = [
    {},
    {"image_size": 20},
    {"channels": 1, "dtype": "uint16"},
    {"image_size": 16, "crop": lambda h, w: Area(0, 0, 20, 20)},
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", [kind for kind in WHOLE if kind != "flat"])
@pytest.mark.parametrize("look", range(len(LOOKS)))
def test_damage_is_an_error_that_names_the_file(capfd, kind, damage, look):
    data = WHOLE[kind]
    with pytest.raises(UserError, match=r"an intact image, got cat/7\.jpg: ") as caught:
        decode(damage(data, len(data)), "cat/7.jpg", **LOOKS[look])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data,
        lambda data: data + b"notes of a camera",
        lambda data: data + bytes(5000),
        lambda data: data + WHOLE["grey"],
        lambda data: data[:-2] + b"\xff" * 40 + data[-2:],
        lambda data: data[:-2] + bytes(30) + data[-2:],
    ],
    ids=["as it is", "notes behind", "zeros behind", "image behind", "fill bytes", "padding"],
)
@pytest.mark.parametrize("kind", WHOLE)
def test_intact_files_are_no_damage(capfd, kind, change):
    data = WHOLE[kind]
    expected = decode(data, "x")
    for look in LOOKS[:3]:
        decode(change(data), "x", **look)
    assert np.array_equal(decode(change(data), "x"), expected)
    assert capfd.readouterr() == ("", "")


def test_several_images_in_one_file_are_no_damage():
    data = encoded(IMAGE, "MPO", save_all=True, append_images=[IMAGE])
    assert np.array_equal(decode(data, "x"), decode(encoded(), "x"))
    with pytest.raises(UserError, match="intact image"):
        decode(hole(data, len(data) // 2), "x")


def test_header_warnings_are_no_damage():
    at = WHOLE["plain"].index(b"JFIF\0") + 5
    other_version = WHOLE["plain"][:at] + b"\x07" + WHOLE["plain"][at + 1 :]
    assert decode(other_version, "x").shape == (96, 128, 3)
    assert jpeg.damage(["Warning: unknown JFIF revision number 7.01\n"], b"", 0) == ""


def test_much_padding_is_a_hole():
    data = WHOLE["plain"]
    with pytest.raises(UserError, match="extraneous bytes before marker"):
        decode(data[:-2] + bytes(500) + data[-2:], "x")


def test_a_checked_file_is_not_read_below_a_crop():
    data = WHOLE["plain"]
    look = {"image_size": 20, "crop": lambda h, w: Area(0, 0, 20, 20)}
    below = data[:-200] + bytes(100) + data[-100:]
    with pytest.raises(UserError, match="intact image"):
        decode(below, "x", **look)
    found = decode(below, "x", **look, checked=True)
    assert np.array_equal(found, decode(data, "x")[:20, :20])


def write(root):
    for split in ("train", "test"):
        for label in "ab":
            (root / split / label).mkdir(parents=True)
            for row in range(3):
                (root / split / label / f"{row}.jpg").write_bytes(WHOLE["plain"])
    for split in ("train", "test"):
        (root / split / "b/hole.jpg").write_bytes(hole(WHOLE["plain"], len(WHOLE["plain"])))
    return root


@pytest.mark.parametrize("limit", [2 << 30, 0], ids=["in memory", "on demand"])
def test_sources_name_it(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", limit)
    write(tmp_path)

    def read():
        source = open_folder(str(tmp_path), image_size=32)["train"]
        gather(source, np.arange(len(source)))

    with pytest.raises(UserError, match=r"got .*/b/hole\.jpg: "):
        read()


@pytest.fixture
def lazy(tmp_path, monkeypatch):
    monkeypatch.setattr(memory_limit, "MAX_DECODED_BYTES", 0)
    splits = open_folder(str(write(tmp_path)), image_size=32)
    assert all(isinstance(source, EncodedSource) for source in splits.values())
    return splits


def test_inspect_lists_it(lazy):
    damaged = inspect(source_images(lazy, "x")).damaged
    assert [why.partition(": ")[0].rpartition("/")[2] for why in damaged] == ["hole.jpg"] * 2


def test_skipped_damage_is_counted_in_every_epoch(lazy):
    source = lazy["train"]
    skipping = DamageCounter(EncodedSource(**{**vars(source), "skip_broken": True}))
    for epoch in (0, 5, -1):
        skipping.found.clear()
        skipping.read(np.arange(7), np.full(7, epoch))
        assert list(skipping.found) == [6]


def test_without_glibc_images_are_decoded_all_the_same(monkeypatch):
    monkeypatch.setattr(decoder_messages, "_stream", lambda: None)
    assert np.array_equal(
        decode(WHOLE["plain"], "x"), np.asarray(Image.open(io.BytesIO(WHOLE["plain"])))
    )
