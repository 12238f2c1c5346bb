"""Evaluators: each at its own cadence, their scores together, features scored beside a run."""

import jax
import numpy as np
import pytest
from small import on

from imgrec_jax import get_config
from imgrec_jax.build.evaluators import Scored, build_evaluators
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Score, Task
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.tasks import per_example
from imgrec_jax.training.evaluate import Evaluation
from imgrec_jax.training.evaluators import Evaluator, by_split


def points(values, labels):
    """Return images of one pixel, whose two channels are where they lie."""
    images = np.asarray(values, np.uint8).reshape(-1, 1, 1, 2)
    return ArraySource(images, np.asarray(labels, np.int32), ("a", "b"))


def nothing(*arguments):
    raise AssertionError("not asked for in evaluation")


def features_of(spoil=1.0):
    """Return the task whose features are the pixels of an image times a parameter."""

    def predict(params, model_state, batch):
        return {"features": batch["image"].reshape(len(batch["image"]), -1) * params * spoil}

    return Task(
        nothing, nothing, nothing, predict, lambda o, b: per_example.sums({}, b),
        per_example.means, Score("none"),
    )  # fmt: skip


SPLITS = {
    "train": points([[9, 1], [8, 1], [9, 2], [1, 9], [1, 8]], [0, 0, 0, 1, 1]),
    "test": points([[7, 1], [1, 7], [2, 9], [9, 3]], [0, 1, 1, 1]),
}


@pytest.mark.parametrize("devices", [1, 4])
def test_the_nearest_neighbours_vote_by_hand(devices):
    """By angle the last point is of the first class; its label is of the second: 3 of 4."""
    config = get_config("base", evaluators="neighbours(k=1, every=2)", eval_batch_size=4)
    (evaluator,) = build_evaluators(Scored(features_of(), config, on(devices), SPLITS))
    found = evaluator.run(np.float32(1.0), {})
    assert {name: found[name].metrics for name in found} == {"test": {"neighbours": 0.75}}
    assert evaluator.scores == (Score("neighbours"),)
    assert evaluator.every == 2


def test_examples_of_train_may_be_fewer():
    """Of two evenly spaced ones the first and the last: one of each class."""
    config = get_config("base", evaluators="neighbours(k=1, examples=2)|linear_probe")
    first, second = build_evaluators(Scored(features_of(), config, on(1), SPLITS))
    assert first.run(np.float32(1.0), {})["test"].metrics["neighbours"] == 0.75
    assert set(second.run(np.float32(1.0), {})["test"].metrics) == {"linear_probe"}


def test_a_task_without_features_cannot_be_probed():
    task = features_of()
    bare = Task(
        nothing, nothing, nothing, lambda p, s, b: b["image"], task.metric_sums,
        per_example.means, Score("none"),
    )  # fmt: skip
    config = get_config("base", evaluators="neighbours")
    (evaluator,) = build_evaluators(Scored(bare, config, on(1), SPLITS))
    with pytest.raises(UsageError, match="expected a task whose outputs hold 'features'"):
        evaluator.run(np.float32(1.0), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neighbour", "did you mean 'neighbours'"),
        ("neighbours(every=0)", r"expected neighbours\(every=\.\.\.\) to be a whole number from 1"),
    ],
)
def test_what_is_no_evaluator_is_refused(text, message):
    config = get_config("base", evaluators=text)
    with pytest.raises(UsageError, match=message):
        build_evaluators(Scored(features_of(), config, on(1), SPLITS))


def test_an_evaluator_is_due_at_its_cadence_and_at_the_end():
    evaluator = Evaluator("probe", 3, jax.device_get)
    assert [epoch for epoch in range(1, 9) if evaluator.due(epoch, 8)] == [3, 6, 8]


def test_scores_of_a_split_stand_together_and_its_rows_are_those_of_the_pass():
    rows = {"label": np.arange(3)}
    found = by_split(
        [
            {"test": Evaluation({"loss": 1.0}, {"n": np.int64(3)}, rows)},
            {
                "test": Evaluation({"neighbours": 0.5}, {}, {}),
                "val": Evaluation({"a": 2.0}, {}, {}),
            },
        ]
    )
    assert found["test"].metrics == {"loss": 1.0, "neighbours": 0.5}
    assert found["test"].rows is rows
    assert found["val"].metrics == {"a": 2.0}
