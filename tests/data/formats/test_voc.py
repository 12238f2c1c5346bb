import tarfile

import numpy as np
import pytest
from made_voc import LABELS, make_voc, xml
from PIL import Image

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.files.xml import parse_xml
from imgrec_jax.data.formats.voc import open_voc
from imgrec_jax.data.sources import memory_limit
from imgrec_jax.data.sources.encoded import EncodedSource
from imgrec_jax.data.sources.source import ArraySource, gather


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "set" / "VOC"
    return root, make_voc(root)


def annotate(root, text, name="train_0"):
    (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")


def test_a_folder_by_hand(voc):
    root, annotations = voc
    splits = open_voc(str(root.parent), None, 4)
    assert list(splits) == ["train", "test"]
    train = splits["train"]
    assert isinstance(train, ArraySource)
    assert train.label_names == LABELS
    assert train.image_shape == (48, 64, 3)
    row = train[2]
    assert row["boxes"].tolist() == [
        *(list(box) for _, box in annotations["train_2"]),
        [0, 0, 0, 0],
    ]
    assert [LABELS[k] for k in row["box_label"][:3]] == [
        label for label, _ in annotations["train_2"]
    ]
    assert row["box_mask"].tolist() == [True, True, True, False]
    assert not row["box_ignore"].any()


def test_boxes_are_scaled_with_the_image(voc):
    root, annotations = voc
    train = open_voc(str(root), (24, 128), 3)["train"]
    assert train.image_shape == (24, 128, 3)
    expected = np.array([box for _, box in annotations["train_0"]]) * [2, 0.5, 2, 0.5]
    np.testing.assert_allclose(train[0]["boxes"], expected)


def test_a_tar_gives_what_its_folder_gives(voc, tmp_path):
    root, _ = voc
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(root, "deep/VOC")
    one, other = (open_voc(str(p), None, 3)["test"] for p in (root, tmp_path / "set.tar"))
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(other.arrays[name], array)


def test_large_sets_are_decoded_as_they_are_used(voc, tmp_path, monkeypatch):
    root, _ = voc
    held = open_voc(str(root), (24, 32), 3)["train"]
    monkeypatch.setattr(memory_limit, "decoded_limit", lambda: 1000)
    lazy = open_voc(str(root), (24, 32), 3)["train"]
    assert isinstance(lazy, EncodedSource)
    one, other = (gather(source, np.array([5, 1, 5])) for source in (held, lazy))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    for name, mode in (("set.tar", "w"), ("set.tgz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:
            tar.add(root, "VOC")
    packed = open_voc(str(tmp_path / "set.tar"), (24, 32), 3)["train"]
    assert isinstance(packed, EncodedSource)
    assert (packed[5]["image"] == held[5]["image"]).all()
    with pytest.raises(UserError, match=r"uncompressed .* 1,000 bytes.*, got .*tgz; try unpacking"):
        open_voc(str(tmp_path / "set.tgz"), None, 3)


def test_boxes_outside_are_clipped_and_those_without_area_dropped(voc, caplog):
    root, _ = voc
    boxes = [(-5, -5, 10, 10), (7, 7, 7, 20), (60, 40, 99, 99), (70, 0, 80, 10)]
    annotate(root, xml([("dot", box) for box in boxes]))
    row = open_voc(str(root), None, 4)["train"][0]
    assert row["boxes"][row["box_mask"]].tolist() == [[0, 0, 10, 10], [60, 40, 64, 48]]
    assert "2 boxes reach outside" in caplog.text
    assert "2 without area" in caplog.text


def test_repeated_boxes_are_left_out_and_both_are_named(voc, caplog):
    root, _ = voc
    boxes = [("dot", (1, 1, 9, 9)), ("dot", (1, 1, 9, 9)), ("bar", (1, 1, 9, 9))]
    annotate(root, xml(boxes))
    assert open_voc(str(root), None, 4)["train"][0]["box_mask"].tolist() == [1, 1, 0, 0]
    assert "1 boxes repeat another with the same label" in caplog.text
    assert "train_0.xml, line 5 = " in caplog.text


def test_difficult_things_are_ignored_and_images_may_be_empty(voc):
    root, _ = voc
    hard = xml([("dot", (1, 1, 9, 9))]).replace("<difficult>0", "<difficult>1")
    annotate(root, hard)
    annotate(root, xml([]), "train_1")
    train = open_voc(str(root), None, 4)["train"]
    assert train[0]["box_ignore"].tolist() == [True, False, False, False]
    assert not train[1]["box_mask"].any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (xml([("dot", (9, 1, 3, 5))]), r"train_0\.xml, line 3.*correcting or removing"),
        (xml([("dot", ("one", 1, 3, 5))]), r"<xmin>, got 'one' in .*train_0\.xml, line 4"),
        (xml([("dot", ("nan", 1, 3, 5))]), r"train_0\.xml, line 4"),
        (xml([("", (1, 1, 3, 5))]), r"<name>.*train_0\.xml, line 3"),
        (xml([]).replace("</annotation>", ""), r"train_0\.xml, line 5: no element found"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>\n<a>&b;</a>', "document type"),
    ],
)
def test_damage_is_told_with_file_and_line(voc, text, message):
    root, _ = voc
    annotate(root, text)
    with pytest.raises(UserError, match=message) as annotations:
        open_voc(str(root), None, 4)
    assert "\n" not in str(annotations.value)


def test_an_image_of_another_size_than_told_is_refused(voc):
    root, _ = voc
    annotate(root, xml([], size=(40, 64)))
    with pytest.raises(UserError, match=r"64x40 as its annotation says, got 64x48 in .*train_0"):
        open_voc(str(root), (48, 64), 4)


def test_too_many_boxes_name_the_key_to_raise(voc):
    root, _ = voc
    annotate(root, xml([("dot", (1, 1, 3 + k / 1000, 5)) for k in range(101)]))
    annotate(root, xml([("dot", (1, 1, 3 + k / 1000, 5)) for k in range(1000)]), "test_1")
    with pytest.raises(UsageError, match=r"try --config\.data\.max_boxes=1000$"):
        open_voc(str(root), None, 100)
    assert open_voc(str(root), None, 1000)["test"][1]["box_mask"].sum() == 1000


def test_several_sizes_need_a_shape(voc):
    root, _ = voc
    annotate(root, xml([], size=(50, 64)), "train_3")
    with pytest.raises(UsageError, match=r"data\.image_shape=48x64"):
        open_voc(str(root), None, 4)


def test_a_split_without_annotations_is_left_out(voc, caplog):
    root, _ = voc
    for number in range(4):
        (root / "Annotations" / f"test_{number}.xml").unlink()
    assert list(open_voc(str(root), None, 4)) == ["train"]
    assert "test has no annotations" in caplog.text
    (root / "Annotations" / "train_0.xml").unlink()
    with pytest.raises(UserError, match=r"the file 'train_0' that ImageSets/Main/train\.txt of"):
        open_voc(str(root), None, 4)


def test_what_is_no_such_set_is_told(tmp_path, voc):
    root, _ = voc
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="XML files of Pascal VOC in"):
        open_voc(str(tmp_path / "empty"), None, 4)
    with pytest.raises(UsageError, match="which does not exist"):
        open_voc(str(tmp_path / "none"), None, 4)
    (root / "JPEGImages" / "train_0.png").unlink()
    with pytest.raises(UserError, match=r"an image for .*train_0\.xml, got none"):
        open_voc(str(root), None, 4)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("gbk", "gbk"), ("GB2312", "gbk"), ("utf-16", "utf-16"), ("nonsense", "utf-8"), ("", "gbk")],
)
def test_xml_of_any_encoding(voc, caplog, declared, encoding):
    root, _ = voc
    for path in (root / "Annotations").iterdir():
        text = path.read_text(encoding="utf-8").replace(LABELS[0], "狗")
        head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
        path.write_bytes((head + text).encode(encoding))
    assert "狗" in open_voc(str(root), None, 4)["train"].label_names
    guessed = [line for line in caplog.messages if "read as" in line]
    assert len(guessed) == (declared in ("", "nonsense"))  # one line for all files


def test_text_of_many_lines_is_read_in_linear_time():
    """A quadratic join of a million parts would take hours."""
    tree = parse_xml(b"<a><b>" + b"\n" * 1_000_000 + b"x</b></a>", "a.xml")
    assert tree.children[0].text == "x"
    assert tree.line == 1


@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "9" * 5000])
def test_a_size_that_is_no_number_is_refused(voc, number):
    root, _ = voc
    annotate(root, xml([], (48, number)))
    with pytest.raises(UserError, match=r"expected a number in <size><width>, got .*line \d"):
        open_voc(str(root), None, 4)


def at(folder, names, label="dot", filename=""):
    """Write XML files into a folder, and images beside or elsewhere."""
    for name in names:
        path = folder / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = xml(
            [(label, (1, 1, 9, 9))], extra=f"<filename>{filename}</filename>" * bool(filename)
        )
        path.write_text(text, encoding="utf-8")


def image(path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (9, 9, 9)).save(path)


def lengths(root):
    return {split: len(source) for split, source in open_voc(str(root), (48, 64), 4).items()}


def test_what_roboflow_labelimg_and_kaggle_write(tmp_path):
    for split in ("train", "valid"):
        at(tmp_path / "roboflow" / split, ["a_jpg.rf.1", "b_jpg.rf.2"])
        for name in ("a_jpg.rf.1", "b_jpg.rf.2"):
            image(tmp_path / "roboflow" / split / f"{name}.jpg")
    assert lengths(tmp_path / "roboflow") == {"train": 2, "val": 2}
    at(tmp_path / "labelimg", ["my a", "my b"])
    at(tmp_path / "kaggle" / "annotations", ["my a", "my b"])
    for name in ("my a", "my b"):
        image(tmp_path / "labelimg" / f"{name}.JPG")
        image(tmp_path / "kaggle" / "images" / f"{name}.png")
    assert lengths(tmp_path / "labelimg") == lengths(tmp_path / "kaggle") == {"train": 2}
    (tmp_path / "kaggle" / "train.txt").write_text("my a\n", encoding="utf-8")
    (tmp_path / "kaggle" / "Val.TXT").write_text("images/my b.png annotations/my b.xml\n")
    assert lengths(tmp_path / "kaggle") == {"train": 1, "val": 1}


def test_upper_case_suffixes_and_images_in_another_folder(tmp_path):
    at(tmp_path / "Training" / "xml", ["a"])
    image(tmp_path / "Training" / "photos of cats" / "a.PNG")
    at(tmp_path / "Testing" / "xml", ["a"])
    image(tmp_path / "Testing" / "photos of cats" / "a.PNG")
    (tmp_path / "Testing/xml/a.xml").rename(tmp_path / "Testing/xml/a.XML")
    assert lengths(tmp_path) == {"train": 1, "test": 1}


def test_the_annotation_decides_between_two_images_of_its_name(voc):
    root, _ = voc
    image(root / "JPEGImages" / "train_0.jpg")
    with pytest.raises(UserError, match=r"got .*train_0\.jpg and .*train_0\.png; try removing"):
        open_voc(str(root), None, 4)
    annotate(root, xml([("dot", (1, 1, 3, 5))], extra="<filename>C:\\x\\train_0.png</filename>"))
    other = open_voc(str(root), None, 4)["train"][0]["image"]
    annotate(root, xml([("dot", (1, 1, 3, 5))], extra="<filename>train_0.jpg</filename>"))
    assert (open_voc(str(root), None, 4)["train"][0]["image"] == 9).all()
    assert other.max() > 9


def test_two_annotations_of_an_image_are_refused_by_both_names(tmp_path):
    at(tmp_path / "a", ["x"])
    at(tmp_path / "b", ["x"])
    image(tmp_path / "c" / "x.jpg")
    with pytest.raises(UserError, match=r"annotation of c/x\.jpg in .*, got a/x\.xml and b/x\.xml"):
        lengths(tmp_path)


def test_an_image_whose_size_is_not_annotated_is_measured(tmp_path):
    text = xml([("dot", (1, 1, 9, 9))], size=(0, 0))
    for name, found in (
        ("a", text),
        ("b", text[: text.index("<size>")] + text[text.index("<obj") :]),
    ):
        image(tmp_path / f"{name}.jpg", (32, 24))
        (tmp_path / f"{name}.xml").write_text(found, encoding="utf-8")
    train = open_voc(str(tmp_path), (48, 64), 1)["train"]
    assert [row["boxes"].tolist() for row in (train[0], train[1])] == [[[2, 2, 18, 18]]] * 2


def test_images_without_an_annotation_are_counted(tmp_path, caplog):
    at(tmp_path, ["a"])
    image(tmp_path / "a.jpg")
    image(tmp_path / "b.jpg")
    assert lengths(tmp_path) == {"train": 1}
    assert "1 images without an annotation are left out, such as b.jpg" in caplog.text
