"""Files of weights of whole networks, taken into the encoder of a dense one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import create
from imgrec_jax.models.convnext import ConvNeXt
from imgrec_jax.models.deeplab import DeepLab
from imgrec_jax.models.resnet import resnet18
from imgrec_jax.models.unet import UNet
from imgrec_jax.weights.convert import write_variables
from imgrec_jax.weights.files import write_tensors
from imgrec_jax.weights.start import start_encoder_from_file

NEXT = {"stage_sizes": (1, 1), "widths": (4, 8)}


def filled(module, value):
    """Return variables that all hold a number: made without computing anything."""
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), images)
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), like)


def started(tmp_path, whole, kind, dense, lines):
    path = tmp_path / "whole.safetensors"
    write_tensors(path, write_variables(filled(whole, 7.0), kind=kind, scheme="timm"))
    variables = filled(dense, 1.0)
    params = variables.pop("params")
    state = create(params, variables, {}, ema=True)
    return start_encoder_from_file(str(path), kind, state, lines.append)


def values(tree):
    return {float(number) for leaf in jax.tree.leaves(tree) for number in np.unique(leaf)}


def check(state):
    for params in (state.params, state.ema["params"]):
        assert values(params["encoder"]) == {7.0}
        assert values({name: t for name, t in params.items() if name != "encoder"}) == {1.0}


def test_a_residual_network_with_its_statistics(tmp_path):
    lines = []
    dense = UNet(3, resnet18(width=4, num_classes=0, features_only=True))
    state = started(tmp_path, resnet18(width=4, num_classes=10), "ResNet", dense, lines)
    check(state)
    assert values(state.model_state["batch_stats"]["encoder"]) == {7.0}
    assert values(state.model_state["batch_stats"]["up1_conv1"]) == {1.0}
    assert lines[0].endswith("tensors of timm, into the encoder")


def test_what_lies_behind_the_features_is_left(tmp_path):
    """ConvNeXt has a norm between its features and its last layer."""
    dense = DeepLab(3, ConvNeXt(num_classes=0, features_only=True, **NEXT), width=4)
    check(started(tmp_path, ConvNeXt(num_classes=10, **NEXT), "ConvNeXt", dense, []))


def test_another_network_does_not_fit(tmp_path):
    dense = UNet(3, resnet18(width=8, num_classes=0, features_only=True))
    with pytest.raises(UserError, match=r"misshapen conv1\.weight .* for conv/kernel"):
        started(tmp_path, resnet18(width=4, num_classes=10), "ResNet", dense, [])
