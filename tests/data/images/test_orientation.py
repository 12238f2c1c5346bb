"""Every kind of file says how it is turned in the same way, and every way of decoding agrees."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.label_image import decode_mask
from imgrec_jax.data.images.orientation import orientation, unturned, upright, upright_size
from imgrec_jax.data.images.resize import Area

# A smooth image that looks different in each orientation.
STORED = np.add.outer(np.arange(24) * 4, np.arange(40) * 3).astype(np.uint8)
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description {}/></x:xmpmeta>'
ATTRIBUTE = XMP.format('tiff:Orientation="{}"')
ELEMENT = XMP.replace(" {}/>", "><tiff:Orientation> {} </tiff:Orientation></rdf:Description>")
KINDS = ["JPEG", "PNG", "WEBP", "TIFF"]


def exif_of(kind=3, count=1, value=6, order="<"):
    """Return EXIF data with one entry, of a type and a count, and its four bytes or a number."""
    if isinstance(value, int):
        value = struct.pack(order + {1: "B3x", 3: "Hxx", 4: "I", 8: "hxx", 9: "i"}[kind], value)
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}HIHHHI", 42, 8, 1, 274, kind, count)
    return b"Exif\0\0" + mark + head + value + bytes(4) + struct.pack(f"{order}II", 6, 1)


def saved(kind, exif=b"", xmp="", image=STORED):
    if kind == "TIFF":
        return tiff(exif, xmp, image)
    options = {"exif": exif} if exif else {}
    if xmp and kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp, zip=True)
    elif xmp:
        options["xmp"] = xmp.encode()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, lossless=True, quality=95, **options)
    return buffer.getvalue()


def tiff(exif, xmp, image):
    """Return a TIFF with the entry of the EXIF data as it is."""
    buffer = io.BytesIO()
    tags = {274: 1, 700: xmp.encode()} if xmp else {274: 1}
    Image.fromarray(image).save(buffer, "TIFF", tiffinfo=tags)
    data = bytearray(buffer.getvalue())
    at = data.index(struct.pack("<HHI", 274, 3, 1))
    data[at : at + 12] = exif[16:28] if exif else struct.pack("<HHIHH", 65000, 3, 1, 0, 0)
    return bytes(data)


def agreed(data):
    """Return the orientation that all ways of decoding agree on."""
    whole = decode(data, "x").astype(int)
    ours = [
        turn
        for turn in range(1, 9)
        if (expected := upright(STORED, turn)).shape == whole.shape[:2]
        and np.abs(whole[..., 0] - expected).max() < 30
    ]
    assert len(ours) == 1
    stored = decode(data, "x", turned=False)[..., 0].astype(int)
    assert np.abs(stored - STORED).max() < 30
    height, width = whole.shape[:2]
    crop = {"image_size": 10, "crop": lambda h, w: Area(h - 10, w - 10, 10, 10)}
    for checked in (False, True):
        corner = decode(data, "x", **crop, checked=checked).astype(int)
        assert np.array_equal(corner, whole[height - 10 :, width - 10 :])
    deep = decode(data, "x", channels=1, dtype="uint16")[..., 0].astype(int) >> 8
    assert np.abs(deep - whole[..., 0]).max() <= 1
    return ours[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_kind_of_file_is_turned_alike(kind, turn):
    assert agreed(saved(kind, exif_of(value=turn))) == turn


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "exif",
    [
        *(exif_of(value=value) for value in (0, 9, 65535)),
        exif_of(kind=2, count=2, value=b"6\0\0\0"),
        exif_of(kind=3, count=2, value=struct.pack("<HH", 6, 6)),
        exif_of(kind=5, value=struct.pack("<I", 26)),
        exif_of(kind=9, value=-6),
        exif_of(kind=77, value=b"\6\0\0\0"),
    ],
    ids=["0", "9", "65535", "text", "two numbers", "fraction", "negative", "unknown type"],
)
def test_impossible_orientations_count_as_1(kind, exif):
    assert agreed(saved(kind, exif)) == 1
    assert agreed(saved(kind, exif, ATTRIBUTE.format(6))) == 1  # EXIF decides where it is there


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 4, 8, 9])
def test_integers_of_any_width_are_read(kind, number):
    assert agreed(saved(kind, exif_of(kind=number, value=6))) == 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [ATTRIBUTE, ELEMENT], ids=["attribute", "element"])
@pytest.mark.parametrize(("value", "turn"), [(3, 3), (6, 6), (0, 1), (9, 1), (66, 1)])
def test_xmp_counts_where_exif_says_nothing(kind, form, value, turn):
    assert agreed(saved(kind, b"", form.format(value))) == turn


@pytest.mark.parametrize("kind", KINDS)
def test_exif_decides_beside_xmp(kind):
    assert agreed(saved(kind, exif_of(value=6), ATTRIBUTE.format(3))) == 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order):
    assert agreed(saved("JPEG", exif_of(value=8, order=order))) == 8
    assert orientation(exif_of(value=8, order=order)) == 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0", exif_of()[:20], b"nonsense" * 4])
def test_damaged_exif_data_says_nothing(kind, exif):
    assert agreed(saved(kind, exif)) == 1


def test_png_with_exif_behind_the_pixels():
    data = saved("PNG", exif_of(value=6))
    start = data.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", data, start)
    chunk = data[start : start + length + 12]
    end = data.index(b"IEND") - 4
    assert agreed(data[:start] + data[start + len(chunk) : end] + chunk + data[end:]) == 6


def test_png_with_the_profile_of_imagemagick():
    for name in ("exif", "APP1"):
        info = PngImagePlugin.PngInfo()
        lines = f"\n{name}\n{len(exif_of())}\n{exif_of(value=6).hex()}\n"
        info.add_text(f"Raw profile type {name}", lines, zip=True)
        buffer = io.BytesIO()
        Image.fromarray(STORED).save(buffer, "PNG", pnginfo=info)
        assert agreed(buffer.getvalue()) == 6


def test_png_with_a_damaged_profile_is_read():
    data = saved("PNG")
    text = b"Raw profile type exif\0\nexif\n4\nzzzz\n"
    chunk = b"tEXt" + text
    crc = struct.pack(">I", zlib.crc32(chunk))
    chunk = struct.pack(">I", len(text)) + chunk + crc
    assert agreed(data[:33] + chunk + data[33:]) == 1


def test_big_tiff_of_bands():
    tifffile = pytest.importorskip("tifffile", reason="needs the extra imgrec_jax[tiff]")
    bands = np.random.default_rng(0).integers(0, 255, (4, 7, 5), np.uint8)
    for big in (False, True):
        buffer = io.BytesIO()
        tag = (274, "H", 1, 6, False)
        form = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(buffer, bands, bigtiff=big, extratags=[tag], **form)
        found = decode(buffer.getvalue(), "x", channels=5)
        assert np.array_equal(found, upright(bands, 6))
        assert np.array_equal(decode(buffer.getvalue(), "x", channels=5, turned=False), bands)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("turn", [1, 6, 9])
def test_label_images_are_turned_like_images(kind, turn):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = decode_mask(saved(kind, exif_of(value=turn), image=labels), "m")
    assert found.tolist() == upright(labels, turn).tolist()


def test_unturned_changes_no_other_file():
    for data in (b"", b"II*\0", b"II*\0" + bytes(20), b"II*\0" + b"\xff" * 40, saved("PNG")):
        assert unturned(data) == (data, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, bool])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,), (5,)])
def test_upright_is_what_the_exif_standard_says(dtype, channels):
    stored = np.random.default_rng(0).integers(0, 200, (3, 4, *channels)).astype(dtype)
    sides = {  # of the stored first row and column in the upright image
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }  # fmt: skip
    side = {
        "top": lambda a: a[0], "bottom": lambda a: a[-1],
        "left": lambda a: a[:, 0], "right": lambda a: a[:, -1],
    }  # fmt: skip
    for turn, (row, column) in sides.items():
        turned = upright(stored, turn)
        assert turned.dtype == dtype
        along_row, along_column = side[row](turned), side[column](turned)
        if column in ("right", "bottom"):
            along_row = along_row[::-1]
        if row in ("right", "bottom"):
            along_column = along_column[::-1]
        assert np.array_equal(along_row, stored[0])
        assert np.array_equal(along_column, stored[:, 0])


def test_sizes_are_those_of_the_upright_image():
    for turn in range(10):
        assert upright_size(24, 40, turn) == upright(STORED, turn).shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_error_in_a_crop_names_the_file(kind):
    with pytest.raises(UserError, match=r"got cat/7\.x: .*; try") as caught:
        decode(saved(kind), "cat/7.x", image_size=8, crop=lambda h, w: Area(h, w, 0, 0))
    assert "\n" not in str(caught.value)
