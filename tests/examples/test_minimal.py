import importlib.util
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from imgrec_jax import get_config
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.training.step.compiled_steps import TrainProgram
from imgrec_jax.training.step.parallel import fetch

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "minimal.py"


def load():
    spec = importlib.util.spec_from_file_location("minimal", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short_and_stands_alone():
    text = PROGRAM.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert "imgrec_jax" not in text


@pytest.mark.slow
def test_its_first_steps_are_those_of_the_package(tmp_path):
    """The same parameters to begin with, the same batches: three losses within 1e-5."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (192, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(192) % 10
    path = tmp_path / "images.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    config = get_config("cifar10_reference", data__source=f"npz:{path}", parallel__mode="single")
    experiment = build_experiment(config)
    program = TrainProgram(experiment.task, experiment.step.optimizer, experiment.parallel)
    state = experiment.parallel.place(experiment.init())
    root = experiment.parallel.replicate(experiment.root_key)

    minimal = load()
    net = minimal.Net()
    params, opt_state = minimal.init(net, jax.random.fold_in(jax.random.key(0), 2))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 545_098
    for step in range(3):
        batch = experiment.train(step)
        assert batch["mask"].all()
        state, sums = program(state, batch, root)
        images, labels = batch["image"][0], batch["label"][0]
        params, opt_state, loss = minimal.train_step(params, opt_state, net, images, labels)
        assert float(loss) == pytest.approx(float(fetch(sums)["loss"]) / 64, abs=1e-5)
    assert int(state.step) == 3


@pytest.mark.slow
def test_it_reads_folders_and_learns(tmp_path):
    """Black and white images of two classes: known without error after two epochs."""
    for split in ("train", "test"):
        for label, name in enumerate(("black", "white")):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for number in range(70):
                image = Image.new("RGB", (8, 8), (255 * label,) * 3)
                image.save(place / f"{number}.jpg")
    (images, labels), _ = load().read(tmp_path)
    assert images.shape == (140, 8, 8, 3)
    assert labels.tolist() == [0] * 70 + [1] * 70
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), "--epochs=2"],
        capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[1].startswith("epoch 2: loss 0.")
    assert lines[1].endswith("test accuracy 1.0000")
