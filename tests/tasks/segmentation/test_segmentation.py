"""Segmentation by numbers, and the laws that hold for every task."""

import functools
import math
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imgrec_jax.augment.augmentation import augment_batch
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.geometry import flip, patch
from imgrec_jax.augment.warp import scale
from imgrec_jax.core import rng, state
from imgrec_jax.core.context import Context
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.loading.batches import EvalBatches, TrainBatches
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder
from imgrec_jax.models.deeplab import DeepLab
from imgrec_jax.models.unet import UNet
from imgrec_jax.tasks.segmentation.task import segment
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.training.evaluate import evaluate
from imgrec_jax.training.step import compiled_steps, parallel

CLASSES = 3
LOSS = "cross_entropy|dice(0.5)|focal(0.1)|lovasz(0.2)"


def scenes(n, size=8):
    """Return n images in bands whose brightness tells the class; some pixels are ignored."""
    generator = np.random.default_rng(0)
    maps = generator.integers(0, CLASSES, (n, size, 1)).repeat(size, 2).astype(np.uint8)
    noise = generator.integers(0, 60, (n, size, size, 3))
    images = (noise + 90 * maps[..., None]).astype(np.uint8)
    maps[generator.random(maps.shape) < 0.1 * (np.arange(n) % 3)[:, None, None]] = 255
    return ArraySource(images, np.zeros(n, np.int32), tuple("abc"), targets={"label_map": maps})


def task_over(layout, augment=None, loss=LOSS, weights=(1.0, 2.0, 0.5)):
    encoder = PlainEncoder(width=4, depth=2, axis_name=layout.norm_axis)
    net = UNet(CLASSES, encoder, axis_name=layout.norm_axis)

    def scoring(batch):
        return {**batch, "image": jnp.asarray(batch["image"], jnp.float32) / 255.0}

    def training(batch):
        return augment_batch(augment, scoring(batch)) if augment else scoring(batch)

    task = segment(net, num_classes=CLASSES, loss=loss, class_weights=weights)
    return transform_inputs(task, training=training, scoring=scoring)


def trained(layout, *, steps=3, micro_batches=1, augment=None, batch_size=8, source=None, first=0):
    task = task_over(layout, augment)
    optimizer = optax.sgd(0.1)
    source = source or scenes(11)
    columns = layout.columns(batch_size, micro_batches)
    batches = TrainBatches(source, batch_size, 1, False, columns)
    program = compiled_steps.TrainProgram(task, optimizer, layout, micro_batches=micro_batches)
    blank = {"image": source.images[:1], "mask": np.ones(1, bool)}

    def initial():
        params, model_state = task.init(rng.init_key(jax.random.key(0)), blank)
        return state.create(params, model_state, optimizer.init(params), ema=False)

    current, sums = layout.place(jax.jit(initial)()), []
    root = layout.replicate(jax.random.key(7))
    for step in range(first, steps):
        current, more = program(current, batches(step, 1), root)
        sums.append(parallel.fetch(more))
    return parallel.fetch(current), sums


def layout_of(name):
    if name == "mesh":
        return parallel.choose("mesh", jax.devices()[:4], fsdp=2)
    count = int(name)
    return parallel.choose("single" if count == 1 else "pmap", jax.devices()[:count])


AUGMENT = compose([flip(), scale(0.7, 1.3)])


@functools.cache
def on_one_device():
    return trained(layout_of("1"), augment=AUGMENT)


def assert_close(a, b, tolerance):
    for one, other in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        size = max(np.abs(other).max(), 1e-3)
        np.testing.assert_allclose(one, other, atol=tolerance * size, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["4", "8", "mesh"])
def test_devices_give_the_same_training(layout):
    """With BatchNorm, four losses, class weights, pixels that leave the image, and padding."""
    expected, expected_sums = on_one_device()
    current, sums = trained(layout_of(layout), augment=AUGMENT)
    there = expected.params, expected.model_state
    assert_close((current.params, current.model_state), there, 2e-5)
    for one, other in zip(sums, expected_sums, strict=True):
        assert int(one["correct"]) == int(other["correct"])
        assert int(one["pixels"]) == int(other["pixels"]) > 0


@pytest.mark.slow
def test_training_moves_every_parameter():
    expected, sums = on_one_device()
    first, _ = trained(layout_of("1"), steps=0)
    for new, old in zip(jax.tree.leaves(expected), jax.tree.leaves(first), strict=True):
        assert not np.array_equal(new, old)
    assert [int(s["examples"]) for s in sums] == [8, 3, 8]


@pytest.mark.slow
def test_scores_do_not_depend_on_batches_or_devices():
    found = []
    current, _ = on_one_device()
    for layout, size in (("1", 11), ("8", 8), ("4", 4)):
        devices = layout_of(layout)
        task = task_over(devices)
        program = compiled_steps.EvalProgram(task, devices)
        batches = EvalBatches(scenes(11), size, devices.columns(size))
        weights = devices.replicate((current.params, current.model_state))
        every = map(batches, range(len(batches)))
        found.append(evaluate(program, task.compute_metrics, *weights, every))
    for other in found[1:]:
        assert other.sums["confusion"].tolist() == found[0].sums["confusion"].tolist()
        for name in ("miou", "pixel_accuracy", "boundary_f1", "iou_0", "iou_1", "iou_2"):
            assert other.metrics[name] == found[0].metrics[name], name
    assert found[0].sums["confusion"].sum() == (scenes(11).targets["label_map"] < 3).sum()


class Fixed(nn.Module):
    """Logits that are the image's own channels times one parameter."""

    @nn.compact
    def __call__(self, x, *, train=False, mask=None):
        return x * self.param("factor", nn.initializers.ones, (1,)).reshape(1, 1, 1, 1)


def fixed_batch():
    """Two images of 1x2 pixels and one of padding: p of the truth 0.8, 0.5, 0.9; one ignored."""
    p = np.array([[[0.2, 0.5]], [[0.9, 0.3]], [[0.5, 0.5]]])
    image = np.stack([np.log(1 - p), np.log(p)], -1).astype(np.float32)
    maps = np.array([[[0, 1]], [[1, 255]], [[0, 0]]], np.int32)
    batch = {"image": image, "label_map": maps, "mask": np.array([True, True, False])}
    return {name: jnp.asarray(value) for name, value in batch.items()}


@pytest.mark.parametrize(
    ("loss", "weights", "expected"),
    [
        ("cross_entropy", (), -(math.log(0.8) + math.log(0.5) + math.log(0.9)) / 3),
        (
            "cross_entropy",
            (2.0, 1.0),
            -(2 * math.log(0.8) + math.log(0.5) + math.log(0.9)) / 4,
        ),
        # By class and image: 1 - 2 * .8 / (.64 + .25 + 1), 1 - 2 * .5 / (.04 + .25 + 1); .9.
        (
            "dice(0.5)",
            (),
            0.5 * ((2 - 1.6 / 1.89 - 1 / 1.29) / 2 + (1 - 1.8 / 1.81)) / 2,
        ),
    ],
)
def test_each_term_is_divided_by_its_own_count(loss, weights, expected):
    task = segment(Fixed(), num_classes=2, loss=loss, class_weights=weights)
    batch = fixed_batch()
    params, model_state = task.init(jax.random.key(0), batch)
    output = task.loss(params, model_state, batch, Context(jax.random.key(0), task.count(batch)))
    np.testing.assert_allclose(output.loss, expected, rtol=1e-6)
    assert int(output.metric_sums["pixels"]) == 3
    assert int(output.metric_sums["correct"]) == 2


def test_scores_by_hand():
    task = segment(Fixed(), num_classes=3, label_names=("sky", "road", "never"))
    batch = {**fixed_batch(), "image": jnp.pad(fixed_batch()["image"], [(0, 0)] * 3 + [(0, 1)])}
    batch["image"] = batch["image"].at[..., 2].set(-9.0)
    logits = task.predict({"factor": jnp.ones(1)}, {}, batch)
    sums, rows = task.metric_sums(logits, batch), task.rows(logits, batch)
    assert sums["confusion"].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    scores = task.compute_metrics(jax.device_get(sums), {})
    assert scores["pixel_accuracy"] == 2 / 3
    assert scores["iou_sky"] == scores["iou_road"] == scores["miou"] == 0.5
    assert "iou_never" not in scores
    assert rows["pixels"].shape == (3, 3, 3)


def test_pixels_that_a_patch_leaves_out_are_not_counted():
    layout = layout_of("1")
    task = task_over(layout, patch(4, 4), weights=())
    batch = TrainBatches(scenes(8), 8, 1, False, layout.columns(8, 1))(0, 1)
    flat = {k: jnp.asarray(v).reshape(8, *np.shape(v)[-np.ndim(scenes(8).arrays.get(k, 0)) + 1 :])
            for k, v in batch.items() if k in ("image", "label_map")}  # fmt: skip
    keys = jax.random.split(jax.random.key(0), 8)
    counts = task.count({**flat, "mask": jnp.ones(8, bool), "keys": keys})
    assert 8 * 16 * 0.5 < float(counts["pixels"]) <= 8 * 16


def test_deeplab_gives_logits_of_each_pixel_for_any_size():
    net = DeepLab(5, PlainEncoder(width=4, depth=4), width=8, rates=(1, 2), reduced=4)
    images = jnp.zeros((2, 20, 27, 3))
    logits, variables = net.init_with_output(jax.random.key(0), images)
    assert logits.shape == (2, 20, 27, 5)
    names = {"aspp_1x1", "aspp_rate1", "aspp_rate2", "aspp_pooled", "fine"}
    assert names < set(variables["params"])


def test_unet_features_run_from_fine_to_coarse_and_back():
    encoder = PlainEncoder(width=4, depth=3, stride=2)
    images = jnp.zeros((1, 24, 17, 2))
    features, _ = encoder.init_with_output(jax.random.key(0), images)
    assert [f.shape for f in features] == [(1, 12, 9, 4), (1, 6, 5, 8), (1, 3, 3, 16)]
    logits, _ = UNet(6, encoder).init_with_output(jax.random.key(0), images)
    assert logits.shape == (1, 24, 17, 6)
    with pytest.raises(
        UsageError, match=r"of 8x8 or more for 3 stages, got 7x20; try a smaller depth"
    ):
        UNet(6, encoder).init(jax.random.key(0), jnp.zeros((1, 7, 20, 3)))


@pytest.mark.parametrize("loss", ["", "dice(-1.0)", "tversky", "focal(gamma=-1.0)", "dice('a')"])
def test_impossible_losses(loss):
    with pytest.raises(UsageError, match=r"expected|unknown"):
        segment(SimpleNamespace(), num_classes=2, loss=loss)  # pyright: ignore


def test_nan_is_wrong_in_every_score():
    """Of four pixels two have a NaN: of the true class, and of another one."""
    logits = jnp.array([[[[5.0, 0.0], [jnp.nan, 0.0]], [[0.0, 5.0], [jnp.nan, 0.0]]]])
    batch = {"label_map": jnp.array([[[0, 0], [1, 1]]]), "mask": jnp.ones(1, bool)}
    task = segment(UNet(2, PlainEncoder(width=4, depth=2)), num_classes=2)
    sums, rows = task.metric_sums(logits, batch), task.rows(logits, batch)
    scores = task.compute_metrics(jax.tree.map(np.asarray, sums), jax.tree.map(np.asarray, rows))
    assert scores["pixel_accuracy"] == scores["iou_0"] == scores["iou_1"] == scores["miou"] == 0.5
    assert rows["pixels"][0].tolist() == [[1, 2, 1], [1, 2, 1]]
