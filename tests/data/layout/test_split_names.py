"""One table of split names: any case, whole words, the usual synonyms."""

import pytest

from imgrec_jax.data.layout.split_names import split_in, split_of, splits_among, without_overlaps


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train TRAIN Training trainset train_images images-train train2017 trainval"),
        ("train", "Train_Set_1 TrainImages train-val trn trainA training_data_v2 训练集"),
        ("val", "val valid Validation VAL valset val_images dev validating val2017 验证集"),
        ("test", "test Testing test1 test_set testB TestImages eval evaluation test-dev2017 测试"),
        ("", "latest trainer retrieval contest interval protest value station validity cat 1 été"),
        ("", "test_tube train_station val_and_eva train_test_split images"),
    ],
)
def test_a_name_means_a_split_as_a_whole(split, names):
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "instances_train2017 mnist_train PrivateTraining instances_trainval"),
        ("val", "instances_val2017 person_keypoints_val my-valid.coco"),
        ("test", "PublicTest PrivateTest image_info_test-dev2017 coco_test_v3"),
        ("", "latest retrieval result _annotations.coco greatest"),
    ],
)
def test_a_word_of_a_longer_name(split, names):
    assert {name: split_in(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_names_that_share_their_other_words():
    assert splits_among(["cars_train", "cars_test"]) == {"cars_train": "train", "cars_test": "test"}
    assert splits_among(["Training", "valid"]) == {"Training": "train", "valid": "val"}
    assert splits_among(["train station", "test tube", "cat"]) == {}
    assert splits_among(["train", "cat"]) == {"train": "train"}
    seg = ["seg_train", "seg_test", "seg_pred"]
    assert splits_among(seg) == {"seg_train": "train", "seg_test": "test"}


def test_train_and_val_together_overlap_with_neither():
    names = {"train": "train", "val": "val", "trainval": "train", "test": "test"}
    assert list(without_overlaps(names)) == ["train", "val", "test"]
    del names["train"]
    assert list(without_overlaps(names)) == ["trainval", "test"]
    assert list(without_overlaps({"a/train-val.txt": "train", "b/VAL": "val"})) == [
        "a/train-val.txt"
    ]
    assert list(without_overlaps({"train": "train", "val": "val"})) == ["train", "val"]
