"""Samplers plan batches as functions of (seed, step)."""

import numpy as np
import pytest

from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.loading.samplers import make_sampler
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.data.sources.wrapper import Wrapper

LABELS = np.repeat(np.arange(6), [9, 8, 7, 6, 5, 2]).astype(np.int32)


def sampler(text, batch_size=4, seed=0, labels=LABELS):
    settings = {"size": len(labels), "batch_size": batch_size, "seed": seed, "labels": labels}
    return make_sampler(text, "data.sampling", **settings)


def test_an_episode_holds_its_ways_with_shots_and_queries():
    """Of classes that have enough: the last one, with two examples, never comes."""
    plan = sampler("episodes(ways=3, shots=2, queries=3, episodes=10)").plan(1)
    assert plan["index"].shape == (4, 15)
    assert plan["mask"].all()
    for index, label, support in zip(
        plan["index"], plan["episode_label"], plan["support"], strict=True
    ):
        assert len(set(index.tolist())) == 15
        classes = LABELS[index].reshape(3, 5)
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0].tolist())) == 3
        assert 5 not in classes
        assert label.tolist() == [0] * 5 + [1] * 5 + [2] * 5
        assert support.tolist() == [True, True, False, False, False] * 3


def test_episodes_are_a_function_of_seed_and_number():
    """The same episodes in batches of another size, and others in the next epoch."""
    text = "episodes(ways=2, shots=1, queries=2, episodes=6)"
    by_four = [sampler(text).plan(step) for step in range(4)]
    by_three = [sampler(text, batch_size=3).plan(step) for step in range(4)]
    rows = [np.concatenate([p["index"][p["mask"]] for p in plans]) for plans in (by_four, by_three)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert len({tuple(row) for row in rows[0].tolist()}) == 12
    assert not np.array_equal(sampler(text, seed=1).plan(0)["index"], by_four[0]["index"])
    assert [int(p["mask"].sum()) for p in by_four] == [4, 2, 4, 2]
    assert (by_four[2]["epoch"][0] == 6).all()


def test_over_many_episodes_every_class_comes_equally_often():
    plan = sampler("episodes(ways=2, shots=1, queries=1, episodes=3000)", batch_size=3000).plan(0)
    counts = np.bincount(LABELS[plan["index"][:, ::2]].reshape(-1), minlength=6)
    np.testing.assert_allclose(counts, 1000, rtol=0.12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("episodes(ways=6, shots=1, queries=2)", "expected 6 classes with 3 examples or more"),
        ("episodes(ways=0)", "from 1 to 10000, got 0; try 5"),
        ("episodes(way=5)", "data.sampling 'episodes'.*did you mean 'ways'"),
        ("shufle", "did you mean 'shuffle'"),
        ("shuffle|balanced", "expected one sampler in data.sampling"),
    ],
)
def test_what_cannot_be_sampled_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        sampler(text)


def test_batches_of_episodes_hold_the_images_of_their_rows():
    images = np.arange(len(LABELS), dtype=np.uint8).reshape(-1, 1, 1, 1)
    source = ArraySource(images, LABELS, tuple("abcdef"))
    text = "episodes(ways=2, shots=1, queries=1, episodes=3)"
    batch = TrainBatches(source, 2, seed=0, sampling=text)(0)
    np.testing.assert_array_equal(batch["image"][..., 0, 0, 0], batch["index"])
    np.testing.assert_array_equal(batch["label"], LABELS[batch["index"]])
    scored = EvalBatches(source, 2, sampling=text)
    assert len(scored) == 2
    assert scored(1)["mask"].tolist() == [True, False]


def test_repeats_lengthen_an_epoch_by_visits_with_numbers_of_their_own():
    """Visit k of a run of repeats is epoch k of one without."""
    repeated, plain = (
        sampler("shuffle(repeats=3)", batch_size=10),
        sampler("shuffle", batch_size=37),
    )
    assert repeated.steps_per_epoch == 12  # of 111 rows
    assert repeated.examples(12) == 111
    for epoch in (0, 1):
        plans = [repeated.plan(12 * epoch + step) for step in range(12)]
        assert [int(plan["mask"].sum()) for plan in plans] == [10] * 11 + [1]
        rows, visits = (
            np.concatenate([plan[name][plan["mask"]] for plan in plans])
            for name in ("index", "epoch")
        )
        np.testing.assert_array_equal(visits, 3 * epoch + np.arange(111) // 37)
        expected = [plain.plan(3 * epoch + visit)["index"] for visit in range(3)]
        np.testing.assert_array_equal(rows, np.concatenate(expected))


def two_sources(text="two_sources(ratio=3)", unlabelled=10, batch_size=4, seed=0):
    settings = {"size": len(LABELS), "batch_size": batch_size, "seed": seed, "labels": LABELS}
    return make_sampler(text, "data.sampling", **settings, unlabelled=unlabelled)


def test_unlabelled_rows_go_through_their_source_again_and_again():
    """In batches of 12, of 10 examples: each pass has all of them, in an order of its own."""
    plans = [two_sources().plan(step) for step in range(5)]
    rows = np.concatenate([plan["unlabelled_index"].reshape(-1) for plan in plans])
    epochs = np.concatenate([plan["unlabelled_epoch"].reshape(-1) for plan in plans])
    passes = rows.reshape(6, 10) - len(LABELS)
    np.testing.assert_array_equal(np.sort(passes), np.arange(10) + np.zeros((6, 1)))
    assert len({tuple(one) for one in passes.tolist()}) == 6
    np.testing.assert_array_equal(epochs, np.arange(60) // 10)


def test_unlabelled_rows_leave_the_labelled_ones_as_they_are():
    for text, plain in (("two_sources(2)", "shuffle"), ("two_sources(2, True)", "balanced")):
        mixed, alone = two_sources(text).plan(9), sampler(plain).plan(9)
        for name, array in alone.items():
            np.testing.assert_array_equal(mixed[name], array)
        assert mixed["mask"].tolist() == mixed["unlabelled_mask"].all(1).tolist()
        assert mixed["mask"].tolist() == mixed["unlabelled_mask"].any(1).tolist()
        assert not mixed["mask"].all()  # the last batch of an epoch of 37


class Damaged(Wrapper):
    """A source whose row 3 cannot be read."""

    def read(self, rows, epochs):
        broken = np.where(rows == 3, "row 3 is damaged", "")
        return {**super().read(rows, epochs), "broken": broken}


def test_no_label_of_an_unlabelled_example_reaches_the_batch():
    images = np.arange(len(LABELS), dtype=np.uint8).reshape(-1, 1, 1, 1)
    labelled = ArraySource(images, LABELS, tuple("abcdef"))
    other = ArraySource(
        100 + images[:10], LABELS[:10], tuple("xyz"), targets={"label_map": images[:10, ..., 0]}
    )
    batches = TrainBatches(
        labelled, 4, seed=0, sampling="two_sources(ratio=3)", unlabelled=Damaged(other)
    )
    batch = batches(2, steps=2)
    rows = batch["unlabelled_index"] - len(LABELS)
    np.testing.assert_array_equal(batch["unlabelled_image"][..., 0, 0, 0], 100 + rows)
    np.testing.assert_array_equal(batch["unlabelled_mask"], rows != 3)
    assert (rows == 3).any()
    assert {name for name in batch if name.startswith("unlabelled_")} == {
        f"unlabelled_{name}" for name in ("image", "index", "epoch", "mask")
    }
    assert batches.first_example().keys() == {"image", "label"}


def test_a_second_source_and_its_sampler_need_each_other():
    with pytest.raises(UsageError, match=r"two_sources\(ratio=.* from 1 to 10000, got 0"):
        two_sources("two_sources(0)")
    source = ArraySource(np.zeros((37, 2, 2, 1), np.uint8), LABELS, tuple("abcdef"))
    with pytest.raises(UsageError, match=r"expected data.unlabelled='' for"):
        TrainBatches(source, 4, seed=0, unlabelled=source)


def test_a_first_example_has_the_fields_of_a_batch_and_nothing_of_its_plan():
    source = ArraySource(np.zeros((37, 2, 2, 1), np.uint8), LABELS, tuple("abcdef"))
    plain = TrainBatches(source, 4, seed=0, partners=True).first_example()
    assert {name: array.shape for name, array in plain.items()} == {
        "image": (1, 2, 2, 1),
        "label": (1,),
    }
    text = "episodes(ways=2, shots=1, queries=1)"
    episodes = TrainBatches(source, 4, seed=0, sampling=text).first_example()
    assert episodes["image"].shape == (1, 4, 2, 2, 1)
    assert episodes.keys() == {"image", "label", "episode_label", "support"}
