"""Images with label images: how they are paired, what values mean, what is refused."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.core.fields import IGNORE
from imgrec_jax.data.formats.mask_values import read_class_list, read_mask_values
from imgrec_jax.data.formats.masks import open_masks
from imgrec_jax.data.images.label_image import decode_mask


def png(pixels, mode=None):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels), mode).save(buffer, "PNG")
    return buffer.getvalue()


def image(value, shape=(2, 4)):
    return png(np.full((*shape, 3), value, np.uint8))


def mask(*values, shape=(2, 4)):
    return png(np.resize(np.array(values, np.uint8), shape))


def write(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(root)


def shown(split):
    """Return the grey of each image with the first row of its label map."""
    maps = split.targets["label_map"]
    return [(int(i[0, 0, 0]), m[0].tolist()) for i, m in zip(split.images, maps, strict=True)]


def test_images_beside_masks(tmp_path):
    files = {"images/b.png": image(2), "images/a.png": image(1)}
    files |= {"masks/a.png": mask(0, 1), "masks/b_mask.png": mask(1, 255)}
    train = open_masks(write(tmp_path, files))["train"]
    assert train.label_names == ("background", "object")
    assert shown(train) == [(1, [0, 1, 0, 1]), (2, [1, IGNORE, 1, IGNORE])]
    assert train.image_shape == (2, 4, 3)
    assert train.targets["label_map"].dtype == np.uint8
    assert train[1]["label_map"].tolist() == [[1, 255, 1, 255]] * 2


def test_split_folders_inside_and_outside(tmp_path):
    files = {"images/train/a.png": image(1), "masks/train/a.png": mask(0, 1)}
    files |= {"test/images/a.png": image(3), "test/labels/a.png": mask(1)}
    splits = open_masks(write(tmp_path, files))
    assert {name: shown(split) for name, split in splits.items()} == {
        "train": [(1, [0, 1, 0, 1])],
        "test": [(3, [1, 1, 1, 1])],
    }


def test_annotations_beside_each_split_with_a_class_list_in_a_tar(tmp_path):
    files = {"set/train/a.png": image(1), "set/trainannot/a.png": mask(0, 1, 2, 2)}
    files |= {"set/val/b.png": image(2), "set/valannot/b.png": mask(1)}
    files["set/classes.txt"] = b"0 sky\n1 road\n2 unlabelled\n"
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    splits = open_masks(str(tmp_path / "set.tar"))
    assert splits["train"].label_names == ("sky", "road")
    assert shown(splits["train"]) == [(1, [0, 1, IGNORE, IGNORE])]
    assert shown(splits["val"]) == [(2, [1, 1, 1, 1])]


def test_list_files_name_pairs_by_any_root(tmp_path):
    files = {"raw/x.png": image(1), "raw/y.png": image(2), "raw/z.png": image(3)}
    files |= {"gt/x_L.png": mask(0, 1), "gt/y_L.png": mask(1)}
    files["train.txt"] = "/Elsewhere/raw/y.png /Elsewhere/gt/y_L.png\nraw/x.png gt/x_L.png\n"
    splits = open_masks(write(tmp_path, files))
    assert list(splits) == ["train"]
    assert shown(splits["train"]) == [(2, [1, 1, 1, 1]), (1, [0, 1, 0, 1])]


def test_pascal_voc(tmp_path):
    files = {f"VOC/JPEGImages/{n}.png": image(i) for i, n in enumerate("abc")}
    files |= {"VOC/SegmentationClass/a.png": mask(0, 15), "VOC/SegmentationClass/b.png": mask(255)}
    files |= {"VOC/SegmentationObject/a.png": mask(7, shape=(9, 9))}
    files |= {"VOC/ImageSets/Segmentation/train.txt": "a\n"}
    files |= {"VOC/ImageSets/Segmentation/val.txt": "b\n", "VOC/ImageSets/Main/test.txt": "c\n"}
    splits = open_masks(write(tmp_path, files))
    assert splits["train"].label_names[15] == "person"
    assert shown(splits["train"]) == [(0, [0, 15, 0, 15])]
    assert shown(splits["val"]) == [(1, [IGNORE] * 4)]


@pytest.mark.parametrize(
    ("kind", "values"), [("labelTrainIds", (0, 18, 255, 1)), ("labelIds", (7, 33, 0, 8))]
)
def test_cityscapes(tmp_path, kind, values):
    files = {}
    for split in ("train", "val"):
        files[f"leftImg8bit/{split}/town/a_leftImg8bit.png"] = image(1)
        files[f"gtFine/{split}/town/a_gtFine_{kind}.png"] = mask(*values)
        files[f"gtFine/{split}/town/a_gtFine_color.png"] = image(9)
    splits = open_masks(write(tmp_path, files))
    assert list(splits) == ["train", "val"]
    assert splits["train"].label_names[18] == "bicycle"
    assert len(splits["train"].label_names) == 19
    assert shown(splits["val"]) == [(1, [0, 18, IGNORE, 1])]


def test_a_table_tells_what_values_and_colours_mean(tmp_path):
    files = {"images/a.png": image(1), "masks/a.png": mask(0, 255, 128, 0)}
    train = open_masks(write(tmp_path, files), "0=ground,255=cell,128=ignore")["train"]
    assert train.label_names == ("ground", "cell")
    assert shown(train) == [(1, [0, 1, IGNORE, 0])]
    colours = np.array([[[128, 0, 0], [0, 0, 0], [128, 0, 0], [0, 0, 0]]] * 2, np.uint8)
    (tmp_path / "masks" / "a.png").write_bytes(png(colours))
    train = open_masks(str(tmp_path), "#000000=ground,#800000=car")["train"]
    assert shown(train) == [(1, [1, 0, 1, 0])]


def test_sixteen_bits_and_palettes_keep_their_values():
    assert decode_mask(png(np.array([[0, 1000]], np.uint16)), "m").tolist() == [[0, 1000]]
    palette = Image.fromarray(np.array([[3, 1]], np.uint8))
    palette.putpalette([9, 9, 9] * 256)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    assert decode_mask(buffer.getvalue(), "m").tolist() == [[3, 1]]


def test_both_are_brought_to_a_shape(tmp_path):
    files = {
        "images/a.png": image(1, (4, 8)),
        "masks/a.png": png(np.repeat([[0, 0, 1, 1, 2, 2, 3, 3]], 4, 0).astype(np.uint8)),
        "images/b.png": image(2, (2, 2)),
        "masks/b.png": mask(0, 1, 2, 3, shape=(2, 2)),
    }
    train = open_masks(write(tmp_path, files), shape=(2, 4))["train"]
    assert shown(train) == [(1, [0, 1, 2, 3]), (2, [0, 0, 1, 1])]
    with pytest.raises(UsageError, match=r"of one size, .* try --config\.data\.image_shape=4x8"):
        open_masks(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"masks/a.png": None},
            r"a mask for each image of .*, got none for 'images/a\.png';",
        ),
        ({"masks/a.png": mask(0, shape=(3, 4))}, r"image \(4x2\), got 4x3 in .*masks/a\.png; tr"),
        (
            {"masks/a.png": mask(0, shape=(4, 2))},
            r"got 2x4 in .*masks/a\.png; try turning it .*EXIF",
        ),
        ({"masks/a.png": b"\xff\xd8\xff\xe0 JPEG"}, r"got .*masks/a\.png: it is JPEG; try"),
        (
            {"masks/a.png": mask(0, 9, 7)},
            r"0, 1 of .*classes\.txt in .*masks/a\.png, got 7, 9",
        ),
        (
            {"masks/a.png": b"junk"},
            r"intact label image .*, got .*masks/a\.png: its 4 bytes are of another kind; ",
        ),
        ({"masks/a.png": image(1) + b""}, None),
        ({"images/a.png": b"junk"}, r"got .*images/a\.png"),
        ({"classes.txt": b"0 a\nb\n"}, r"a class a line in .*classes\.txt, "),
        ({"train.txt": b"images/a.png masks/q.png\n"}, r"the file 'masks/q\.png' that train\.txt"),
    ],
)
def test_bad_input_is_told_in_one_line_with_the_file(tmp_path, changes, message):
    files = {"images/a.png": image(1), "masks/a.png": mask(0, 1), "classes.txt": b"0 a\n1 b\n"}
    files = {name: data for name, data in {**files, **changes}.items() if data is not None}
    where = write(tmp_path, files)
    if message is None:  # three equal channels are one value
        assert shown(open_masks(where)["train"]) == [(1, [1, 1, 1, 1])]
        return
    with pytest.raises(UserError, match=message) as caught:
        open_masks(where)
    assert "\n" not in str(caught.value)
    assert "; try " in str(caught.value)


def test_a_test_split_without_masks_is_left_out(tmp_path, caplog):
    files = {"train/images/a.png": image(1), "train/masks/a.png": mask(0, 1)}
    files["test/images/b.png"] = image(2)
    assert list(open_masks(write(tmp_path, files))) == ["train"]
    assert "test has no masks and is left out" in caplog.text


def test_colours_without_a_table_are_refused():
    colours = png(np.array([[[128, 0, 0], [0, 0, 0]]], np.uint8))
    with pytest.raises(UserError, match=r"one value per pixel in m\.png, got uint8\[1, 2, 3\]; "):
        decode_mask(colours, "m.png")


@pytest.mark.parametrize(
    "text", ["0", "a=b", "0=", "0=a,#000000=b", "0=a,0=b", "0=ignore", "5-2=a", "0-99999=a", "0-=a"]
)
def test_impossible_tables(text):
    with pytest.raises(UsageError, match="expected "):
        read_mask_values(text)


def test_class_lists_without_numbers_count_from_zero():
    values = read_class_list(b"sky\nroad\n", "classes.txt")
    assert values.label_names == ("sky", "road")
    assert dict(values.numbers) == {0: 0, 1: 1}


def turned_image(turn, size=(6, 4)):
    exif = Image.Exif()
    exif[274] = turn
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_mask_of_the_upright_image_fits_a_turned_one(tmp_path):
    files = {"images/a.jpg": turned_image(6), "masks/a.png": mask(0, 1, shape=(6, 4))}
    assert open_masks(write(tmp_path / "two", files))["train"].image_shape == (6, 4, 3)
    files["masks/a.png"] = mask(0, 1, shape=(4, 6))
    with pytest.raises(UserError, match=r"got 6x4 in .*a\.png; try turning it by 90 degrees"):
        open_masks(write(tmp_path / "one", files))
