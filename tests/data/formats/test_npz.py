"""Data sets in one .npz file."""

import re

import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError, UserError
from imgrec_jax.data.formats.npz import open_npz

GREY = np.arange(4 * 6 * 5, dtype=np.uint8).reshape(4, 6, 5)
COLOR = np.stack([GREY, GREY + 1, GREY + 2], -1)
LABELS = np.array([1, 0, 2, 1])


def saved(tmp_path, **arrays):
    path = tmp_path / "数据.npz"
    np.savez(path, **arrays)
    return path


def refusal(path, kind=UserError):
    with pytest.raises(UserError) as caught:
        open_npz(str(path))
    assert type(caught.value) is kind
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("expected ")
    where = rf"in {re.escape(str(path))}(, '\w+', row \d)?; try "
    assert re.search(where, message) or kind is UsageError
    return message


@pytest.mark.parametrize(
    "keys",
    [
        {"train": ("x_train", "y_train"), "val": ("x_val", "y_val"), "test": ("x_test", "y_test")},
        {s: (f"{s}_images", f"{s}_labels") for s in ("train", "val", "test")},
        {"train": ("images", "labels")},
        {"train": ("images", "labels"), "test": ("x_test", "y_test")},
    ],
)
def test_three_ways_to_name_the_arrays(tmp_path, keys):
    arrays = {}
    for number, (images, labels) in enumerate(keys.values()):
        arrays |= {images: COLOR + 10 * number, labels: LABELS}
    splits = open_npz(str(saved(tmp_path, unrelated=np.zeros(3), **arrays)))
    assert list(splits) == list(keys)
    for number, source in enumerate(splits.values()):
        assert source.image_shape == (6, 5, 3)
        assert source.labels.tolist() == [1, 0, 2, 1]
        assert source.labels.dtype == np.int32
        assert source.label_names == ("0", "1", "2")
        assert source[0]["image"][0, 1].tolist() == [
            1 + 10 * number,
            2 + 10 * number,
            3 + 10 * number,
        ]


def test_grey_images_have_one_channel_and_labels_may_be_a_column(tmp_path):
    path = saved(tmp_path, images=GREY, labels=LABELS[:, None].astype(np.uint8))
    source = open_npz(str(path))["train"]
    assert source.image_shape == (6, 5, 1)
    assert source[1]["image"][0].tolist() == [[30], [31], [32], [33], [34]]
    assert source.labels.tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "label_names"),
    [
        (LABELS.astype(float), ("0", "1", "2")),
        (np.eye(3)[LABELS], ("0", "1", "2")),
        (LABELS[:, None].astype(np.float16), ("0", "1", "2")),
        (LABELS + 1, ("1", "2", "3")),
        (LABELS.astype(np.uint64) + 2**63, tuple(str(2**63 + k) for k in range(3))),
        (np.array(["dog", "cat", "eel", "dog"]), ("cat", "dog", "eel")),
        (np.array([b"dog", b"cat", b"eel", b"dog"]), ("cat", "dog", "eel")),
        (np.array([5, -0.0, 10**15, 5]), ("0", "5", str(10**15))),
    ],
)
def test_labels_whose_meaning_is_plain(tmp_path, labels, label_names):
    source = open_npz(str(saved(tmp_path, images=GREY, labels=labels)))["train"]
    assert source.label_names == label_names
    assert source.labels.tolist() == [1, 0, 2, 1]
    assert source.labels.dtype == np.int32


def test_true_and_false_and_signs_are_two_classes(tmp_path):
    for labels, names in (
        (LABELS == 1, ("False", "True")),
        (np.where(LABELS == 1, 1, -1), ("-1", "1")),
    ):
        source = open_npz(str(saved(tmp_path, images=GREY, labels=labels)))["train"]
        assert (source.label_names, source.labels.tolist()) == (names, [1, 0, 0, 1])


def test_label_names_are_taken(tmp_path):
    names = np.array(["猫", "狗", "鸟", "never seen"])
    source = open_npz(str(saved(tmp_path, images=GREY, labels=LABELS, label_names=names)))["train"]
    assert source.label_names == ("猫", "狗", "鸟", "never seen")


def test_images_can_be_resized(tmp_path):
    path = saved(tmp_path, images=np.full((4, 6, 5), 9, np.uint8), labels=LABELS)
    source = open_npz(str(path), image_size=2)["train"]
    assert source.image_shape == (2, 2, 1)
    assert np.unique(source[0]["image"]).tolist() == [9]


@pytest.mark.parametrize(
    ("arrays", "excerpt"),
    [
        ({"images": GREY / 255, "labels": LABELS}, "'images' to be uint8 .* got float64 .4, 6, 5."),
        ({"images": GREY.astype(int), "labels": LABELS}, r"got int64 \[4, 6, 5\]"),
        ({"images": GREY[0], "labels": LABELS}, r"got uint8 \[6, 5\]"),
        ({"images": COLOR.transpose(0, 3, 1, 2), "labels": LABELS}, "4, 3, 6, 5.* channels last"),
        ({"images": GREY[:0], "labels": LABELS[:0]}, r"got uint8 \[0, 6, 5\]"),
        ({"images": GREY, "labels": LABELS[:3]}, "got 4 in 'images' and 3 in 'labels'"),
        ({"images": GREY}, "'images' with 'labels', got no 'labels'"),
        ({"x_train": GREY, "y_train": LABELS, "y_test": LABELS}, "got no 'x_test'"),
        ({"images": GREY, "labels": LABELS / 2}, "a whole number .* 0.5 in .*'labels', row 0; "),
        ({"images": GREY, "labels": np.ones((4, 2))}, "got a list of 2 in .*'labels', row 0; try"),
        ({"images": GREY, "labels": np.zeros((4, 2, 1))}, "got float64 .4, 2, 1"),
        ({"images": GREY, "labels": LABELS - 1}, "a label for each image, got -1 in .*row 1; try"),
        ({"images": GREY, "labels": LABELS - 2}, "got -2 in .*'labels', row 1; try"),
        ({"images": GREY, "labels": LABELS + np.nan}, "a label for each image, got nan in .*row 0"),
        (
            {"images": GREY, "labels": LABELS, "label_names": np.array(["a", "b"])},
            "of the 2 classes .a, b., got '2' in .*'labels', row 2; try",
        ),
        ({"images": GREY, "labels": LABELS, "label_names": np.arange(3)}, "strings .* got int64"),
        (
            {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": LABELS + 1},
            "of the 3 classes .0, 1, 2., got '3' in .*'y_test', row 2; try",
        ),
        (
            {"x_train": GREY, "y_train": LABELS, "x_test": COLOR, "y_test": LABELS},
            "one shape, got .*train.*6, 5, 1.*test.*6, 5, 3",
        ),
        ({"x_train": GREY, "y_train": LABELS, "images": GREY, "labels": LABELS}, "one pair"),
        ({"a": GREY, "b": LABELS}, "named x_train and y_train, got a, b"),
        ({}, "got nothing"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_data_set(tmp_path, arrays, excerpt):
    assert re.search(excerpt, refusal(saved(tmp_path, **arrays)))


@pytest.mark.parametrize("key", ["images", "labels", "label_names"])
def test_pickled_objects_are_never_loaded(tmp_path, key):
    arrays = {"images": GREY, "labels": LABELS, "label_names": np.array(["a", "b", "c"])}
    arrays[key] = np.array([Bomb()], object)
    assert "plain arrays, got pickled objects" in refusal(saved(tmp_path, **arrays))


class Bomb:
    """Would end the test if it were unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_damaged_files_and_other_files(tmp_path):
    path = saved(tmp_path, images=GREY, labels=LABELS)
    whole = path.read_bytes()
    at = whole.index(GREY.tobytes())
    path.write_bytes(whole[:at] + b"????" + whole[at + 4 :])
    assert "an intact .npz file, got Bad CRC-32" in refusal(path)
    for data in (whole[:-30], b"", b"a,b\n1,2\n", b"\x80\x04."):
        path.write_bytes(data)
        assert "an intact .npz file, got another kind of file" in refusal(path)
    np.save(tmp_path / "single.npy", GREY)
    assert "another kind of file" in refusal(tmp_path / "single.npy")
    assert "another kind of file" in refusal(tmp_path)


def test_header_that_claims_more_than_there_is_memory(tmp_path):
    path = saved(tmp_path, images=GREY, labels=LABELS)
    data = path.read_bytes().replace(b"(4, 6, 5), }" + b" " * 11, b"(4" + b"0" * 11 + b", 6, 5), }")
    path.write_bytes(data)
    assert "an intact .npz file, got " in refusal(path)


def test_path_that_does_not_exist(tmp_path):
    saved(tmp_path, images=GREY, labels=LABELS)
    message = refusal(tmp_path / "数据.npy", UsageError)
    assert "after 'npz:', got" in message
    assert "did you mean '数据.npz'?" in message


def test_split_names_in_the_names_of_arrays(tmp_path):
    images, labels = np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 1])
    arrays = {"X_Train": images, "Y_Train": labels, "valid_images": images, "valid_labels": labels}
    np.savez(tmp_path / "x.npz", **arrays, testing_images=images, testing_labels=labels)
    assert list(open_npz(str(tmp_path / "x.npz"))) == ["train", "val", "test"]
    np.savez(tmp_path / "y.npz", **arrays, x_train=images)
    with pytest.raises(UserError, match="one array for x_train, got 'X_Train' and 'x_train'"):
        open_npz(str(tmp_path / "y.npz"))


def test_a_test_split_alone(tmp_path):
    np.savez(tmp_path / "x.npz", x_test=np.zeros((2, 4, 4), np.uint8), y_test=[3, 3])
    test = open_npz(str(tmp_path / "x.npz"))["test"]
    assert {test.label_names[k] for k in test.labels} == {"3"}
