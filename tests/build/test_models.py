"""Dense models over every encoder, built as the command line asks for them."""

import functools

import jax
import jax.numpy as jnp
import pytest

from imgrec_jax.build.experiment import build_parallel
from imgrec_jax.build.models import build_model, encoder_kind
from imgrec_jax.config import parse_command_line
from imgrec_jax.core.errors import UsageError

RESNET = "resnet18(width=4)"
CONVNEXT = "convnext_tiny(stage_sizes=(1, 1, 1, 1), widths=(4, 4, 8, 8))"


def configured(model, encoder):
    flags = [f"--config.model.name={model}", f"--config.model.{model}.encoder={encoder}"]
    return parse_command_line(["--config=base", "--config.parallel.mode=single", *flags]).config


def shapes(model, encoder):
    """Return what a model gives for two images of 64x96, and its variables, without computing."""
    config = configured(model, encoder)
    module = build_model(config, 5, build_parallel(config))
    images = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.float32)
    run = functools.partial(module.init_with_output, train=False)
    return jax.eval_shape(run, jax.random.key(0), images)


@pytest.mark.parametrize("encoder", ["plain(width=4)", RESNET, "resnet50(width=4)", CONVNEXT])
@pytest.mark.parametrize("model", ["unet", "deeplab"])
def test_logits_of_each_pixel_over_any_encoder(model, encoder):
    logits, variables = shapes(model, encoder)
    assert logits.shape == (2, 64, 96, 5)
    assert "encoder" in variables["params"]


@pytest.mark.parametrize("encoder", ["plain(width=4, stride=2)", RESNET, CONVNEXT])
def test_boxes_from_any_encoder(encoder):
    outputs, _ = shapes("fcos", encoder)
    places = 8 * 12 + 4 * 6 + 2 * 3
    assert outputs["logits"].shape == (2, places, 5)
    assert outputs["distances"].shape == (2, places, 4)


def test_a_set_of_boxes_from_the_last_features_of_an_encoder():
    outputs, variables = shapes("detr", RESNET)
    assert outputs["logits"].shape == (2, 6, 100, 6)
    assert outputs["boxes"].shape == (2, 6, 100, 4)
    assert variables["params"]["neck"]["kernel"].shape == (1, 1, 32, 256)


def test_settings_reach_the_encoder():
    _, variables = shapes("unet", RESNET)
    assert variables["params"]["encoder"]["conv"]["kernel"].shape == (7, 7, 3, 4)
    assert encoder_kind(configured("unet", RESNET)) == "ResNet"
    assert encoder_kind(configured("deeplab", CONVNEXT)) == "ConvNeXt"
    base = parse_command_line(["--config=base", "--config.model.name=resnet18"]).config
    assert encoder_kind(base) == ""


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("resnet19", "did you mean 'resnet1"),
        ("resnet18(widht=4)", "did you mean 'width'"),
        ("plain|plain", "expected one encoder"),
    ],
)
def test_impossible_encoders(encoder, message):
    with pytest.raises(UsageError, match=message):
        shapes("unet", encoder)
