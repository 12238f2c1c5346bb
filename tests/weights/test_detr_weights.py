"""DETR from the files of others and back; what it says equals the network of `transformers`.

torch may live in another environment: TORCH_PYTHON names its interpreter.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from made_voc import make_voc

import imgrec_jax
from imgrec_jax.build.experiment import build_experiment
from imgrec_jax.core.errors import UserError
from imgrec_jax.core.state import create
from imgrec_jax.models.detr import DETR
from imgrec_jax.models.resnet import Bottleneck, ResNet
from imgrec_jax.weights.convert import (
    SCHEMES,
    count_classes,
    find_scheme,
    read_variables,
    write_variables,
)
from imgrec_jax.weights.detr import is_detr
from imgrec_jax.weights.files import read_tensors, write_tensors

PROGRAM = Path(__file__).with_name("detr_reference.py")
TORCH = os.environ.get("TORCH_PYTHON", sys.executable)
SMALL = {
    "encoder": "resnet50(stage_sizes=(1, 2), width=8)",
    "width": 32,
    "heads": 4,
    "hidden": 48,
    "encoder_depth": 2,
    "decoder_depth": 2,
    "queries": 6,
}


def tiny(num_classes=3, queries=5):
    return DETR(
        num_classes=num_classes,
        encoder=ResNet((1, 1), Bottleneck, num_classes=0, width=4, features_only=True),
        width=8,
        heads=2,
        hidden=12,
        encoder_depth=1,
        decoder_depth=2,
        queries=queries,
    )


def numbered(module):
    """Return variables that hold a number of their own each, without computing anything."""
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), images)
    leaves, tree = jax.tree.flatten(like)
    filled = [
        np.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) + 10_000 * number
        for number, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, filled)


KNOWN = {
    "huggingface": [
        "model.backbone.conv_encoder.model.embedder.embedder.convolution.weight",
        "model.backbone.conv_encoder.model.encoder.stages.1.layers.0.layer.2.normalization.bias",
    ],
    "timm": [
        "model.backbone.conv_encoder.model.conv1.weight",
        "model.backbone.conv_encoder.model.layer2.0.bn3.running_var",
        "model.decoder.layers.1.encoder_attn.q_proj.weight",
        "model.decoder.layers.0.encoder_attn_layer_norm.bias",
        "model.encoder.layers.0.final_layer_norm.weight",
        "class_labels_classifier.weight",
        "bbox_predictor.layers.2.bias",
    ],
    "torchvision": [
        "backbone.0.body.layer1.0.downsample.0.weight",
        "transformer.encoder.layers.0.self_attn.in_proj_weight",
        "transformer.encoder.layers.0.norm2.bias",
        "transformer.decoder.layers.1.multihead_attn.out_proj.bias",
        "transformer.decoder.layers.1.norm3.weight",
        "query_embed.weight",
    ],
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_there_and_back_in_all_names(scheme):
    variables = numbered(tiny())
    tensors = write_variables(variables, kind="DETR", scheme=scheme)
    assert set(KNOWN[scheme]) <= set(tensors)
    assert find_scheme("DETR", list(tensors)) == scheme
    assert is_detr(tensors)
    assert count_classes(tensors, kind="DETR", scheme=scheme) == 3
    read = read_variables(tensors, variables, kind="DETR", scheme=scheme)
    jax.tree.map(np.testing.assert_array_equal, read, variables)
    query = tensors.get("query_embed.weight", tensors.get("model.query_position_embeddings.weight"))
    np.testing.assert_array_equal(query, variables["params"]["queries"])


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """What a config with the network of `tiny` and two classes would train."""
    folder = tmp_path_factory.mktemp("voc")
    make_voc(folder, splits=(("train", 2),))
    sizes = {"width": 8, "heads": 2, "hidden": 12, "queries": 5}
    sizes |= {"encoder_depth": 1, "decoder_depth": 2}
    settings = {f"model__detr__{name}": value for name, value in sizes.items()}
    config = imgrec_jax.get_config(
        "bccd_detr",
        data__source=f"voc:{folder}",
        data__max_boxes=5,
        model__detr__encoder="resnet50(stage_sizes=(1, 1), width=4)",
        init_from=str(folder / "weights.safetensors"),
        **settings,
    )
    return build_experiment(config)


def started(experiment, tensors):
    """Return the state of zeros after `init_from` a file of some tensors, and what was said."""
    write_tensors(experiment.outputs.facts["config"]["init_from"], tensors)
    lines, fresh = [], jax.tree.map(np.zeros_like, numbered(tiny(num_classes=2)))
    state = create(fresh.pop("params"), fresh, {}, ema=False)
    return experiment.warm_start(state, lines.append), " ".join(lines)


@pytest.mark.parametrize("classes", [2, 3])
def test_training_starts_from_a_whole_file(experiment, classes):
    """A last layer for other classes is initialised, everything else is taken."""
    taken = numbered(tiny(num_classes=classes))
    tensors = write_variables(taken, kind="DETR", scheme="timm")
    begun, lines = started(experiment, tensors)
    for name, values in taken["params"].items():
        if name != "head":
            jax.tree.map(np.testing.assert_array_equal, begun.params[name], values)
    statistics = {"batch_stats": taken["batch_stats"]}
    jax.tree.map(np.testing.assert_array_equal, begun.model_state, statistics)
    assert begun.params["head"]["bias"].shape == (3,)
    assert begun.params["head"]["bias"].any() == (classes == 2)
    assert ("the file has one for 3 classes" in lines) == (classes == 3)


def test_training_starts_from_a_file_of_the_encoder(experiment):
    encoder = numbered(tiny().encoder.clone(num_classes=7, features_only=False))
    tensors = write_variables(encoder, kind="ResNet", scheme="timm")
    begun, lines = started(experiment, tensors)
    for name, values in begun.params["encoder"].items():
        jax.tree.map(np.testing.assert_array_equal, values, encoder["params"][name])
    assert not begun.params["neck"]["kernel"].any()
    assert "into the encoder" in lines


def test_what_does_not_fit_is_listed():
    tensors = write_variables(numbered(tiny()), kind="DETR", scheme="timm")
    with pytest.raises(UserError, match=r"misshapen model\.query_position_embeddings\.weight \(5"):
        read_variables(tensors, numbered(tiny(queries=7)), kind="DETR", scheme="timm")


def test_a_loaded_detector_is_a_run(tmp_path):
    """Without a word about its kind: the file tells the classes, the model its task."""
    variables = numbered(tiny())
    path = tmp_path / "detr.safetensors"
    write_tensors(path, write_variables(variables, kind="DETR", scheme="huggingface"))
    settings = {**SMALL, "encoder": "resnet50(stage_sizes=(1, 1), width=4)", "width": 8}
    settings |= {"heads": 2, "hidden": 12, "encoder_depth": 1, "queries": 5}
    run = imgrec_jax.load_pretrained(path, model="detr", image_size=32, **settings)
    assert run.labels == ("0", "1", "2")
    assert run.config.task.name == "detect"
    jax.tree.map(np.testing.assert_array_equal, run.params, variables["params"])
    lines = run.logits(np.zeros((2, 32, 32, 3), np.float32))
    assert {name: value.shape for name, value in lines.items()} == {
        "boxes": (2, 2, 5, 4),
        "logits": (2, 2, 5, 4),
    }


def reference(size, folder):
    """Return the file of a random network of `transformers`, and what torch says with it."""
    found = subprocess.run(
        [TORCH, "-c", "import torch, transformers"], capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip(f"needs torch and transformers in {TORCH}; TORCH_PYTHON names another")
    command = [TORCH, str(PROGRAM), size, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "model.safetensors", np.load(folder / "expected.npz")


@pytest.mark.torch
@pytest.mark.parametrize(
    ("size", "settings"),
    [("small", SMALL), pytest.param("whole", {}, marks=pytest.mark.slow)],
)
def test_the_same_logits_and_boxes(size, settings, tmp_path):
    path, expected = reference(size, tmp_path)
    run = imgrec_jax.load_pretrained(path, model="detr", image_size=64, **settings)
    images = jnp.asarray(expected["images"])
    plain = run.logits(images)
    variables = {"params": run.params, **run.model_state}
    padded = jax.jit(run.module.apply)(variables, images, pixel_mask=expected["seen"])
    for name, lines in (("plain", plain), ("padded", padded)):
        for what in ("logits", "boxes"):
            theirs = expected[f"{name}_{what}"]
            tolerance = 2e-5 * np.abs(theirs).max()
            np.testing.assert_allclose(lines[what][:, -1], theirs, rtol=0, atol=tolerance)
    # The mask is heeded, and only by the image that it is about.
    assert np.abs(expected["plain_boxes"] - expected["padded_boxes"])[1].max() > 1e-3
    written = write_variables(variables, kind="DETR", scheme="huggingface")
    tensors = read_tensors(path)
    assert written.keys() == tensors.keys()
    jax.tree.map(np.testing.assert_array_equal, written, tensors)
    if size == "whole":
        assert sum(leaf.size for leaf in jax.tree.leaves(run.params)) == 41_577_888
        assert int(expected["parameters"]) == 41_524_768
    answer = run.predict(np.zeros((1, 64, 64, 3), np.uint8))
    assert answer["boxes"].shape == (1, expected["plain_boxes"].shape[1], 4)
