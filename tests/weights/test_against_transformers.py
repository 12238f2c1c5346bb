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
import pytest

import imgrec_jax
from imgrec_jax import networks
from imgrec_jax.models.convnext import ConvNeXt
from imgrec_jax.models.mobile import MobileNet, Stage
from imgrec_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from imgrec_jax.models.vit import ViT
from imgrec_jax.weights.convert import SCHEMES, find_scheme, read_variables, write_variables
from imgrec_jax.weights.files import read_tensors, write_tensors

PROGRAM = Path(__file__).with_name("reference.py")
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


@pytest.fixture(params=SMALL)
def reference(request, tmp_path, monkeypatch):
    """A kind, the file of its random weights, pictures and the logits that torch gives for them."""
    if not torch_is_there():
        pytest.skip(f"needs torch and transformers in {TORCH}; TORCH_PYTHON names another")
    command = [TORCH, str(PROGRAM), request.param, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.setitem(networks.MODELS, "small", SMALL[request.param])
    expected = np.load(tmp_path / "expected.npz")
    path = tmp_path / "model.safetensors"
    return SMALL[request.param].func.__name__, path, expected["images"], expected["logits"]


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
