"""The invariants that every task keeps: add a line to TASKS and all of them are tested.

A task is made for a layout, over uint8 images, with augmentation and, where that is asked for,
BatchNorm; its source for a number of examples. Nothing below knows more of any task.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small import AUGMENT, CLASSES, on, skeleton, small_task, some_images, write_strings

from imgrec_jax.augment.augmentation import augment_batch
from imgrec_jax.build import tasks
from imgrec_jax.build.batches import one_pass
from imgrec_jax.build.facts import describe
from imgrec_jax.build.preprocessing import build_augmentations, unit
from imgrec_jax.core import metrics, rng, state
from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import PIXELS, SAMPLES, of_kind
from imgrec_jax.core.task import Task
from imgrec_jax.data.formats.digits import open_digits
from imgrec_jax.data.formats.npz import open_npz
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.models.blocks.norm import BatchNorm
from imgrec_jax.models.super_resolution import ESPCN
from imgrec_jax.tasks.detection.task import detect
from imgrec_jax.tasks.segmentation.task import segment
from imgrec_jax.tasks.super_resolution.task import enlarge
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.training.checkpoints.orbax import Checkpoints
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.step import compiled_steps, parallel


class Case(NamedTuple):
    """A task to hold the invariants against.

    Attributes:
        source: `(examples) -> ArraySource`, with the targets of the task.
        task: `(layout, batch_norm) -> Task` over the source's uint8 images.
        learning_rate: of SGD, at which three steps move every parameter and stay tame.
        sampling: `(examples) -> sampler`, of training and of evaluation.
        unlabelled: examples beside those of the source.
    """

    source: Callable[[int], ArraySource]
    task: Callable[[parallel.Parallel, bool], Task]
    learning_rate: float = 0.5
    sampling: Callable[[int], tuple[str, str]] = lambda n: ("shuffle", "in_order")
    unlabelled: ArraySource | None = None

    def batches(self, examples: int, batch_size: int, columns: Any = ...) -> TrainBatches:
        sampling, _ = self.sampling(examples)
        source = self.source(examples)
        return TrainBatches(
            source,
            batch_size,
            1,
            columns=columns,
            sampling=sampling,
            unlabelled=self.unlabelled,
        )


class Pixels(nn.Module):
    """Two convolutions that keep the resolution: logits of each pixel."""

    axis_name: str | None
    batch_norm: bool

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False, mask: Any = None) -> Any:
        x = nn.Conv(4, (3, 3), use_bias=False)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train, mask=mask)
        return nn.Conv(CLASSES, (3, 3))(nn.relu(x))


class Places(nn.Module):
    """What a dense detector says of the places of one grid, 8 pixels apart."""

    axis_name: str | None
    batch_norm: bool
    strides = (8,)

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False, mask: Any = None) -> Any:
        x = nn.Conv(6, (8, 8), strides=8, use_bias=False)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train, mask=mask)
        x = nn.relu(x).reshape(len(x), -1, 6)
        return {
            "logits": nn.Dense(CLASSES)(x),
            "distances": 8 * jnp.exp(jnp.minimum(nn.Dense(4)(x), 8.0)),
            "quality": nn.Dense(1)(x),
        }


class Queries(nn.Module):
    """What the four places of a grid say as queries, each a box or none, in two versions."""

    axis_name: str | None
    batch_norm: bool
    queries = 4

    @nn.compact
    def __call__(self, x: Any, *, train: bool = False, mask: Any = None) -> Any:
        x = nn.Conv(6, (8, 8), strides=8, use_bias=False)(x)
        if self.batch_norm:
            x = BatchNorm(axis_name=self.axis_name)(x, train=train, mask=mask)
        x = nn.relu(x).reshape(len(x), -1, 6)
        x = jnp.stack([nn.Dense(6)(x), nn.Dense(6)(x)], axis=1)
        return {"logits": nn.Dense(CLASSES + 1)(x), "boxes": nn.sigmoid(nn.Dense(4)(x))}


def scenes(n: int) -> ArraySource:
    """Return n images in bands whose brightness tells the class; some pixels are ignored."""
    generator = np.random.default_rng(0)
    maps = generator.integers(0, CLASSES, (n, 6, 1)).repeat(6, 2).astype(np.uint8)
    noise = generator.integers(0, 60, (n, 6, 6, 3))
    images = (noise + 90 * maps[..., None]).astype(np.uint8)
    # Their number differs from image to image, and so from device to device.
    maps[generator.random(maps.shape) < 0.1 * (np.arange(n) % 3)[:, None, None]] = 255
    return ArraySource(images, np.zeros(n, np.int32), tuple("abc"), targets={"label_map": maps})


def squares(n: int) -> ArraySource:
    """Return n images with none, one or two bright squares, the second of which may not count."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (n, 16, 16, 3)).astype(np.uint8)
    corner = generator.integers(0, 8, (n, 2, 2))
    boxes = np.concatenate([corner, corner + 8], axis=-1).astype(np.float32)
    label = generator.integers(0, CLASSES, (n, 2)).astype(np.int32)
    shown = np.arange(2) < (np.arange(n) % 3)[:, None]
    for i, place in zip(*np.nonzero(shown), strict=True):
        x, y = corner[i, place]
        images[i, y : y + 8, x : x + 8] = 100 + 70 * label[i, place]
    targets = {
        "boxes": boxes * shown[..., None],
        "box_label": label * shown,
        "box_mask": shown,
        "box_ignore": shown & (np.arange(n) % 4 == 3)[:, None] & (np.arange(2) == 1),
    }
    return ArraySource(images, np.zeros(n, np.int32), tuple("abc"), targets=targets)


def over_images(task: Task) -> Task:
    """Return the task over uint8 images, augmented in training."""

    def scoring(batch: Any) -> Any:
        return {**batch, "image": batch["image"].astype(jnp.float32) / 255.0}

    def training(batch: Any) -> Any:
        return augment_batch(AUGMENT, scoring(batch))

    return transform_inputs(task, training=training, scoring=scoring)


def segment_pixels(layout: parallel.Parallel, batch_norm: bool) -> Task:
    net = Pixels(layout.norm_axis, batch_norm)
    losses = "cross_entropy|dice(0.5)|focal(0.1)|lovasz(0.2)"
    task = segment(net, num_classes=CLASSES, loss=losses, class_weights=(1.0, 2.0, 0.5))
    return over_images(task)


def two_resolutions(n: int) -> ArraySource:
    """Return n pairs of noise and a sharper version of it, twice as large."""
    generator = np.random.default_rng(0)
    target = generator.integers(0, 256, (n, 16, 16, 3)).astype(np.uint8)
    image = target.reshape(n, 8, 2, 8, 2, 3).mean((2, 4)).astype(np.uint8)
    labels = np.zeros(n, np.int32)
    return ArraySource(image, labels, ("image",), targets={"target_image": target})


def enlarge_images(layout: parallel.Parallel, batch_norm: bool) -> Task:
    del layout, batch_norm
    # The sign of l1 turns with the rounding where a difference is almost 0.
    task = enlarge(ESPCN(scale=2, widths=(6, 4)), scale=2, loss="l2")

    def scaled(batch: Any) -> Any:
        return {**batch, **{n: unit(image) for n, image in of_kind(batch, PIXELS).items()}}

    return transform_inputs(task, training=scaled, scoring=scaled)


def detect_squares(layout: parallel.Parallel, batch_norm: bool) -> Task:
    net = Places(layout.norm_axis, batch_norm)
    return over_images(detect(net, num_classes=CLASSES, detections=4))


def detect_a_set(layout: parallel.Parallel, batch_norm: bool) -> Task:
    return over_images(detect(Queries(layout.norm_axis, batch_norm), num_classes=CLASSES))


def digits(n: int) -> ArraySource:
    """Return the first n digits of scikit-learn, among them several of each class."""
    source = open_digits()["train"]
    assert isinstance(source, ArraySource)
    return source.take(np.arange(n))


def strings(n: int) -> ArraySource:
    """Return n strings as tokens, with their vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        source = open_npz(str(write_strings(Path(folder) / "strings.npz")))["train"]
    assert isinstance(source, ArraySource)
    return source.take(np.arange(n))


def episodes(n: int) -> tuple[str, str]:
    sampler = f"episodes(ways=3, shots=2, queries=3, episodes={n})"
    return sampler, sampler


def beside_unlabelled(n: int) -> tuple[str, str]:
    """Return the samplers of training with three unlabelled examples per row, and of evaluation."""
    del n
    return "two_sources(ratio=3)", "in_order"


def skeleton_case(name: str, learning_rate: float) -> Case:
    """Return a skeleton task, made from its config as a run makes it."""
    module, of_episodes = skeleton(name), name == "toy_episodes"
    # Episodes draw from all digits, so that their number alone is that of examples.
    source = (
        strings if name == "toy_sequence" else (lambda n: digits(200)) if of_episodes else digits
    )

    def task(layout: parallel.Parallel, batch_norm: bool, micro_batches: int = 1) -> Task:
        del batch_norm
        config = module.get_config()
        config.micro_batches = micro_batches
        facts = describe(config, case.batches(8, 8))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(tasks.TASKS, name, module.SPEC)
            return tasks.build_task(config, facts, layout, build_augmentations(config.augment))

    case = Case(source, task, learning_rate, *[episodes] * of_episodes)
    if name == "toy_semi_supervised":
        case = case._replace(sampling=beside_unlabelled, unlabelled=digits(50))
    return case


SKELETONS = {
    "toy_contrastive": 0.05,
    "toy_diffusion": 0.1,
    "toy_episodes": 0.1,
    "toy_gan": 0.1,
    "toy_semi_supervised": 0.1,
    "toy_sequence": 0.1,
}
TASKS = {
    **{name: skeleton_case(name, rate) for name, rate in SKELETONS.items()},
    "classify": Case(
        some_images, lambda layout, norm: small_task(layout, batch_norm=norm, augment=AUGMENT)
    ),
    "detect": Case(squares, detect_squares, learning_rate=0.05),
    "detect a set": Case(squares, detect_a_set, learning_rate=0.05),
    "segment": Case(scenes, segment_pixels, learning_rate=0.1),
    "super_resolution": Case(two_resolutions, enlarge_images, learning_rate=0.1),
}

# Of classification test_invariants.py says all that, and more; of sets, test_set_detection.py has
# the core.
every_task = pytest.mark.parametrize(
    "name",
    [
        pytest.param("classify", marks=pytest.mark.slow),
        "detect",
        pytest.param("detect a set", marks=pytest.mark.slow),
        "segment",
        pytest.param("super_resolution", marks=pytest.mark.slow),
        *(
            # For time: `make laws` has all of them, and test_skeletons.py runs all of them whole.
            pytest.param(name, marks=[pytest.mark.slow] * (name in {"toy_diffusion", "toy_gan"}))
            for name in SKELETONS
        ),
    ],
)


@functools.cache
def optimizer(name):
    """One for all programs of a task: a rebuilt one would be compiled for anew."""
    return optax.sgd(TASKS[name].learning_rate, momentum=0.9)


def begin(name, layout, batch_norm):
    """Return the task and its first state, the same for every layout."""
    case = TASKS[name]
    task = case.task(layout, batch_norm)
    blank = {**case.batches(8, 8).first_example(), "mask": np.ones(1, bool)}
    first = jax.jit(lambda: _first_state(task, optimizer(name), blank))
    return task, layout.place(first())


def _first_state(task, optimizer, blank):
    params, model_state = task.init(rng.init_key(jax.random.key(0)), blank)
    return state.create(params, model_state, optimizer.init(params), ema=True)


def train(
    name,
    *,
    examples=19,
    batch_size=16,
    steps=3,
    layout=None,
    batch_norm=True,
    micro_batches=1,
    steps_per_call=1,
    begun=None,
) -> tuple[Any, metrics.Sums, compiled_steps.TrainProgram]:
    """Train from step 0, or from the state `begun`, up to `steps`; all comes back as numpy.

    19 examples in batches of 16: the second batch of an epoch holds 3 valid rows, so that of 8
    devices six hold none.
    """
    layout = layout or on(1)
    task, current = begin(name, layout, batch_norm)
    program = compiled_steps.TrainProgram(
        task,
        optimizer(name),
        layout,
        steps_per_call=steps_per_call,
        micro_batches=micro_batches,
        ema_decay=0.9,
    )
    columns = layout.columns(batch_size, micro_batches)
    batches = TASKS[name].batches(examples, batch_size, columns)
    root = layout.replicate(jax.random.key(7))
    if begun is not None:
        current = layout.place(begun)
    total: metrics.Sums = {}
    for step in range(int(current.step), steps, steps_per_call):
        current, sums = program(current, batches(step, steps_per_call), root)
        total = metrics.add(total, parallel.fetch(sums))
    return parallel.fetch(current), total, program


@functools.cache
def on_one_device(name):
    return train(name)


def learned(result):
    return {"params": result[0].params, "model_state": result[0].model_state}


def assert_same(result, expected, tolerance):
    """Compare parameters and statistics by the largest value of each leaf, counts exactly."""
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(learned(result)),
        jax.tree.leaves(learned(expected)),
        strict=True,
    )
    for (path, one), other in pairs:
        largest = max(float(np.abs(other).max()), 1e-30)
        difference = float(np.abs(np.float64(one) - np.float64(other)).max()) / largest
        assert difference <= tolerance, f"{jax.tree_util.keystr(path)} differs by {difference:.2e}"
    for measure, value in expected[1].items():
        if np.issubdtype(value.dtype, np.integer):
            np.testing.assert_array_equal(result[1][measure], value, err_msg=measure)
        else:
            np.testing.assert_allclose(result[1][measure], value, rtol=1e-4, err_msg=measure)


@every_task
def test_training_moves_every_parameter(name):
    """What is compared below would hold as well between layouts that do nothing."""
    _, first = begin(name, on(1), batch_norm=True)
    after = on_one_device(name)[0]
    moved = zip(
        jax.tree_util.tree_leaves_with_path(after.params),
        jax.tree.leaves(first.params),
        strict=True,
    )
    still = [jax.tree_util.keystr(p) for (p, new), old in moved if np.array_equal(new, old)]
    assert still == []


@every_task
@pytest.mark.parametrize(
    "layout",
    [
        *(pytest.param(f"{mode} 2", marks=pytest.mark.slow) for mode in ("pmap", "shard_map")),
        "pmap 8",
        pytest.param("shard_map 8", marks=pytest.mark.slow),  # test_invariants.py has it
        "mesh 4x2",
    ],
)
def test_layouts_give_the_same_training(name, layout):
    assert_same(train(name, layout=laid_out(layout)), on_one_device(name), 1e-5)


def laid_out(layout):
    """Return the layout for its mode and number of devices, such as "pmap 2"."""
    mode, _, count = layout.partition(" ")
    if mode == "mesh":
        return parallel.choose("mesh", jax.devices(), fsdp=2)
    return parallel.choose(mode, jax.devices()[: int(count)])


@every_task
def test_micro_batches_give_the_same_training(name):
    if TASKS[name].task(on(1), False).needs_whole_batch:
        with pytest.raises(UsageError, match="expected micro_batches=1"):
            TASKS[name].task(on(1), False, micro_batches=2)
        return
    whole = train(name, batch_norm=False)
    assert_same(train(name, batch_norm=False, micro_batches=4), whole, 2e-6)


@every_task
def test_padding_changes_nothing(name):
    """12 examples as one full batch of 12, and as a batch of 16 with 4 rows of padding."""
    full = train(name, examples=12, batch_size=12, steps=1)
    assert_same(train(name, examples=12, batch_size=16, steps=1), full, 2e-6)


@every_task
def test_a_batch_of_padding_alone_changes_nothing(name):
    task, first = begin(name, on(1), batch_norm=True)
    batch = {n: part[0] for n, part in TASKS[name].batches(8, 4)(0).items()}
    for kind in SAMPLES:
        if f"{kind}index" in batch:
            visit = batch[f"{kind}epoch"], batch[f"{kind}index"]
            batch[f"{kind}keys"] = rng.example_keys(jax.random.key(7), *visit)
            batch[f"{kind}mask"] = np.zeros(visit[0].shape[: 1 + bool(kind)], bool)
    teacher = first.params, first.model_state

    def loss(params, batch):
        context = Context(jax.random.key(1), task.count(batch), ema=teacher)
        output = task.loss(params, first.model_state, batch, context)
        return output.loss, output

    gradient, output = jax.jit(jax.grad(loss, has_aux=True))(first.params, batch)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))
    assert jax.tree.all(jax.tree.map(np.array_equal, output.model_state, first.model_state))
    assert all((sums == 0).all() for sums in output.metric_sums.values())


@every_task
@pytest.mark.parametrize(
    "layout",
    [
        "single 1",
        *(pytest.param(f"{mode} 4", marks=pytest.mark.slow) for mode in ("pmap", "shard_map")),
    ],
)
def test_a_saved_run_goes_on_bit_for_bit(name, layout, tmp_path):
    """4 steps, against 2 that were written down and 2 more of what was read back."""
    laid = laid_out(layout)
    whole, _, _ = train(name, steps=4, layout=laid)
    half, _, _ = train(name, steps=2, layout=laid)
    with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(half, {"progress": {}}, {})
        checkpoints.wait()
        restored = checkpoints.restore_newest(half)
    assert restored is not None
    resumed, _, _ = train(name, steps=4, layout=laid, begun=restored[0])
    assert int(resumed.step) == 4
    for one, other in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(one, other)


@every_task
def test_one_trace_and_the_same_steps_in_one_call(name):
    """6 single steps, against 2 calls of 3 that run in a loop on the device."""
    single = train(name, examples=48, steps=6)
    rolled = train(name, examples=48, steps=6, steps_per_call=3)
    assert single[2].traces == rolled[2].traces == 1
    assert_same(rolled, single, 1e-5)


@every_task
@pytest.mark.parametrize(
    "layout", ["pmap 2", "pmap 8", pytest.param("shard_map 8", marks=pytest.mark.slow)]
)
def test_evaluation_counts_to_the_last_digit(name, layout):
    """29 examples divide by none of the device counts; the batches have another size, too.

    What a task draws in evaluation is the same: a function of the example alone.
    """
    source, weights = TASKS[name].source(29), on_one_device(name)[0]
    scored = []
    for laid, size in ((on(1), 16), (laid_out(layout), 8)):
        task = TASKS[name].task(laid, True)
        program = compiled_steps.EvalProgram(task, laid)
        placed = laid.place((weights.params, weights.model_state))
        _, sampling = TASKS[name].sampling(29)
        passes = one_pass(source, size, laid, sampling=sampling)
        scored.append(evaluate(program, task.compute_metrics, *placed, passes))
        assert program.traces == 1
    one, many = scored
    assert one.metrics.keys() == many.metrics.keys()
    assert task.headline.name in one.metrics
    for measure, value in one.sums.items():
        if np.issubdtype(value.dtype, np.integer):
            np.testing.assert_array_equal(many.sums[measure], value, err_msg=measure)
        else:
            np.testing.assert_allclose(many.sums[measure], value, rtol=1e-4, err_msg=measure)
    for column, value in one.rows.items():
        assert len(value) == len(many.rows[column]) == 29
        np.testing.assert_allclose(many.rows[column], value, rtol=1e-4, atol=1e-5, err_msg=column)


@every_task
def test_scores_of_given_outputs_are_equal_to_the_last_digit(name):
    """The outputs of all 29 examples are looked up; batches and devices differ."""
    case, weights = TASKS[name], on_one_device(name)[0]
    source, (_, sampling) = case.source(29), case.sampling(29)
    first = case.task(on(1), True)
    whole = next(iter(one_pass(source, 29, on(1), sampling=sampling)))
    whole["keys"] = rng.evaluation_keys(jax.random.key(0), whole["index"])
    outputs = jax.jit(first.predict)(weights.params, weights.model_state, whole)
    known = whole["index"].reshape(29, -1)  # of an episode, the numbers of all its rows

    def looked_up(outputs, model_state, batch):
        index = jnp.repeat(batch["index"].reshape(-1, 1, known.shape[1]), 29, axis=1)
        row = jax.vmap(lambda own: (own == known).all(-1).argmax())(index)
        return jax.tree.map(lambda values: values[row], outputs)

    found = []
    for layout, size in (("single 1", 29), ("single 1", 5), ("pmap 2", 8)):
        laid = laid_out(layout)
        task = dataclasses.replace(case.task(laid, True), predict=looked_up)
        program = compiled_steps.EvalProgram(task, laid)
        placed = laid.replicate((outputs, {}))
        passes = one_pass(source, size, laid, sampling=sampling)
        found.append(evaluate(program, task.compute_metrics, *placed, passes))
    assert all(value.dtype in (np.int64, np.float64) for value in found[0].sums.values())
    for other in found[1:]:
        assert other.metrics == found[0].metrics
        for measure, value in found[0].sums.items():
            np.testing.assert_array_equal(other.sums[measure], value, err_msg=measure)
