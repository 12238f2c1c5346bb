"""Images kept at their depth: 16 bits a channel, and other numbers of channels."""

import io
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.tasks import open_data
from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images.decode import decode
from imgrec_jax.data.images.resize import fit
from imgrec_jax.data.sources.source import channel_statistics

GENERATOR = np.random.default_rng(0)
GREY16 = GENERATOR.integers(0, 65536, (3, 4), dtype=np.uint16)
RGB16 = GENERATOR.integers(0, 65536, (3, 4, 3), dtype=np.uint16)
RGBA16 = GENERATOR.integers(0, 65536, (3, 4, 4), dtype=np.uint16)
RGB8 = GENERATOR.integers(0, 256, (3, 4, 3), dtype=np.uint8)


def written(pixels, suffix):
    """Encode by OpenCV, whose order is BGR."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    _, data = cv2.imencode(suffix, pixels)
    return data.tobytes()


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".ppm"])
def test_sixteen_bits_are_kept(suffix):
    image = decode(written(RGB16, suffix), "x", dtype="uint16")
    assert image.dtype == np.uint16
    assert image.tolist() == RGB16.tolist()


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_grey_sixteen_bits_are_kept(suffix):
    data = written(GREY16, suffix)
    assert decode(data, "x", dtype="uint16", channels=1)[..., 0].tolist() == GREY16.tolist()
    rgb = decode(data, "x", dtype="uint16")
    assert (rgb == GREY16[..., None]).all()
    assert rgb.shape == (3, 4, 3)


def test_eight_bits_fill_the_range_of_sixteen():
    for kind in ("PNG", "TIFF", "BMP"):
        image = decode(saved(Image.fromarray(RGB8), kind), "x", dtype="uint16")
        assert image.dtype == np.uint16
        assert image.tolist() == (RGB8.astype(int) * 257).tolist()


def test_sixteen_bits_become_their_upper_eight():
    image = decode(written(RGB16, ".tiff"), "x")
    assert image.dtype == np.uint8
    assert image.tolist() == (RGB16 >> 8).tolist()
    assert decode(written(RGBA16, ".tiff"), "x", channels=4).tolist() == (RGBA16 >> 8).tolist()


def test_four_channels():
    rgba = GENERATOR.integers(0, 256, (3, 4, 4), dtype=np.uint8)
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        data = saved(Image.fromarray(rgba), kind, **options)
        assert decode(data, "x", channels=4).tolist() == rgba.tolist()
    for suffix in (".png", ".tiff"):
        data = written(RGBA16, suffix)
        assert decode(data, "x", channels=4, dtype="uint16").tolist() == RGBA16.tolist()
    opaque = decode(saved(Image.fromarray(RGB8), "JPEG"), "x", channels=4)
    assert opaque.shape == (3, 4, 4)
    assert opaque[..., 3].tolist() == [[255] * 4] * 3
    deep = decode(written(GREY16, ".png"), "x", channels=4, dtype="uint16")
    assert deep[1, 2].tolist() == [*[int(GREY16[1, 2])] * 3, 65535]


def test_transparency_is_laid_on_white_at_any_depth():
    pixels = np.zeros((1, 3, 4), np.uint16)
    pixels[0, :, 3] = [0, 32768, 65535]
    image = decode(written(pixels, ".png"), "x", dtype="uint16")
    assert image[0, :, 0].tolist() == [65535, 32767, 0]
    assert decode(written(pixels, ".png"), "x", dtype="uint16", channels=1).shape == (1, 3, 1)


def test_one_channel_is_the_luminance():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (7, 7, 7)]
    data = saved(Image.fromarray(np.array([colors], np.uint8)), "PNG")
    assert decode(data, "x", channels=1)[0, :, 0].tolist() == [76, 150, 29, 255, 7]
    grey = saved(Image.fromarray(np.arange(256, dtype=np.uint8)[None]), "PNG")
    assert decode(grey, "x", channels=1)[0, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_images_are_turned_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    shallow = saved(Image.fromarray((GREY16 >> 8).astype(np.uint8)), kind, exif=exif)
    deep = saved(Image.fromarray(GREY16), kind, exif=exif)
    expected = decode(shallow, "x")[..., 0]
    assert (decode(deep, "x", dtype="uint16")[..., 0] >> 8).tolist() == expected.tolist()


@pytest.mark.parametrize(("size", "how"), [(2, "shrunk"), (9, "enlarged")])
def test_many_channels_are_resized_like_each_alone(size, how):
    pixels = GENERATOR.integers(0, 65536, (5, 6, 13), dtype=np.uint16)
    together = fit(pixels, size)
    assert together.shape == (size, size, 13)
    for channel in (0, 4, 12):
        alone = fit(pixels[..., channel : channel + 1], size)
        assert (together[..., channel] == alone[..., 0]).all()


def refusal(data, **form):
    with pytest.raises(UserError) as caught:
        decode(data, "images/a", **form)
    assert "\n" not in str(caught.value)
    assert "images/a" in str(caught.value)
    assert "; try " in str(caught.value)
    return str(caught.value)


def test_damaged_deep_images_are_named():
    png, tiff = written(RGB16, ".png"), written(RGB16, ".tiff")
    assert "truncated" in refusal(png[:-9], dtype="uint16")
    message = refusal(tiff[:8] + bytes(30) + tiff[38:], dtype="uint16")
    assert "an intact image, got images/a: OpenCV cannot read it; try copying" in message
    floats = cv2.imencode(".tiff", GREY16.astype(np.float32))[1].tobytes()
    assert "expected 8 or 16 bits a channel, got 32" in refusal(floats, dtype="uint16")


def test_without_tifffile_the_way_out_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert "try pip install 'imgrec_jax[tiff]'" in refusal(b"II*\0", channels=5)


def test_any_number_of_channels():
    tifffile = pytest.importorskip("tifffile", reason="needs the extra imgrec_jax[tiff]")
    bands = GENERATOR.integers(0, 65536, (3, 4, 13), dtype=np.uint16)

    def tiff(pixels, **options):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **{"photometric": "minisblack", **options})
        return buffer.getvalue()

    contiguous = tiff(bands, planarconfig="contig")
    separate = tiff(np.moveaxis(bands, -1, 0), planarconfig="separate", compression="zlib")
    rgbx = tiff(bands[..., :4], extrasamples=["unspecified"], photometric="rgb")
    assert decode(rgbx, "x", channels=4, dtype="uint16").tolist() == bands[..., :4].tolist()
    for data in (contiguous, separate):
        assert decode(data, "x", channels=13, dtype="uint16").tolist() == bands.tolist()
        assert decode(data, "x", channels=13).tolist() == (bands >> 8).tolist()
        assert decode(data, "x", channels=13, image_size=2).shape == (2, 2, 13)
    assert "expected images of 5 channels, got 13" in refusal(contiguous, channels=5)
    assert "an intact TIFF" in refusal(written(RGB16, ".png"), channels=5)
    assert "an intact TIFF" in refusal(contiguous[:200], channels=13)
    assert "got float32" in refusal(tiff(np.zeros((3, 4, 5), np.float32)), channels=5)


def folder_of(root, images):
    for name, data in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_deep_folder_from_config_to_statistics(tmp_path):
    black, white = np.zeros((2, 2), np.uint16), np.full((2, 2), 65535, np.uint16)
    images = {"a/1.png": written(black, ".png"), "b/2.tif": written(white, ".tiff")}
    root = folder_of(tmp_path / "set", images)
    config = get_config(
        "base", data__source=f"folder:{root}", data__channels=1, data__dtype="uint16"
    )
    for _ in range(2):  # the second time from the cache
        train = open_data(config)["train"]
        assert (train.images.dtype, train.image_shape) == (np.uint16, (2, 2, 1))
        assert train.images[:, 0, 0, 0].tolist() == [0, 65535]
        assert channel_statistics(train) == ([0.5], [0.5])
    assert open_folder(str(root))["train"].images.dtype == np.uint8


@pytest.mark.parametrize("key", [{"data__dtype": "uint16"}, {"data__channels": 3}])
def test_sources_of_one_form_refuse_another(key):
    with pytest.raises(UsageError, match=r"data.dtype=uint8 for digits, which comes in one form"):
        open_data(get_config("base", data__source="digits", **key))
    assert len(open_data(get_config("base", data__source="digits", data__channels=1))) == 2


@pytest.mark.parametrize(
    ("key", "excerpt"),
    [("data__dtype", "to be uint8 or uint16, got 'float32'"), ("data__channels", "from 0 to 1024")],
)
def test_impossible_forms(key, excerpt):
    with pytest.raises(UsageError, match=excerpt):
        get_config("base", **{key: "float32" if key == "data__dtype" else -1})
