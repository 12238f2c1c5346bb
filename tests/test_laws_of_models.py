"""Every model under SGD, at a small size.

The sizes, golden values, `remat` and bfloat16 of each stand in tests/models.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import on, some_images
from small_models import MODELS

from imgrec_jax.core import rng, state
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.tasks.classification.task import classify
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.training.step import compiled_steps, parallel


def slow_but(names, quick):
    return [n if n == quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


def over_images(task):
    def scaled(batch):
        return {**batch, "image": jnp.asarray(batch["image"], jnp.float32) / 255.0 - 0.5}

    return transform_inputs(task, training=scaled, scoring=scaled)


def train(name, micro_batches=1):
    """Three steps of SGD on one device; the second batch of an epoch holds 3 valid rows of 16."""
    task = over_images(classify(MODELS[name].make(num_classes=3), num_classes=3))
    optimizer, layout = optax.sgd(0.05), on(1)

    @jax.jit
    def first():
        blank = {"image": np.zeros((1, 16, 16, 3), np.uint8), "mask": np.ones(1, bool)}
        params, model_state = task.init(rng.init_key(jax.random.key(0)), blank)
        return state.create(params, model_state, optimizer.init(params), ema=False)

    program = compiled_steps.TrainProgram(task, optimizer, layout, micro_batches=micro_batches)
    columns = layout.columns(16, micro_batches)
    batches = TrainBatches(some_images(19, size=16), 16, 1, columns=columns)
    start, root = parallel.fetch(first()), layout.replicate(jax.random.key(7))
    current = layout.place(start)
    for step in range(3):
        current, _ = program(current, batches(step), root)
    return start, parallel.fetch(current), program


@pytest.mark.parametrize("name", slow_but(MODELS, "convnet"))
def test_three_steps_are_compiled_once_and_move_every_parameter(name):
    start, after, program = train(name)
    assert program.traces == 1
    for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path((start.params, start.model_state)),
        jax.tree.leaves((after.params, after.model_state)),
        strict=True,
    ):
        assert np.isfinite(new).all()
        assert not np.array_equal(old, new), jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    "name", slow_but([name for name, case in MODELS.items() if not case.batch_norm], "convnet")
)
def test_micro_batches_give_the_same_training(name):
    """What they move parameters by agrees, to a thousandth of the largest move of each array.

    A bias that the next layer takes out has no gradient but rounding: far below all others.
    """
    start, whole, _ = train(name)
    _, parts, _ = train(name, micro_batches=2)
    moves, differences = (
        jax.tree.map(lambda a, b: float(np.abs(a - b).max()), whole.params, other)
        for other in (start.params, parts.params)
    )
    rounding = 1e-6 * max(jax.tree.leaves(moves))
    for (path, move), difference in zip(
        jax.tree_util.tree_leaves_with_path(moves), jax.tree.leaves(differences), strict=True
    ):
        assert difference <= 1e-3 * move + rounding, jax.tree_util.keystr(path)
