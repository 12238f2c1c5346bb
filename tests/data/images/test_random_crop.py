"""Random areas: their statistics, what they depend on, and that decoding less changes nothing."""

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.images import jpeg, turbojpeg
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.random_crop import RandomResizedCrop, read_crop
from imgrec_jax.data.images.resize import Area

LOG = math.log(4 / 3)


def encode(image: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", **options)
    return stream.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, channels))
    return cv2.resize(small.astype(np.uint8), (width, height)).reshape(height, width, channels)


def distance(sample: np.ndarray, other: np.ndarray) -> float:
    """Return the greatest difference of two cumulative distributions (Kolmogorov and Smirnov)."""
    points = np.concatenate([sample, other])
    parts = [np.searchsorted(np.sort(x), points, "right") / len(x) for x in (sample, other)]
    return float(np.abs(parts[0] - parts[1]).max())


def reference(height: int, width: int, draws: int) -> np.ndarray:
    """Return areas [n, 4] as Inception draws them: again until one fits."""
    generator = np.random.default_rng(1)
    found = []
    while len(found) < draws:
        pixels = height * width * generator.uniform(0.08, 1.0)
        ratio = math.exp(generator.uniform(-LOG, LOG))
        h, w = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if h <= height and w <= width:
            top, left = generator.integers(height - h + 1), generator.integers(width - w + 1)
            found.append((top, left, h, w))
    return np.array(found)


def test_areas_aspects_and_places_are_distributed_as_the_reference_says():
    crop = RandomResizedCrop(seed=3)
    ours = np.array([crop.area(row, 2, 375, 500) for row in range(4000)])
    theirs = reference(375, 500, 4000)
    # Two samples of 4,000 of one distribution are within 0.043 in 999 of 1,000 cases.
    for measure in (
        lambda a: a[:, 2] * a[:, 3],
        lambda a: np.log(a[:, 3] / a[:, 2]),
        lambda a: a[:, 0] / (375 - a[:, 2] + 1),
        lambda a: a[:, 1] / (500 - a[:, 3] + 1),
    ):
        assert distance(measure(ours), measure(theirs)) < 0.043
    assert (ours[:, 0] + ours[:, 2]).max() <= 375
    assert (ours[:, 1] + ours[:, 3]).max() <= 500


def test_aspects_are_log_uniform_where_every_draw_fits():
    crop = RandomResizedCrop(seed=0, low=0.25, high=0.25)
    areas = [crop.area(row, 0, 800, 800) for row in range(2000)]
    assert {round(100 * a.height * a.width / 800**2) for a in areas} == {25}
    aspects = np.sort([math.log(a.width / a.height) / LOG for a in areas])
    assert np.abs(aspects - np.linspace(-1, 1, 2000)).max() < 0.09
    assert aspects.min() < -0.99
    assert aspects.max() > 0.99


def test_an_area_is_a_function_of_seed_epoch_and_row():
    crop = RandomResizedCrop(seed=7)
    assert crop.area(5, 1, 300, 400) == crop.area(5, 1, 300, 400)
    others = [crop.area(6, 1, 300, 400), crop.area(5, 2, 300, 400)]
    others += [RandomResizedCrop(seed=8).area(5, 1, 300, 400)]
    assert crop.area(5, 1, 300, 400) not in others
    # Written down: another version must draw the same.
    assert RandomResizedCrop(seed=0).area(0, 0, 375, 500) == Area(4, 33, 353, 466)


def test_where_no_draw_fits_it_is_the_centre_of_an_allowed_aspect():
    crop = RandomResizedCrop(seed=0, low=1.0)
    assert crop.area(0, 0, 100, 1000) == Area(0, 433, 100, 133)
    assert crop.area(0, 0, 1000, 100) == Area(433, 0, 133, 100)


@pytest.mark.parametrize(
    "options",
    [{"subsampling": k} for k in (0, 1, 2)] + [{"progressive": True}, {"restart_marker_rows": 1}],
)
def test_what_lies_below_an_area_is_left_out_and_changes_no_pixel(options):
    data = encode(noise(232, 168), quality=90, **options)
    for rows in (1, 15, 16, 100, 231, 232):
        short = jpeg.end_after(data, rows)
        whole = np.asarray(Image.open(io.BytesIO(data)))
        assert (np.asarray(Image.open(io.BytesIO(short)))[:rows] == whole[:rows]).all()
    height = Image.open(io.BytesIO(jpeg.end_after(data, 15))).size[1]
    block = 16 if options.get("subsampling", 2) == 2 else 8
    assert height == (232 if "progressive" in options else block if block == 16 else 16)


def test_no_bytes_make_it_fail():
    data = encode(noise(40, 40), quality=90)
    for end in range(0, len(data), 7):
        assert len(jpeg.end_after(data[:end], 3)) == end
        assert turbojpeg.decode_area(data[:end], Area(0, 0, 30, 30)) is None
    short = b"\xff\xd8\xff\xc0\x00\x04\x08\x00"  # a frame header that is over too soon
    assert jpeg.end_after(short, 3) == short
    assert jpeg.read_header(short) is None


@pytest.mark.skipif(turbojpeg._library() is None, reason="needs libjpeg-turbo 3")
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"subsampling": k} for k in (0, 1, 2)] + [{"progressive": True}, {"restart_marker_rows": 1}],
)
def test_an_area_alone_is_what_it_is_within_the_whole(options, grey):
    pixels = noise(232, 168)
    data = encode(pixels[..., 0] if grey else pixels, quality=90, **options)
    whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    crop = RandomResizedCrop(seed=0, low=0.01)
    areas = [crop.area(row, 0, 232, 168) for row in range(40)]
    for area in [*areas, Area(0, 0, 1, 1), Area(231, 167, 1, 1), Area(16, 16, 216, 152)]:
        top, left, height, width = area
        found = turbojpeg.decode_area(data, area)
        assert np.array_equal(found, whole[top : top + height, left : left + width])
        for scale in (2, 4, 8):
            flag = getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
            less = cv2.imdecode(np.frombuffer(data, np.uint8), flag)[..., ::-1]
            top, left, height, width = area.reduced(scale)
            found = turbojpeg.decode_area(data, area, scale)
            assert np.array_equal(found, less[top : top + height, left : left + width])
    assert turbojpeg.decode_area(data, Area(0, 0, 233, 10)) is None  # more than there is


def test_a_reduced_area_begins_and_ends_at_the_pixels_that_are_there():
    assert Area(5, 8, 9, 1).reduced(4) == Area(2, 2, 3, 1)
    assert Area(5, 8, 9, 1).reduced(1) == Area(5, 8, 9, 1)


def test_images_do_not_depend_on_the_library(monkeypatch):
    data = encode(noise(120, 96), quality=90)
    crop = RandomResizedCrop(seed=0)

    def decode_all():
        crops = [lambda h, w, row=row: crop.area(row, 0, h, w) for row in range(20)]
        found = [decode(data, "x", image_size=50, crop=choose) for choose in crops]
        found += [decode(data, "x", image_size=size) for size in (50, 20, 10)]  # whole, /2, /4
        found += [decode(data, "x", image_size=16, crop=lambda h, w: Area(7, 9, 70, 66))]
        return found

    there = decode_all()
    monkeypatch.setattr(turbojpeg, "_library", lambda: None)
    assert all(map(np.array_equal, there, decode_all()))


@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize("grey", [False, True])
def test_the_crop_is_cut_from_the_upright_image(turn, grey):
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = noise(120, 96)
    data = encode(pixels[..., 0] if grey else pixels, quality=95, exif=exif)
    upright = decode(data, "x")
    assert upright.shape == ((96, 120, 3) if turn == 6 else (120, 96, 3))
    seen = []

    def choose(height, width):
        seen.append((height, width))
        return Area(8, 16, 40, 40)

    for checked in (False, True):
        found = decode(data, "x", image_size=40, crop=choose, checked=checked)
        assert (found == upright[8:48, 16:56]).all()
    assert seen == [upright.shape[:2]] * 2


def test_large_areas_are_reduced_while_they_are_decoded():
    data = encode(cv2.resize(noise(40, 60), (1200, 800)), quality=95)
    found = decode(data, "x", image_size=50, crop=lambda h, w: Area(200, 400, 400, 400))
    plain = cv2.resize(decode(data, "x")[200:600, 400:800], (50, 50), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - plain).mean() < 2.0
    whole = decode(data, "x", image_size=50)  # the centre, twice as large before the last step
    mean = cv2.resize(decode(data, "x")[:, 200:1000], (50, 50), interpolation=cv2.INTER_AREA)
    assert np.abs(whole.astype(int) - mean).mean() < 1.0


def test_images_that_are_no_jpeg_are_cropped_as_well():
    pixels = noise(60, 60)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    found = decode(stream.getvalue(), "x", image_size=20, crop=lambda h, w: Area(10, 20, 20, 20))
    assert (found == pixels[10:30, 20:40]).all()
    deep = decode(
        stream.getvalue(), "x", image_size=20, dtype="uint16", crop=lambda h, w: Area(0, 0, 20, 20)
    )
    assert (deep == pixels[:20, :20] * np.uint16(257)).all()


def test_crops_are_spelt_like_augmentations():
    assert read_crop("", 0) is None
    assert read_crop("random_resized_crop(low=0.2)", 4) == RandomResizedCrop(4, low=0.2)
    with pytest.raises(UsageError, match="did you mean 'random_resized_crop'"):
        read_crop("random_resize_crop", 0)
    with pytest.raises(UsageError, match="to be a number above 0, up to 1, got 0"):
        read_crop("random_resized_crop(low=0)", 0)
    with pytest.raises(UsageError, match="expected one crop"):
        read_crop("random_resized_crop|random_resized_crop", 0)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        *({}, {"progressive": True}, {"restart_marker_rows": 1}, {"comment": b"by hand"}),
        *({"icc_profile": bytes(70_000)}, {"dpi": (72, 72), "optimize": True}),
    ],
)
def test_the_header_of_an_everyday_image_says_what_pillow_says(options, grey, monkeypatch):
    pixels = noise(232, 168)
    data = encode(pixels[..., 0] if grey else pixels, **options)
    header = jpeg.read_header(data)
    with Image.open(io.BytesIO(data)) as image:
        assert header is not None
        assert (header.width, header.height) == image.size
    assert data[header.end - 3 : header.end] in (b"\0\x3f\0", b"\0\0\0", b"\0\0\1")  # the scan's
    crop = RandomResizedCrop(seed=3)
    ways = [{}, {"image_size": 64}, {"image_size": 100, "crop": lambda h, w: crop.area(0, 0, h, w)}]
    ours = [decode(data, "x", **way) for way in ways]
    monkeypatch.setattr(jpeg, "read_header", lambda _: None)
    for found, way in zip(ours, ways, strict=True):
        assert np.array_equal(found, decode(data, "x", **way))


def test_what_is_not_everyday_is_left_to_pillow():
    plain = encode(noise(40, 40))
    assert jpeg.read_header(plain) is not None
    cmyk = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(cmyk, "JPEG")
    for other in (cmyk.getvalue(), b"", b"\xff\xd8", plain[1:], plain[:200]):
        assert jpeg.read_header(other) is None
    for end in range(0, len(plain), 3):
        header = jpeg.read_header(plain[:end])
        assert header is None or header.end <= end
