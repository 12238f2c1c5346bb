"""Every model under SGD, at a small size: add a line to MODELS and both invariants are tested.

The sizes, golden values, `remat` and bfloat16 of each stand in tests/models.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import on, pictures

from imgrec_jax.core import rng, state
from imgrec_jax.data.batches import TrainBatches
from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.models.convnext import ConvNeXt
from imgrec_jax.models.mixer import Mixer
from imgrec_jax.models.mobile import Stage, efficientnet_b0, mobilenet_v2
from imgrec_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from imgrec_jax.models.vit import ViT
from imgrec_jax.models.wide_resnet import WideResNet
from imgrec_jax.tasks.classify import classify
from imgrec_jax.tasks.inputs import transform_inputs
from imgrec_jax.training import parallel


class Case(NamedTuple):
    """A model for 16x16 pictures of three classes, and whether it has BatchNorm."""

    make: Any
    batch_norm: bool = True


EDGE = {
    "stages": (Stage(1, 8, 1, 1), Stage(6, 8, 2, 2)),
    "stem": 8,
    "top": 16,
    "dropout": 0.0,
    "stochastic_depth": 0.0,
}
MIXER = {"patch": 4, "width": 16, "depth": 2, "tokens_hidden": 8, "channels_hidden": 32}
NEXT = {"stage_sizes": (1, 1), "widths": (8, 16), "layer_scale": 1.0}
MODELS = {
    "convnet": Case(functools.partial(ConvNet, width=4, hidden=8), batch_norm=False),
    "convnext": Case(functools.partial(ConvNeXt, **NEXT), batch_norm=False),
    "efficientnet": Case(functools.partial(efficientnet_b0, **EDGE)),
    "mixer": Case(functools.partial(Mixer, **MIXER), batch_norm=False),
    "mobilenet": Case(functools.partial(mobilenet_v2, **EDGE)),
    "resnet18": Case(functools.partial(ResNet, (1, 1), BasicBlock, width=4, stem="cifar")),
    "resnet50": Case(functools.partial(ResNet, (1, 1), Bottleneck, width=4)),
    "vit": Case(functools.partial(ViT, patch=4, width=16, depth=2, heads=2), batch_norm=False),
    "wide_resnet": Case(functools.partial(WideResNet, blocks=1, width=4)),
}


def slow_but(names, quick):
    return [n if n == quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


def over_pictures(task):
    def scaled(batch):
        return {**batch, "image": jnp.asarray(batch["image"], jnp.float32) / 255.0 - 0.5}

    return transform_inputs(task, training=scaled, scoring=scaled)


def train(name, micro_batches=1):
    """Three steps of SGD on one device; the second batch of an epoch holds 3 valid rows of 16."""
    task = over_pictures(classify(MODELS[name].make(num_classes=3), num_classes=3))
    optimizer, layout = optax.sgd(0.05), on(1)

    @jax.jit
    def first():
        blank = {"image": np.zeros((1, 16, 16, 3), np.uint8), "mask": np.ones(1, bool)}
        params, model_state = task.init(rng.init_key(jax.random.key(0)), blank)
        return state.create(params, model_state, optimizer.init(params), ema=False)

    program = parallel.TrainProgram(task, optimizer, layout, micro_batches=micro_batches)
    columns = layout.columns(16, micro_batches)
    batches = TrainBatches(pictures(19, size=16), 16, 1, columns=columns)
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
