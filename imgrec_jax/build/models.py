"""Models and encoders by name, built with the settings of the config."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from imgrec_jax.config import Config
from imgrec_jax.config_files import setting_ranges
from imgrec_jax.core.errors import UsageError, did_you_mean, unknown
from imgrec_jax.core.pipeline import (
    Call,
    annotated_range,
    bind_call,
    check_argument,
    parse_pipeline,
)
from imgrec_jax.models import airbench, convnext, mixer, mobile, resnet, wide_resnet
from imgrec_jax.models.blocks.plain_encoder import PlainEncoder
from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.models.deeplab import DeepLab
from imgrec_jax.models.detr import DETR
from imgrec_jax.models.fcos import FCOS
from imgrec_jax.models.super_resolution import EDSR, ESPCN, FSRCNN
from imgrec_jax.models.unet import UNet
from imgrec_jax.models.vit import VITS
from imgrec_jax.ops import attention
from imgrec_jax.ops.fast import convolution, pooling
from imgrec_jax.tasks.forward import Network
from imgrec_jax.training.step.parallel import Parallel

MODELS: Mapping[str, Callable[..., Network]] = {
    "airbench94": airbench.airbench94,
    "airbench96": airbench.airbench96,
    "convnet": ConvNet,
    "convnext_base": convnext.convnext_base,
    "convnext_small": convnext.convnext_small,
    "convnext_tiny": convnext.convnext_tiny,
    "deeplab": DeepLab,
    "detr": DETR,
    "efficientnet_b0": mobile.efficientnet_b0,
    "fcos": FCOS,
    "mixer_s16": mixer.mixer_s16,
    "mobilenet_v2": mobile.mobilenet_v2,
    "resnet18": resnet.resnet18,
    "resnet34": resnet.resnet34,
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
    "resnet152": resnet.resnet152,
    "unet": UNet,
    "wrn16_8": wide_resnet.wrn16_8,
    "wrn28_10": wide_resnet.wrn28_10,
    **VITS,
}
UPSCALERS: Mapping[str, Callable[..., Network]] = {"edsr": EDSR, "espcn": ESPCN, "fsrcnn": FSRCNN}
"""Networks that return enlarged images."""
ENCODERS: Mapping[str, Callable[..., nn.Module]] = {
    "plain": PlainEncoder,
    **{
        name: functools.partial(model, num_classes=0, features_only=True)
        for name, model in MODELS.items()
        if name.startswith(("resnet", "convnext"))
    },
}
"""Values of a model's `encoder`: modules that return features from fine to coarse."""


def build_model(config: Config, num_classes: int, devices: Parallel) -> Network:
    """Return the network, with the implementations of `ops` that are faster on its devices."""
    name = config.model.name
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    # Only the block of the chosen model or of its family (vit of vit_s16) is read; a model
    # without a block uses its own defaults.
    block = name if name in config.model else name.partition("_")[0]
    settings = dict(config.model[block]) if block in config.model else {}
    fields = inspect.signature(MODELS[name]).parameters.keys() - {"parent", "name"}
    for key in settings:
        if key not in fields:
            hint = did_you_mean(key, fields) or f"; known: {', '.join(sorted(fields))}"
            raise UsageError(f"model '{name}' takes no '{key}'{hint}")
    layers: dict[str, Any] = {
        "dtype": jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32,
        "axis_name": devices.norm_axis,
    }
    first = devices.devices[0]
    if config.ops == "auto":
        layers["attention"] = attention.attention_on(first, layers["dtype"])
    if config.ops == "auto" and first.platform == "cpu":
        layers["conv"] = functools.partial(
            nn.Conv, conv_general_dilated=convolution.conv_general_dilated
        )
        layers["max_pool"] = pooling.max_pool
    if "encoder" in fields:
        settings["encoder"] = _build_encoder(settings.get("encoder", "plain"), layers)
    settings |= {field: value for field, value in layers.items() if field in fields}
    return MODELS[name](num_classes=num_classes, **settings)


def build_upscaler(config: Config, scale: int, channels: int) -> Network:
    """Return the network of a config that enlarges images of so many channels.

    XLA's own convolutions are the quickest for its few channels, on every device.
    """
    name = config.model.name
    if name not in UPSCALERS:
        raise unknown("model that enlarges images", name, UPSCALERS)
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    settings = dict(config.model.get(name, {}))
    return UPSCALERS[name](scale=scale, channels=channels, dtype=dtype, **settings)


def _build_encoder(text: str, layers: Mapping[str, Any]) -> nn.Module:
    """Return the encoder of a call such as "plain(width=32)", built from the same layers."""
    call = _encoder_call(text)
    fields = inspect.signature(ENCODERS[call.name]).parameters
    taken = {field: value for field, value in layers.items() if field in fields}
    check_settings(call)
    return bind_call("encoder", call._replace(kwargs={**taken, **call.kwargs}), ENCODERS)


def check_settings(call: Call) -> None:
    """Raise if a setting of an encoder is unknown or lies outside of its range."""
    fields = inspect.signature(ENCODERS[call.name]).parameters
    family = call.name.partition("_")[0]
    annotated = {key: found for key in fields if (found := annotated_range(fields[key]))}
    ranges = {**annotated, **setting_ranges(f"model.{family}")}
    for key, value in call.kwargs.items():
        if key not in ranges:
            hint = did_you_mean(key, ranges) or f"; known: {', '.join(sorted(ranges))}"
            raise UsageError(f"encoder '{call.name}' takes no '{key}'{hint}")
        check_argument(f"{call.name}({key}=...)", value, ranges[key], fields[key].default)


def encoder_kind(config: Config) -> str:
    """Return the class name of a model's encoder, such as ResNet; "" if it has none."""
    name = config.model.name
    if name not in config.model or "encoder" not in config.model[name]:
        return ""
    return _class_name(ENCODERS[_encoder_call(config.model[name].encoder).name])


def _encoder_call(text: str) -> Call:
    calls = parse_pipeline(text)
    if len(calls) != 1:
        raise UsageError(f"expected one encoder, got '{text}'; try 'plain(width=32, depth=5)'")
    if calls[0].name not in ENCODERS:
        raise unknown("encoder", calls[0].name, ENCODERS)
    return calls[0]


def model_kind(name: str) -> str:
    """Return the class name of a model, such as ViT for vit_s16."""
    return _class_name(MODELS[name])


def _class_name(model: Any) -> str:
    while isinstance(model, functools.partial):
        model = model.func
    return model.__name__
