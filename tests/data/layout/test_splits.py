"""Splits are read by one table of names from folders, archives, lists and columns."""

import pytest
from test_tables import FLAT, labelled, write

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.formats.folder import open_folder

TWO_SPLITS = {"train": {1: "cat", 2: "dog"}, "test": {3: "cat", 4: "dog"}}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training/{}", "Testing/{}"),
        ("train_images/{}", "TestImages/{}"),
        ("cars_train/{}", "cars_test/{}"),
        ("set/Trainset/{}", "set/testset/{}"),
        ("trainval/{}", "test1/{}"),
        ("seg_train/seg_train/{}", "seg_test/seg_test/{}"),
        ("{}/train", "{}/test"),
        ("\u8bad\u7ec3\u96c6/{}", "\u6d4b\u8bd5\u96c6/{}"),
    ],
)
def test_split_folders_have_many_names_above_or_below_the_classes(tmp_path, train, test):
    names = [f"{way.format(c)}/1.png" for way in (train, test) for c in ("cat", "dog")]
    assert labelled(write(tmp_path, dict(zip(names, (1, 2, 3, 4), strict=True)))) == TWO_SPLITS


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (("cat", "dog", "Testing"), "Testing"),
        (("cat/test", "dog/1"), "test"),
        (("seg_train/cat", "seg_test/cat", "seg_pred"), "seg_test"),
    ],
)
def test_split_folders_among_class_folders_are_refused(tmp_path, folders, named):
    root = write(tmp_path, {f"{folder}/{k}.png": 1 for k, folder in enumerate(folders)})
    with pytest.raises(UserError, match=f"got '{named}' beside"):
        open_folder(str(root))


def test_classes_whose_names_hold_such_a_word_stay_classes(tmp_path):
    files = {"train station/1.png": 1, "test tube/1.png": 2, "cat/1.png": 3}
    names = {1: "train station", 2: "test tube", 3: "cat"}
    assert labelled(write(tmp_path, files)) == {"train": names}


def test_a_table_of_labels_leaves_the_images_of_a_test_folder_in_test(tmp_path):
    files = {"images/a.png": 1, "images/b.png": 2, "Testing/c.png": 3, "Testing/d.png": 4}
    table = "image,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"
    assert labelled(write(tmp_path, files | {"labels.csv": table})) == TWO_SPLITS
    (tmp_path / "Testing").rename(tmp_path / "test")
    (tmp_path / "images").rename(tmp_path / "Train")
    write(tmp_path, {"preview.png": 9})
    assert labelled(tmp_path) == TWO_SPLITS


@pytest.mark.parametrize(
    "header", ["split", "Usage", "subset", "data set"], ids=lambda header: header
)
def test_a_column_of_splits_by_any_name(tmp_path, header):
    table = f"image,label,{header}\na,cat,Training\nb,dog,TRAIN\nc.x,cat,PublicTest\nd,dog,testing"
    assert labelled(write(tmp_path, FLAT | {"labels.csv": table})) == TWO_SPLITS


def test_a_column_of_split_names_under_an_unknown_heading(tmp_path):
    table = "image,label,Fold\na,cat,train\nb,dog,train\nc.x,cat,test\nd,dog,test"
    assert labelled(write(tmp_path, FLAT | {"labels.csv": table})) == TWO_SPLITS


@pytest.mark.parametrize(
    ("header", "train", "test"),
    [("is_test", "0", "1"), ("is_train", "True", "False"), ("isTraining", "yes", "no")],
)
def test_a_column_that_flags_a_split(tmp_path, header, train, test):
    rows = f"a,cat,{train}\nb,dog,{train}\nc.x,cat,{test}\nd,dog,{test}"
    table = f"image,label,{header}\n{rows}"
    assert labelled(write(tmp_path, FLAT | {"labels.csv": table})) == TWO_SPLITS


def test_a_column_under_another_heading_that_holds_other_words_is_no_split(tmp_path):
    table = "image,label,dataset\na,cat,coco\nb,dog,train\nc.x,cat,x\nd,dog,x"
    assert list(labelled(write(tmp_path, FLAT | {"labels.csv": table}))) == ["train"]


@pytest.mark.parametrize(
    ("train", "test"), [("Train.txt", "TEST.TXT"), ("training_list.txt", "test_images.txt")]
)
def test_lists_have_many_names(tmp_path, train, test):
    lists = {train: "a.png cat\nb.PNG dog\n", test: "c.x cat\nd dog\n"}
    assert labelled(write(tmp_path, FLAT | lists)) == TWO_SPLITS


def test_a_list_of_train_and_val_is_train_unless_there_is_one_of_train(tmp_path):
    lists = {"trainval.txt": "a cat\nb dog\n", "test.txt": "c.x cat\nd dog\n"}
    assert labelled(write(tmp_path, FLAT | lists)) == TWO_SPLITS
    write(tmp_path, {"train.txt": "a cat\n", "val.txt": "b dog\n"})
    assert labelled(tmp_path)["val"] == {2: "dog"}


def test_names_and_labels_of_a_list_may_have_spaces(tmp_path):
    files = {"my a.png": 1, "b.png": 2, "my.png": 3, "c d e.png": 4}
    text = "my a.png golden retriever\nb.png  tabby cat\nmy\ttabby cat\nc d e golden retriever\n"
    classes = {1: "golden retriever", 2: "tabby cat", 3: "tabby cat", 4: "golden retriever"}
    assert labelled(write(tmp_path, files | {"train.txt": text})) == {"train": classes}
    write(tmp_path, {"train.txt": "my b.png golden retriever\n"})
    with pytest.raises(UserError, match=r"the first 'my b\.png' in"):
        open_folder(str(tmp_path))
