import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.folder import open_folder
from imgrec_jax.data.images.read import fit_images, read_images


@pytest.fixture
def pets(tmp_path):
    """Two class folders with images of several sizes."""
    generator = np.random.default_rng(0)
    for name, size in (("cat/a.png", (20, 30)), ("cat/b.jpg", (16, 16)), ("dog/c.png", (40, 9))):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (*size, 3)).astype(np.uint8)).save(path)
    return tmp_path


def test_images_are_read_as_the_folder_source_reads_them(pets):
    source = open_folder(str(pets), image_size=12)["train"]
    paths = [pets / "cat" / "a.png", str(pets / "cat" / "b.jpg"), pets / "dog" / "c.png"]
    read = read_images(paths, (12, 12, 3))
    assert len(read) == len(source) == 3
    for image, example in zip(read, (source[row] for row in range(3)), strict=True):
        np.testing.assert_array_equal(image, example["image"])


def test_a_grey_network_gets_the_luminance(tmp_path):
    colours = np.zeros((1, 3, 3), np.uint8)
    colours[0, 0, 0] = colours[0, 1, 1] = colours[0, 2, 2] = 255
    Image.fromarray(colours).save(tmp_path / "rgb.png")
    (grey,) = read_images([tmp_path / "rgb.png"], (1, 3, 1))
    # 0.299, 0.587 and 0.114 of 255
    np.testing.assert_allclose(grey[0, :, 0], [76.2, 149.7, 29.1], atol=1)
    assert grey.shape == (1, 3, 1)


def test_a_broken_file_is_an_error_among_images(pets):
    (pets / "broken.jpg").write_bytes(b"nothing")
    good, broken, missing = read_images(
        [pets / "cat" / "b.jpg", pets / "broken.jpg", pets / "none.png"], (8, 8, 3)
    )
    assert good.shape == (8, 8, 3)
    assert isinstance(broken, UserError)
    assert "broken.jpg" in str(broken)
    assert isinstance(missing, UserError)
    assert "none.png" in str(missing)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), r"got float32\[2, 8, 8, 3\]"),
        (np.zeros((8, 8, 3), np.uint8), r"try images\[None\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), "try RGB or grey as in training"),
        (np.zeros((2, 0, 8, 3), np.uint8), r"got uint8\[2, 0, 8, 3\]"),
    ],
)
def test_other_arrays_are_refused(images, message):
    with pytest.raises(UsageError, match=message):
        fit_images(images, (8, 8, 3))


def test_sizes_are_fitted_to_squares_only():
    images = np.full((2, 10, 14, 3), 7, np.uint8)
    assert fit_images(images, (8, 8, 3)).shape == (2, 8, 8, 3)
    assert fit_images(images, (10, 14, 3)) is images
    assert fit_images(images[:0], (8, 8, 3)).shape == (0, 8, 8, 3)
    with pytest.raises(UsageError, match="expected images of 6x8 as in training, got 14x10"):
        fit_images(images, (8, 6, 3))
