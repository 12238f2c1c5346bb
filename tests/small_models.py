"""Every model at a small size, for 16x16 images: add a line, and it is tested with the others."""

import functools
from typing import Any, NamedTuple

from imgrec_jax.models.airbench import Airbench
from imgrec_jax.models.convnet import ConvNet
from imgrec_jax.models.convnext import ConvNeXt
from imgrec_jax.models.mixer import Mixer
from imgrec_jax.models.mobile import Stage, efficientnet_b0, mobilenet_v2
from imgrec_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from imgrec_jax.models.vit import ViT
from imgrec_jax.models.wide_resnet import WideResNet


class Case(NamedTuple):
    """A model, and whether it has BatchNorm."""

    make: Any
    batch_norm: bool = True


EDGE = {
    "stages": (Stage(1, 8, 1, 1), Stage(6, 8, 2, 2)),
    "stem": 8,
    "top": 16,
    "dropout": 0.0,
    "stochastic_depth": 0.0,
}
MIXER = {"patch": 4, "width": 16, "depth": 2, "tokens_hidden": 8, "channels_hidden": 32}
NEXT = {"stage_sizes": (1, 1), "widths": (8, 16), "layer_scale": 1.0}
MODELS = {
    "airbench": Case(functools.partial(Airbench, widths=(4, 8))),
    "convnet": Case(functools.partial(ConvNet, width=4, hidden=8), batch_norm=False),
    "convnext": Case(functools.partial(ConvNeXt, **NEXT), batch_norm=False),
    "efficientnet": Case(functools.partial(efficientnet_b0, **EDGE)),
    "mixer": Case(functools.partial(Mixer, **MIXER), batch_norm=False),
    "mobilenet": Case(functools.partial(mobilenet_v2, **EDGE)),
    "resnet18": Case(functools.partial(ResNet, (1, 1), BasicBlock, width=4, stem="cifar")),
    "resnet50": Case(functools.partial(ResNet, (1, 1), Bottleneck, width=4)),
    "vit": Case(functools.partial(ViT, patch=4, width=16, depth=2, heads=2), batch_norm=False),
    "wide_resnet": Case(functools.partial(WideResNet, blocks=1, width=4)),
}
