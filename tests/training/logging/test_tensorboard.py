"""Event files, read back by TensorBoard's own reader: scores, histograms, text, HParams."""

import contextlib
import json

import jax
import numpy as np
import optax
import pytest
from small import initial_state, small_task, some_images

from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.training.logging.log import Log
from imgrec_jax.training.logging.tensorboard import Events
from imgrec_jax.training.step import compiled_steps, parallel
from imgrec_jax.training.step.histograms import BINS, Histogram, histograms
from imgrec_jax.training.workdir.files import Workdir

CONFIG = {
    "seed": 3,
    "augment": "flip|noise(0.1)",
    "log": {"every_steps": 50},
    "model": {"name": "convnet", "convnet": {"width": 8}, "unet": {"encoder": "plain"}},
    "optim": {"name": "adam", "learning_rate": 0.001, "adam": {"b1": 0.9}, "sgd": {"momentum": 0}},
}


def read(folder):
    """Return what TensorBoard knows of a folder."""
    pytest.importorskip("tensorboard", reason="needs TensorBoard: extra dev")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # As many of each kind as there are.
    kinds = ("scalars", "images", "histograms", "tensors", "compressedHistograms")
    return EventAccumulator(str(folder), dict.fromkeys(kinds, 0)).Reload()


def test_tensorboard_reads_what_a_log_has_written(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.write_json("config.json", CONFIG)
    log = Log(workdir, first_step=0, total_steps=4, steps_per_epoch=2, wandb=False)
    x = np.array([0.0, 0.15, 3.0, 2.95, 1.45], np.float32)
    found = jax.device_get(jax.jit(histograms)({"w": x}))
    with contextlib.closing(log):
        log.train(2, {"train_loss": 0.5, "learning_rate": 0.1, "images_per_second": 9.0})
        log.evaluation(2, {"test_loss": 0.25})
        log.histograms(2, {**found, "diverged": found["w"]._replace(squares=np.float32("nan"))})
        log.finish()
    with contextlib.closing(Events(tmp_path, suffix=".images")) as events:
        events.images(4, {"mistakes": np.full((2, 3, 3), 7, np.uint8)})
    seen = read(tmp_path)
    assert set(seen.Tags()["scalars"]) == {
        "train/loss",
        "learning_rate",
        "images_per_second",
        "test/loss",
    }
    (loss,) = seen.Scalars("test/loss")
    assert (loss.step, loss.value) == (2, 0.25)
    (image,) = seen.Images("mistakes")
    assert (image.step, image.width, image.height) == (4, 3, 2)
    assert seen.Tags()["histograms"] == ["w"]
    (histogram,) = seen.Histograms("w")
    value = histogram.histogram_value
    assert (histogram.step, value.min, value.max, value.num) == (2, 0.0, 3.0, 5.0)
    assert value.sum == pytest.approx(x.sum())
    assert value.sum_squares == pytest.approx((x * x).sum())
    filled = {round(e, 3): n for e, n in zip(value.bucket_limit, value.bucket, strict=True) if n}
    assert filled == {0.1: 1, 0.2: 1, 1.5: 1, 3.0: 2}  # 30 bins, each of 0.1


def test_the_config_is_text_and_what_is_chosen_of_it_can_be_compared(tmp_path):
    with contextlib.closing(Events(tmp_path)) as events:
        events.settings(CONFIG, {"seed": 3, "augment": "flip", "optim.learning_rate": 0.001})
        events.finish()
    seen = read(tmp_path)
    from tensorboard.plugins.hparams import metadata

    (text,) = seen.Tensors("config/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    lines = [line.removeprefix("    ") for line in shown.splitlines()]
    assert json.loads("\n".join(lines)) == CONFIG
    tags = seen.summary_metadata
    start = metadata.parse_session_start_info_plugin_data(
        tags["_hparams_/session_start_info"].plugin_data.content
    )
    values = {name: value.WhichOneof("kind") for name, value in start.hparams.items()}
    assert values == {
        "seed": "number_value",
        "augment": "string_value",
        "optim.learning_rate": "number_value",
    }
    end = metadata.parse_session_end_info_plugin_data(
        tags["_hparams_/session_end_info"].plugin_data.content
    )
    assert end.status == 1  # STATUS_SUCCESS


@pytest.mark.parametrize(
    ("mode", "steps_per_call"),
    [
        ("single", 1),
        *(
            pytest.param(*many, marks=pytest.mark.slow)
            for many in (("pmap", 1), ("shard_map", 1), ("mesh", 1), ("single", 2))
        ),
    ],
)
def test_histograms_are_of_the_weights_and_of_the_gradient_of_the_batch(mode, steps_per_call):
    """The gradient beside what one step of SGD at rate 1 takes off; the state is not touched."""
    count = 1 if mode == "single" else 2
    layout = parallel.choose(mode, jax.devices()[:count], fsdp=count if mode == "mesh" else 1)
    optimizer = optax.sgd(1.0)
    task = small_task(layout, batch_norm=True)
    program = compiled_steps.TrainProgram(
        task, optimizer, layout, steps_per_call=steps_per_call, micro_batches=2
    )
    state = layout.place(initial_state(task, optimizer))
    root = layout.replicate(jax.random.key(7))
    batch = TrainBatches(some_images(16), 8, seed=1)(0)
    found = parallel.fetch(program.histograms(state, batch, root))
    before = parallel.fetch(state.params)
    after, _ = program(state, batch, root)
    gradient = jax.tree.map(lambda a, b: a - b, before, parallel.fetch(after.params))
    expected = {"params": before, "gradients": gradient}
    paths = jax.tree_util.tree_leaves_with_path(expected)
    assert len(found) == len(paths)
    for path, leaf in paths:
        of = found[jax.tree_util.keystr(path, simple=True, separator="/")]
        assert of.counts.sum() == leaf.size
        np.testing.assert_allclose(of.low, leaf.min(), atol=1e-6)
        np.testing.assert_allclose(of.high, leaf.max(), atol=1e-6)
        np.testing.assert_allclose(of.sum, leaf.sum(), atol=1e-5)
        np.testing.assert_allclose(of.squares, (leaf**2).sum(), atol=1e-5)
        edges = np.linspace(leaf.min(), leaf.max(), BINS + 1)
        near = np.abs(leaf.reshape(-1, 1) - edges).min() > 1e-6  # none on an edge but the ends
        if near:
            np.testing.assert_array_equal(of.counts, np.histogram(leaf, edges)[0])


def test_numbers_that_are_all_the_same_fill_one_bin():
    (found,) = jax.jit(histograms)({"b": np.zeros(4), "n": np.arange(3)}).values()
    assert isinstance(found, Histogram)
    assert found.counts.tolist() == [4] + [0] * (BINS - 1)
