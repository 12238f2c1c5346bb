"""What the verb says of features, on colours that the network has not been trained to tell."""

import functools
import json

import jax
import numpy as np
import pytest

from imgrec_jax import load, load_pretrained
from imgrec_jax.__main__ import main
from imgrec_jax.build import models
from imgrec_jax.core.errors import UsageError
from imgrec_jax.data.sources.source import ArraySource
from imgrec_jax.models.vit import ViT
from imgrec_jax.runs.probe import extract, probe
from imgrec_jax.weights.convert import write_variables
from imgrec_jax.weights.files import write_tensors


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """The command sets a variable of XLA."""
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def test_a_probe_of_classes_never_seen(trained, unseen, capsys):
    assert main(["probe", str(trained.workdir), f"--data={unseen}", "--ways=3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["data"] == unseen
    assert list(answer["splits"]) == ["test"]
    found = answer["splits"]["test"]
    assert (found["examples"], found["classes"]) == (60, 3)
    assert found["linear"] == 1.0
    assert found["neighbours"] > 0.95
    assert list(found["few_shot"]) == ["1", "5"]
    assert 0.9 < found["few_shot"]["1"]["accuracy"] <= found["few_shot"]["5"]["accuracy"]
    assert 0 <= found["few_shot"]["1"]["half_width"] < 0.02


def test_some_classes_and_few_examples_as_text(trained, unseen, capsys):
    flags = [f"--data={unseen}", "--classes=sun,night", "--examples_per_class=2", "--ways=2"]
    assert main(["probe", str(trained.workdir), *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{trained.workdir}, step 30, features on {unseen}"
    assert lines[2] == "test, 40 examples of 2 classes"
    assert lines[3].split() == ["linear", "probe", "1.0000"]
    assert lines[5].endswith("(95 %, Student's t over episodes)")
    assert [line.split()[0] for line in lines[4:7]] == ["nearest", "2-way", "2-way"]
    assert main(["probe", str(trained.workdir), f"--data={unseen}", "--classes=moon"]) == 2
    assert "expected data.classes to name classes of" in capsys.readouterr().err
    assert main(["probe", str(trained.workdir), f"--data={unseen}", "--ways=4"]) == 2
    assert "expected --ways of at most 3, the classes with 16 images" in capsys.readouterr().err
    assert main(["probe", str(trained.workdir), "--layer=conv9"]) == 2
    assert "unknown layer 'conv9'" in capsys.readouterr().err


def test_a_split_alone_has_episodes_alone(trained):
    run, labels = load(trained.workdir), np.repeat(np.arange(2, dtype=np.int32), 17)
    images = 20 + 200 * np.broadcast_to(labels[:, None, None, None], (34, 8, 8, 3))
    images = images.astype(np.uint8)
    source = ArraySource(images, labels, ("dark", "light"))
    scores = probe(run, {"train": source}, ways=2, episodes=7)["train"]
    assert scores == {
        "examples": 34,
        "classes": 2,
        "few_shot": {"1": {"accuracy": 1.0, "half_width": 0.0}},  # too few for five shots
    }
    alone = probe(run, {"train": source}, ways=2, episodes=1)["train"]["few_shot"]
    assert alone == {"1": {"accuracy": 1.0, "half_width": None}}
    assert set(probe(run, {"train": source})["train"]) == {"examples", "classes"}
    places = extract(run, source, "conv2")
    whole = run.features(images, "conv2")
    assert whole.ndim == 4
    np.testing.assert_allclose(places.values, whole.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_the_weights_of_others_are_probed_as_a_run_is(unseen, tmp_path, monkeypatch, capsys):
    """A random ViT in timm's names, without a last layer: its features part the colours."""
    model = functools.partial(ViT, patch=4, width=8, depth=1, heads=2)
    images = np.zeros((1, 8, 8, 3), np.float32)
    variables = jax.jit(model(num_classes=0).init)(jax.random.key(0), images)
    file = tmp_path / "vit.safetensors"
    write_tensors(file, write_variables(variables, kind="ViT", scheme="timm"))
    monkeypatch.setitem(models.MODELS, "small", model)
    flags = ["--model=small", "--image_size=8", "--normalization=unit", "--json", "--ways=3"]
    assert main(["probe", str(file), f"--data={unseen}", "--episodes=9", *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    found = answer["splits"]["test"]
    assert (answer["run"], found["examples"], found["classes"]) == (str(file), 60, 3)
    assert found["linear"] > 0.9  # by chance a third
    assert found["neighbours"] > 0.8
    assert set(found["few_shot"]) == {"1", "5"}
    run = load_pretrained(file, "small", image_size=8)
    assert run.labels == ()
    with pytest.raises(UsageError, match="classification layer, got only features"):
        run.predict(np.zeros((1, 8, 8, 3), np.uint8))
    assert main(["probe", str(file), f"--data={unseen}"]) == 2
    assert "expected --model and --data for" in capsys.readouterr().err
