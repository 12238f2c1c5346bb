"""Wrappers of sources: what they do not change comes through, whatever they stand on."""

import dataclasses

import numpy as np
import pytest

from imgrec_jax.data.sources.damaged import DamageCounter
from imgrec_jax.data.sources.holdout import Rows, take
from imgrec_jax.data.sources.relabel import Relabelled, relabel
from imgrec_jax.data.sources.source import ArraySource, facts_of, gather, groups_of
from imgrec_jax.data.sources.wrapper import Wrapper, innermost, rebuilt
from imgrec_jax.data.workers.pool import RemoteSource, Workers

FACTS = {"vocabulary": ["a", "b"]}
SOURCE = ArraySource(
    np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1),
    np.array([0, 1, 1, 0, 1], np.int32),
    ("dog", "cat"),
    groups=np.array([4, 3, 2, 1, 0]),
    targets={"tokens": np.arange(10, dtype=np.int32).reshape(5, 2)},
    facts=FACTS,
)


def held(source):
    return Rows(source, np.array([3, 1, 4]))


def relabelled(source):
    return Relabelled(source, ("ant", "cat", "dog"), np.array([2, 1]), frozenset({"label"}))


def remote(source):
    return RemoteSource(source, "train", Workers({"train": source}, 1))  # starts no process


WRAPPERS = {held: Rows, relabelled: Relabelled, DamageCounter: DamageCounter, remote: RemoteSource}


def test_the_tests_below_hold_for_all_wrappers():
    subclasses = {
        kind for kind in Wrapper.__subclasses__() if kind.__module__.startswith("imgrec_jax")
    }
    assert set(WRAPPERS.values()) == subclasses


@pytest.mark.parametrize("wrap", [*WRAPPERS, Wrapper])
def test_facts_and_shape_come_through_and_groups_follow_the_rows(wrap):
    wrapped = wrap(SOURCE)
    assert facts_of(wrapped) == FACTS
    assert wrapped.image_shape == (1, 1, 1)
    rows = [3, 1, 4] if wrap is held else range(5)
    assert len(wrapped) == len(wrapped.labels) == len(rows)
    assert groups_of(wrapped).tolist() == [4 - row for row in rows]
    assert [example["tokens"].tolist() for example in wrapped.__getitems__([2, 0])] == [
        [2 * rows[place], 2 * rows[place] + 1] for place in (2, 0)
    ]
    assert int(wrapped[-1]["image"][0, 0, 0]) == rows[-1]
    with pytest.raises(IndexError):
        wrapped[len(rows)]


def test_facts_come_through_what_makes_new_sources():
    whole = remote(DamageCounter(relabelled(held(SOURCE))))
    assert facts_of(whole) == FACTS
    assert whole.labels.tolist() == [2, 1, 1]
    assert facts_of(relabel(take(SOURCE, np.array([0, 2])), ("cat", "dog"), "npz:x")) == FACTS


def test_the_innermost_source_is_changed_inside_the_same_wrappers():
    counted = DamageCounter(relabelled(held(SOURCE)))
    assert innermost(counted) is SOURCE
    darker = rebuilt(counted, lambda source: dataclasses.replace(source, images=source.images + 9))
    assert type(darker) is DamageCounter
    rows = np.array([0, 2])
    batch = gather(darker, rows)
    assert batch["image"].ravel().tolist() == [12, 13]
    assert batch["label"].tolist() == [2, 1]
    assert gather(counted, rows)["image"].ravel().tolist() == [3, 4]


def test_workers_of_another_source_read_that_one():
    first = remote(SOURCE)
    second = first.over(held(SOURCE))
    assert gather(second, np.array([2]))["image"].ravel().tolist() == [4]
