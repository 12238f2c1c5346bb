"""Small networks, tasks and data that tests are made of."""

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from imgrec_jax.augment.augmentation import augment_batch
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.geometry import flip, pad_crop
from imgrec_jax.core import rng, state
from imgrec_jax.core.gradient import GradientHook, as_it_is
from imgrec_jax.core.task import Task
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.models.blocks.norm import BatchNorm
from imgrec_jax.tasks.classification.task import classify
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.tasks.wrappers.mixup import cutmix, mix_images, mixup
from imgrec_jax.training.step import compiled_steps, parallel

CLASSES = 3
SKELETONS = Path(__file__).parent / "skeletons"
AUGMENT = compose([pad_crop(pad=1), flip()])


class SmallNet(nn.Module):
    """One convolution and one dense layer, with BatchNorm and dropout between where asked."""

    axis_name: str | None = None
    batch_norm: bool = False
    dropout: float = 0.0
    width: int = 4

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False, mask: Any = None) -> Any:
        # No bias: a norm takes it out, and without one it starts at zero, so that what is compared
        # would be the rounding of a float32 sum over 576 pixels (1e-6 to 3e-6) and nothing else.
        x = nn.Conv(self.width, (3, 3), use_bias=False)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train, mask=mask)
        x = nn.relu(x).mean((1, 2))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(CLASSES)(x)


def some_images(n: int, seed: int = 0, size: int = 6) -> ArraySource:
    """Return n random images whose brightness tells the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, n).astype(np.int32)
    noise = generator.integers(0, 60, (n, size, size, 3))
    images = (noise + 90 * labels[:, None, None, None]).astype(np.uint8)
    return ArraySource(images, labels, tuple("abc"))


def small_task(
    devices: parallel.Parallel,
    *,
    batch_norm: bool = False,
    dropout: float = 0.0,
    width: int = 4,
    augment: Callable[..., Any] | None = None,
    mixing: bool = False,
) -> Task:
    """Return a classification task over uint8 images, mixed by mixup and CutMix if asked for."""
    net = SmallNet(devices.norm_axis, batch_norm, dropout, width)
    task = classify(net, num_classes=CLASSES)
    if mixing:
        task = mix_images(task, [mixup(0.4), cutmix(1.0)])

    def scoring(batch: Any) -> Any:
        names = [name for name in ("image", "partner_image") if name in batch]
        return {**batch, **{name: batch[name].astype(jnp.float32) / 255.0 for name in names}}

    def training(batch: Any) -> Any:
        batch = scoring(batch)
        return batch if augment is None else augment_batch(augment, batch)

    return transform_inputs(task, training=training, scoring=scoring)


def on(devices: int) -> parallel.Parallel:
    """Return the layout over the first host devices: single for one, else pmap."""
    return parallel.choose("single" if devices == 1 else "pmap", jax.devices()[:devices])


def initial_state(
    task: Task, optimizer: optax.GradientTransformation, ema: bool = False
) -> state.TrainState:
    """Return the same first state for every layout."""
    batch = {"image": np.zeros((1, 6, 6, 3), np.uint8), "mask": np.ones(1, bool)}
    params, model_state = task.init(rng.init_key(jax.random.key(0)), batch)
    return state.create(params, model_state, optimizer.init(params), ema=ema)


def train_small(
    source: ArraySource,
    *,
    batch_size: int,
    steps: int = 3,
    devices: int = 1,
    layout: parallel.Parallel | None = None,
    micro_batches: int = 1,
    steps_per_call: int = 1,
    resident: bool = False,
    optimizer: optax.GradientTransformation | None = None,
    ema_decay: float = 0.0,
    fetched: bool = True,
    gradient: GradientHook = as_it_is,
    **task_settings: Any,
) -> tuple[state.TrainState, list[dict[str, np.ndarray]], compiled_steps.TrainProgram]:
    """Train a small network; return state, sums of each call, and the program.

    The state comes back as numpy, unless `fetched` is false.

    `layout` takes the place of single or pmap over the first `devices` devices.
    """
    layout = layout or on(devices)
    optimizer = optimizer or optax.sgd(0.5)
    task = small_task(layout, **task_settings)
    on_device = {"image": source.images, "label": source.labels} if resident else {}
    columns = layout.columns(batch_size, micro_batches)
    batches = TrainBatches(
        source,
        batch_size,
        seed=1,
        resident=resident,
        columns=columns,
        partners=task_settings.get("mixing", False),
    )
    program = compiled_steps.TrainProgram(
        task,
        optimizer,
        layout,
        steps_per_call=steps_per_call,
        micro_batches=micro_batches,
        ema_decay=ema_decay,
        resident=on_device,
        gradient=gradient,
    )
    first = jax.jit(functools.partial(initial_state, task, optimizer, ema_decay > 0))
    current = layout.place(first())
    root = layout.replicate(jax.random.key(7))
    sums = []
    for step in range(0, steps, steps_per_call):
        current, more = program(current, batches(step, steps_per_call), root)
        sums.append(parallel.fetch(more))
    return parallel.fetch(current) if fetched else current, sums, program


def skeleton(name: str) -> Any:
    """Return the module of a skeleton task."""
    if str(SKELETONS) not in sys.path:
        sys.path.insert(0, str(SKELETONS))
    return importlib.import_module(name)


def write_strings(path: Path) -> Path:
    """Write strings of letters and the same in capitals, as tokens; return the path."""
    letters = "abcde"
    vocabulary = ["", *letters, *letters.upper()]
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 256), ("test", 61)):
        length = generator.integers(2, 6, (count, 1))
        tokens = generator.integers(1, 6, (count, 5)) * (np.arange(5) < length)
        arrays[f"{split}_tokens"] = tokens.astype(np.int32)
        arrays[f"{split}_target_tokens"] = np.where(tokens > 0, tokens + 5, 0).astype(np.int32)
    np.savez(path, vocabulary=np.array(vocabulary), **arrays)
    return path
