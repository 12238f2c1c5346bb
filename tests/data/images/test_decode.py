"""Every kind of image becomes upright RGB, or one line that names it."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.resize import fit

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.asarray(image, np.uint8))
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(data, row=0, column=0):
    image = decode(data, "image")
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    return tuple(image[row, column].tolist())


def turned(orientation, kind):
    """A black 16x8 image whose stored upper left quarter is white, with an EXIF orientation."""
    stored = np.zeros((8, 16, 3), np.uint8)
    stored[:4, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, exif=exif)


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_lossless_kinds_keep_their_pixels(kind):
    data = encoded([[RED, BLUE], [WHITE, BLACK]], kind)
    assert decode(data, "x").tolist() == [
        [[255, 0, 0], [0, 0, 255]],
        [[255, 255, 255], [0, 0, 0]],
    ]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds_keep_their_colour(kind):
    image = decode(encoded(np.full((6, 5, 3), (200, 30, 90)), kind, quality=95), "x")
    assert image.shape == (6, 5, 3)
    np.testing.assert_allclose(image[3, 2].astype(int), (200, 30, 90), atol=4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_grey_becomes_rgb(kind):
    assert pixel(encoded(np.full((8, 8), 77), kind)) == (77, 77, 77)


def test_black_and_white_becomes_rgb():
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG")
    assert (pixel(data), pixel(data, 0, 1)) == (BLACK, WHITE)


def test_transparency_is_laid_on_white():
    data = encoded([[(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)]], "PNG")
    assert [pixel(data, 0, column) for column in range(3)] == [RED, WHITE, (127, 127, 127)]


def test_grey_with_alpha_is_laid_on_white():
    data = encoded(Image.merge("LA", [Image.new("L", (1, 1), 0), Image.new("L", (1, 1), 0)]), "PNG")
    assert pixel(data) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_is_looked_up_and_its_transparent_entry_is_white(kind):
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *BLUE, *BLACK])
    for column in range(3):
        image.putpixel((column, 0), column)
    data = encoded(image, kind, transparency=2)
    assert [pixel(data, 0, column) for column in range(3)] == [RED, BLUE, WHITE]


def test_cmyk_becomes_rgb():
    inks = [(0, 0, 0, 0), (0, 0, 0, 255), (255, 0, 0, 0), (0, 255, 255, 0)]
    colours = []
    for ink in inks:
        data = encoded(Image.new("CMYK", (8, 8), ink), "JPEG", quality=95)
        colours.append(decode(data, "x")[4, 4].astype(int))
    expected = [WHITE, BLACK, (0, 255, 255), RED]
    np.testing.assert_allclose(colours, expected, atol=3)


@pytest.mark.parametrize("kind", [".png", ".tiff", ".ppm"])
def test_16_bit_colour_keeps_the_upper_8_bits(kind):
    bgr = np.full((3, 2, 3), (0xFFFF, 0x9C40, 0x00FF), np.uint16)
    lowest = 0x01 if kind == ".ppm" else 0x00  # 255 of 65535: the one format that is rounded
    assert pixel(cv2.imencode(kind, bgr)[1].tobytes()) == (lowest, 0x9C, 0xFF)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_keeps_the_upper_8_bits(kind):
    image = Image.fromarray(np.array([[0x9C40, 0xFFFF, 0x00FF]], np.uint16))
    data = encoded(image, kind)
    assert [pixel(data, 0, column)[0] for column in range(3)] == [0x9C, 0xFF, 0x00]


def test_floating_point_is_refused():
    data = encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(UserError, match=r"8 or 16 bits a channel, got 32 in a/f\.tiff"):
        decode(data, "a/f.tiff")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, "upper left"), (2, "upper right"), (3, "lower right"), (4, "lower left"),
        (5, "upper left"), (6, "upper right"), (7, "lower right"), (8, "lower left"),
    ],
)  # fmt: skip
def test_exif_orientation_is_undone(kind, orientation, corner):
    image = decode(turned(orientation, kind), "x")
    height, width = (8, 16) if orientation < 5 else (16, 8)
    assert image.shape == (height, width, 3)
    row = 1 if "upper" in corner else height - 2
    column = 1 if "left" in corner else width - 2
    assert image[row, column].min() > 230
    assert image[height - 1 - row, column].max() < 25
    assert image[row, width - 1 - column].max() < 25


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_several_is_taken(kind):
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    red, _, blue = pixel(data)
    assert red > 240
    assert blue < 15


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("kept", [0.0, 0.03, 0.5, 0.8])
def test_truncated_is_an_error_that_names_the_file(kind, kept):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3))
    data = encoded(noise, kind)
    with pytest.raises(UserError, match=r"got train/cat/7\.x") as caught:
        decode(data[: int(kept * len(data))], "train/cat/7.x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("missing", [1, 2])
def test_missing_last_bytes_are_noticed(kind, missing):
    with pytest.raises(UserError, match="it is truncated"):
        decode(encoded(np.zeros((9, 9, 3)), kind)[:-missing], "x")


def with_thumbnail(data):
    """Put a segment into the header of a JPEG that holds an end mark of its own."""
    body = b"thumbnail\xff\xd9"
    return data[:2] + b"\xff\xe5" + struct.pack(">H", len(body) + 2) + body + data[2:]


def test_thumbnails_end_is_not_the_images_end():
    data = with_thumbnail(encoded(np.full((40, 40, 3), 60), "JPEG"))
    assert pixel(data) == (60, 60, 60)
    with pytest.raises(UserError, match="it is truncated"):
        decode(data[:-2], "x")


def test_download_that_stopped_and_was_filled_with_zeros_is_noticed():
    data = encoded(np.random.default_rng(0).integers(0, 256, (40, 40, 3)), "JPEG")
    with pytest.raises(UserError, match="it is truncated"):
        decode(data[:-500] + bytes(500), "x")


def test_bytes_behind_the_end_do_no_harm():
    assert pixel(encoded(np.full((8, 8, 3), 60), "JPEG") + b"camera notes") == (60, 60, 60)


@pytest.mark.parametrize("data", [b"", b"hello", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n" * 9])
def test_what_is_no_image_is_an_error(data):
    with pytest.raises(
        UserError,
        match=r"got notes\.jpg .*, which is (empty|XML or HTML|damaged or of another kind)",
    ):
        decode(data, "notes.jpg")


def test_damage_in_the_middle_of_a_png_is_an_error():
    data = bytearray(encoded(np.random.default_rng(0).integers(0, 256, (40, 40, 3)), "PNG"))
    data[500:600] = bytes(100)
    with pytest.raises(UserError, match="got x"):
        decode(bytes(data), "x")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(13_343, 13_341), (13_343, 13_400), (2_000_000_000, 2)])
def test_absurd_sizes_are_refused_from_the_header(size):
    with pytest.raises(UserError, match=r"at most 178,000,000 pixels, got more in huge\.png"):
        decode(png_header(*size), "huge.png")


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_no_pixels_are_refused(size):
    with pytest.raises(UserError, match=r"got empty\.png"):
        decode(png_header(*size), "empty.png")


def test_fit_cuts_the_middle():
    columns = np.tile(np.arange(6, dtype=np.uint8)[None, :, None], (2, 1, 3))
    assert fit(columns, 2)[..., 0].tolist() == [[2, 3], [2, 3]]
    assert fit(columns.transpose(1, 0, 2), 2)[..., 0].tolist() == [[2, 2], [3, 3]]


def test_fit_cuts_a_part_of_the_shorter_side():
    image = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((1, 10, 3), np.uint8)
    assert fit(image, 4, part=0.5)[:, 0, 0].tolist() == [2, 3, 4, 5]
    assert fit(image[:, :8], 8, part=1.0).shape == (8, 8, 3)
    assert decode(encoded(image, "PNG"), "x", image_size=4, center_crop=0.5)[:, 0, 0].tolist() == [
        2,
        3,
        4,
        5,
    ]


def test_fit_averages_when_it_shrinks():
    image = np.zeros((4, 4, 1), np.uint8)
    image[:2, :2, 0] = [[0, 40], [80, 120]]
    image[:2, 2:, 0] = 200
    assert fit(image, 2).tolist() == [[[60], [200]], [[0], [0]]]


def test_fit_does_not_alias_stripes():
    stripes = np.zeros((60, 60, 3), np.uint8)
    stripes[:, ::3] = 255
    assert np.unique(fit(stripes, 20)).tolist() == [85]


def test_fit_enlarges():
    image = fit(np.full((2, 3, 3), 9, np.uint8), 5)
    assert image.shape == (5, 5, 3)
    assert np.unique(image).tolist() == [9]


def test_image_size_makes_a_square():
    data = encoded(np.full((50, 90, 3), 120), "JPEG")
    assert decode(data, "x", image_size=16).shape == (16, 16, 3)


def test_a_very_long_image_stays_small_on_the_way():
    data = encoded(np.full((1, 60_000, 3), 5), "PNG")
    assert decode(data, "x", image_size=64).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [-1, 20_000])
def test_impossible_image_sizes_are_refused(size):
    with pytest.raises(UsageError, match=r"data\.image_size .* got -?\d+; try --config"):
        decode(encoded(np.zeros((2, 2, 3)), "PNG"), "x", image_size=size)
