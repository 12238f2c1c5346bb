"""The same logits as the networks of `transformers`, from the files that it writes.

torch may live in another environment: TORCH_PYTHON names its interpreter.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from small import on

import imgrec_jax
from imgrec_jax.build import models
from imgrec_jax.core.state import create
from imgrec_jax.models.convnext import ConvNeXt
from imgrec_jax.models.mobile import MobileNet, Stage
from imgrec_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from imgrec_jax.models.vit import ViT
from imgrec_jax.tasks.classification.task import classify
from imgrec_jax.training.step import compiled_steps, parallel
from imgrec_jax.weights.convert import SCHEMES, find_scheme, read_variables, write_variables
from imgrec_jax.weights.files import read_tensors, write_tensors

PROGRAM = Path(__file__).with_name("reference.py")
RATE = 0.1  # of reference.py
TORCH = os.environ.get("TORCH_PYTHON", sys.executable)
SMALL = {
    "vit": functools.partial(ViT, patch=16, width=32, depth=2, heads=2),
    "convnext": functools.partial(ConvNeXt, stage_sizes=(1, 2, 1, 1), widths=(8, 16, 24, 32)),
    "resnet": functools.partial(ResNet, stage_sizes=(1, 2), block=BasicBlock, width=8),
    "mobilenet_v2": functools.partial(
        MobileNet,
        activation=nn.relu6,
        stem=16,
        stages=(
            Stage(1, 8, 1, 1),
            Stage(6, 16, 2, 2),
            Stage(6, 16, 3, 2),
            Stage(6, 32, 4, 2),
            Stage(6, 48, 3, 1),
            Stage(6, 80, 3, 2),
            Stage(6, 160, 1, 1),
        ),
    ),
    "efficientnet_b0": functools.partial(
        MobileNet,
        activation=nn.silu,
        squeeze=0.25,
        stem=16,
        top=640,
        stages=(
            Stage(1, 8, 1, 1),
            Stage(6, 16, 2, 2),
            Stage(6, 24, 2, 2, kernel=5),
            Stage(6, 40, 3, 2),
            Stage(6, 56, 3, 1, kernel=5),
            Stage(6, 96, 4, 2, kernel=5),
            Stage(6, 160, 1, 1),
        ),
    ),
    "bottleneck": functools.partial(ResNet, stage_sizes=(1, 2), block=Bottleneck, width=8),
}


@functools.cache
def torch_is_there():
    code = "import torch, transformers"
    return not subprocess.run([TORCH, "-c", code], capture_output=True, check=False).returncode


def make_reference(folder, *arguments):
    """Let torch make the file of random weights, images and the logits that it gives for them."""
    if not torch_is_there():
        pytest.skip(f"needs torch and transformers in {TORCH}; TORCH_PYTHON names another")
    kind, *more = arguments
    command = [TORCH, str(PROGRAM), kind, str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = np.load(folder / "expected.npz")
    return folder / "model.safetensors", expected["images"], expected["logits"]


@pytest.fixture(params=SMALL)
def reference(request, tmp_path, monkeypatch):
    """A kind of network and what torch has made of it."""
    made = make_reference(tmp_path, request.param)
    monkeypatch.setitem(models.MODELS, "small", SMALL[request.param])
    return SMALL[request.param].func.__name__, *made


@pytest.mark.torch
def test_the_same_logits_from_all_schemes(reference, tmp_path):
    kind, path, images, logits = reference
    run = imgrec_jax.load_pretrained(path, model="small", image_size=64)
    found = run.logits(images)
    assert len(run.labels) == found.shape[1] == 7
    assert np.abs(logits).max() > 0.01
    np.testing.assert_allclose(found, logits, atol=1e-4 * np.abs(logits).max())

    variables = {"params": run.params, **run.model_state}
    tensors = read_tensors(path)
    for scheme in SCHEMES:
        written = write_variables(variables, kind=kind, scheme=scheme)
        write_tensors(tmp_path / "again.safetensors", written)
        again = read_tensors(tmp_path / "again.safetensors")
        read = read_variables(again, variables, kind=kind, scheme=scheme)
        jax.tree.map(np.testing.assert_array_equal, read, variables)
        if scheme == find_scheme(kind, list(tensors)):
            kept = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
            assert again.keys() == kept.keys()
            for name, tensor in kept.items():
                np.testing.assert_array_equal(again[name], tensor)


@pytest.mark.torch
@pytest.mark.parametrize(("block", "devices"), [("resnet", 1), ("bottleneck", 4)])
def test_a_training_step_leaves_the_same_statistics(block, devices, tmp_path):
    """And the same parameters: our training step beside torch's, on the same 8 images.

    Torch normalises by the biased variance of the batch and keeps the unbiased one, a tenth of it
    new. The tensor with the fewest values for a channel has 8 images of 8x8, whose two variances
    are a part in 512 from one another.
    """
    path, images, _ = make_reference(tmp_path, block, "after_a_step")
    layout = on(devices)
    net = SMALL[block](num_classes=7, axis_name=layout.norm_axis)
    like = jax.eval_shape(net.clone(axis_name=None).init, jax.random.key(0), images[:1])
    read = functools.partial(read_variables, like=like, kind="ResNet", scheme="huggingface")
    begun, expected = read(read_tensors(path)), read(read_tensors(tmp_path / "after" / path.name))
    optimizer, numbers = optax.sgd(RATE), np.arange(8, dtype=np.int32)
    state = create(
        begun["params"],
        {"batch_stats": begun["batch_stats"]},
        optimizer.init(begun["params"]),
        ema=False,
    )
    program = compiled_steps.TrainProgram(classify(net, num_classes=7), optimizer, layout)
    batch = {"image": images, "label": numbers % 7, "index": numbers, "epoch": 0 * numbers}
    batch = {name: array[None] for name, array in {**batch, "mask": numbers >= 0}.items()}
    root = layout.replicate(jax.random.key(0))
    state = parallel.fetch(program(layout.place(state), batch, root)[0])
    found = {"params": state.params, **state.model_state}
    for (where, one), other, first in zip(
        jax.tree_util.tree_leaves_with_path(found),
        jax.tree.leaves(expected),
        jax.tree.leaves(begun),
        strict=True,
    ):
        assert not np.array_equal(other, first), where
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6, err_msg=str(where))
