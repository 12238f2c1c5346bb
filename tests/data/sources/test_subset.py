import numpy as np
import pytest

from imgrec_jax import get_config
from imgrec_jax.build.tasks import open_data
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.holdout import Rows
from imgrec_jax.data.sources.source import ArraySource, gather, groups_of
from imgrec_jax.data.sources.subset import draw_examples, select_classes

LABELS = np.asarray([2, 0, 1, 2, 0, 1, 2, 2], np.int32)
IMAGES = ArraySource(
    np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1),
    LABELS,
    ("Greek/a", "Latin/a", "Latin/b"),
    groups=np.arange(8) // 2,
)
KINDS = pytest.mark.parametrize("source", [IMAGES, Rows(IMAGES, np.arange(8))])


@KINDS
def test_some_classes_are_numbered_from_0(source):
    found = select_classes({"train": source, "test": source}, "Latin/b, Greek*", "x")
    assert list(found) == ["train", "test"]
    some = found["train"]
    assert some.label_names == ("Greek/a", "Latin/b")
    assert some.labels.tolist() == [1, 0, 1, 0, 1, 1]
    batch = gather(some, np.asarray([0, 1, 5]))
    assert batch["label"].tolist() == [1, 0, 1]
    assert batch["image"].reshape(-1).tolist() == [0, 1, 7]
    assert groups_of(some).tolist() == [0, 0, 1, 2, 3, 3]


def test_names_with_commas_and_quotes_are_quoted():
    names = ("tench, Tinca tinca", 'a "b"', "c")
    source = ArraySource(IMAGES.images, LABELS, names)
    chosen = select_classes({"train": source}, 'c, "tench, Tinca tinca"', "x")["train"]
    assert chosen.label_names == ("tench, Tinca tinca", "c")
    assert select_classes({"train": source}, "tench*", "x")["train"].label_names == names[:1]
    with pytest.raises(UsageError, match='try some of "tench, Tinca tinca", "a ""b""", c') as found:
        select_classes({"train": source}, "tench, Tinca tinca", "x")
    listed = str(found.value).partition("try some of ")[2]
    assert select_classes({"train": source}, listed, "x")["train"].label_names == names


def test_a_class_that_is_not_there():
    with pytest.raises(UsageError, match=r"got 'Latin/c'.*try some of Greek/a, Latin/a, Latin/b"):
        select_classes({"train": IMAGES}, "Greek/a,Latin/c", "x")


@KINDS
def test_a_few_examples_of_each_class_by_seed(source):
    draws = [draw_examples(source, 2, seed) for seed in range(20)]
    rows = [gather(draw, np.arange(6))["image"].reshape(-1).tolist() for draw in draws]
    for draw, drawn in zip(draws, rows, strict=True):
        assert np.bincount(draw.labels).tolist() == [2, 2, 2]
        assert drawn == sorted(drawn)
        assert draw.labels.tolist() == LABELS[drawn].tolist()
    pairs = {tuple(row for row in drawn if LABELS[row] == 2) for drawn in rows}
    assert len(pairs) > 3  # of the 6 pairs among 0, 3, 6 and 7
    for seed, drawn in enumerate(rows):
        fewer = gather(draw_examples(source, 1, seed), np.arange(3))["image"].reshape(-1)
        assert set(fewer.tolist()) < set(drawn)


def test_more_examples_than_there_are():
    with pytest.raises(UsageError, match="of 2 at most, which is all that there are of 'Greek/a'"):
        draw_examples(IMAGES, 3, 0)


def test_a_config_asks_for_both_and_a_held_out_part():
    keys = {"data__source": "digits", "data__classes": "7,3", "data__examples_per_class": 10}
    splits = open_data(get_config("base", data__holdout=4, seed=1, **keys))
    assert splits["test"].label_names == ("3", "7")
    assert np.bincount(splits["train"].labels).tolist() == [8, 8]
    assert np.bincount(splits["val"].labels).tolist() == [2, 2]
    assert len(splits["test"]) > 50
    with pytest.raises(UsageError, match="for task 'segment', which cannot use it"):
        open_data(get_config("base", task__name="segment", **{**keys, "data__source": "digits"}))
