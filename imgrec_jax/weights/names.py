"""Names of the modules of our networks in checkpoints of other libraries.

A table has a row for each of our modules (or lone parameters), with its names in timm, torchvision
and Hugging Face. `qkv[0]` is the first of three equal parts of `qkv`, along the first axis.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

SCHEMES = ("timm", "torchvision", "huggingface")


class Row(NamedTuple):
    """The path of one of our modules, and its name in each scheme."""

    ours: str
    timm: str
    torchvision: str
    huggingface: str


def vit(modules: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a ViT."""
    face = "vit.embeddings"
    yield Row("class_token", "cls_token", "class_token", f"{face}.cls_token")
    yield Row("positions", "pos_embed", "encoder.pos_embedding", f"{face}.position_embeddings")
    yield Row("embed", "patch_embed.proj", "conv_proj", f"{face}.patch_embeddings.projection")
    for block in _children(modules, "block"):
        i = int(block.removeprefix("block")) - 1
        timm, vision, face = f"blocks.{i}", f"encoder.layers.encoder_layer_{i}", "vit.encoder.layer"
        face = f"{face}.{i}"
        yield Row(f"{block}/norm1", f"{timm}.norm1", f"{vision}.ln_1", f"{face}.layernorm_before")
        for part, name in enumerate(("query", "key", "value")):
            yield Row(
                f"{block}/attention/{name}",
                f"{timm}.attn.qkv[{part}]",
                f"{vision}.self_attention.in_proj_[{part}]",
                f"{face}.attention.attention.{name}",
            )
        yield Row(
            f"{block}/attention/out",
            f"{timm}.attn.proj",
            f"{vision}.self_attention.out_proj",
            f"{face}.attention.output.dense",
        )
        yield Row(f"{block}/norm2", f"{timm}.norm2", f"{vision}.ln_2", f"{face}.layernorm_after")
        expand, project = f"{face}.intermediate.dense", f"{face}.output.dense"
        yield Row(f"{block}/mlp/expand", f"{timm}.mlp.fc1", f"{vision}.mlp.0", expand)
        yield Row(f"{block}/mlp/project", f"{timm}.mlp.fc2", f"{vision}.mlp.3", project)
    yield Row("norm", "norm", "encoder.ln", "vit.layernorm")
    yield Row("head", "head", "heads.head", "classifier")


def convnext(modules: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a ConvNeXt."""
    face = "convnext.embeddings"
    yield Row("stem", "stem.0", "features.0.0", f"{face}.patch_embeddings")
    yield Row("stem_norm", "stem.1", "features.0.1", f"{face}.layernorm")
    for stage in _children(modules, "stage"):
        s = int(stage.removeprefix("stage")) - 1
        face = f"convnext.encoder.stages.{s}"
        down, halved = f"stages.{s}.downsample", f"{face}.downsampling_layer"
        yield Row(f"{stage}/norm", f"{down}.0", f"features.{2 * s}.0", f"{halved}.0")
        yield Row(f"{stage}/down", f"{down}.1", f"features.{2 * s}.1", f"{halved}.1")
        for block in _children(modules, f"{stage}/block"):
            b = int(block.removeprefix("block")) - 1
            yield from _prefixed(
                (f"{stage}/{block}/", f"stages.{s}.blocks.{b}.", f"features.{2 * s + 1}.{b}."),
                f"{face}.layers.{b}.",
                [
                    Row("depthwise", "conv_dw", "block.0", "dwconv"),
                    Row("norm", "norm", "block.2", "layernorm"),
                    Row("expand", "mlp.fc1", "block.3", "pwconv1"),
                    Row("project", "mlp.fc2", "block.5", "pwconv2"),
                    Row("gamma", "gamma", "layer_scale", "layer_scale_parameter"),
                ],
            )
    yield Row("norm", "head.norm", "classifier.0", "convnext.layernorm")
    yield Row("head", "head.fc", "classifier.2", "classifier")


def resnet(modules: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a ResNet."""
    face = "resnet.embedder.embedder"
    yield Row("conv", "conv1", "conv1", f"{face}.convolution")
    yield Row("norm", "bn1", "bn1", f"{face}.normalization")
    for stage in _children(modules, "stage"):
        s = int(stage.removeprefix("stage"))
        for block in _children(modules, f"{stage}/block"):
            b = int(block.removeprefix("block")) - 1
            torch = f"layer{s}.{b}."
            rows = [
                Row("shortcut", "downsample.0", "downsample.0", "shortcut.convolution"),
                Row("shortcut_norm", "downsample.1", "downsample.1", "shortcut.normalization"),
            ]
            for i in (1, 2, 3):
                layer = f"layer.{i - 1}"
                rows.append(Row(f"conv{i}", f"conv{i}", f"conv{i}", f"{layer}.convolution"))
                rows.append(Row(f"norm{i}", f"bn{i}", f"bn{i}", f"{layer}.normalization"))
            face = f"resnet.encoder.stages.{s - 1}.layers.{b}."
            yield from _prefixed((f"{stage}/{block}/", torch, torch), face, rows)
    yield Row("head", "fc", "fc", "classifier.1")


def mobilenet(modules: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a MobileNetV2, or of an EfficientNet (with squeeze-and-excitation)."""
    efficient = any("/squeeze/" in path for path in modules)
    return _efficientnet(modules) if efficient else _mobilenet_v2(modules)


def _mobilenet_v2(modules: Sequence[str]) -> Iterator[Row]:
    blocks, face = _inverted_blocks(modules), "mobilenet_v2"
    stem, top, end = f"{face}.conv_stem.first_conv", f"{face}.conv_1x1", len(blocks) + 1
    yield Row("stem", "conv_stem", "features.0.0", f"{stem}.convolution")
    yield Row("stem_norm", "bn1", "features.0.1", f"{stem}.normalization")
    for number, (stage, place, expands) in enumerate(blocks):
        torch = f"blocks.{stage - 1}.{place - 1}.", f"features.{number + 1}.conv."
        within = f"layer.{number - 1}" if number else "conv_stem"
        rows = _inverted_residual(expands, efficient=False)
        yield from _prefixed((f"stage{stage}_block{place}/", *torch), f"{face}.{within}.", rows)
    yield Row("top", "conv_head", f"features.{end}.0", f"{top}.convolution")
    yield Row("top_norm", "bn2", f"features.{end}.1", f"{top}.normalization")
    yield Row("head", "classifier", "classifier.1", "classifier")


def _efficientnet(modules: Sequence[str]) -> Iterator[Row]:
    blocks, face = _inverted_blocks(modules), "efficientnet"
    stem, encoder, end = f"{face}.embeddings", f"{face}.encoder", blocks[-1][0] + 1
    yield Row("stem", "conv_stem", "features.0.0", f"{stem}.convolution")
    yield Row("stem_norm", "bn1", "features.0.1", f"{stem}.batchnorm")
    for number, (stage, place, expands) in enumerate(blocks):
        torch = f"blocks.{stage - 1}.{place - 1}.", f"features.{stage}.{place - 1}.block."
        rows = _inverted_residual(expands, efficient=True)
        prefix = f"{encoder}.blocks.{number}."
        yield from _prefixed((f"stage{stage}_block{place}/", *torch), prefix, rows)
    yield Row("top", "conv_head", f"features.{end}.0", f"{encoder}.top_conv")
    yield Row("top_norm", "bn2", f"features.{end}.1", f"{encoder}.top_bn")
    yield Row("head", "classifier", "classifier.1", "classifier")


def _inverted_blocks(modules: Sequence[str]) -> list[tuple[int, int, bool]]:
    """Return stage and index of each block `stage1_block1`, and whether it has an expansion."""
    names = {path.partition("/")[0] for path in modules if "_block" in path}
    found = [(*map(int, re.findall(r"\d+", name)), name) for name in names]
    return [
        (stage, place, any(path.startswith(f"{name}/expand/") for path in modules))
        for stage, place, name in sorted(found)
    ]


_INVERTED = {
    True: {
        "expand": ("expansion.expand_conv", "expansion.expand_bn"),
        "depthwise": ("depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm"),
        "project": ("projection.project_conv", "projection.project_bn"),
    },
    False: {
        "expand": ("expand_1x1.convolution", "expand_1x1.normalization"),
        "depthwise": ("conv_3x3.convolution", "conv_3x3.normalization"),
        "project": ("reduce_1x1.convolution", "reduce_1x1.normalization"),
    },
}
"""Hugging Face's names of convolutions and norms, in EfficientNet and in MobileNetV2."""


def _inverted_residual(expands: bool, *, efficient: bool) -> list[Row]:
    """Return the rows of a block, which may lack the first convolution."""
    layers = ("expand", "depthwise", "project") if expands else ("depthwise", "project")
    timm = ("conv_pw", "conv_dw", "conv_pwl") if expands else ("conv_dw", "conv_pw")
    vision = [(f"{i}.0", f"{i}.1") for i in range(len(layers) + 1)]
    last = len(layers) - 1
    if efficient:  # squeeze-and-excitation precedes the last one
        vision.pop(last)
    else:  # without activation, and so without its own group
        vision[last] = f"{last}", f"{last + 1}"
    rows = []
    for i, layer in enumerate(layers):
        face = _INVERTED[efficient][layer]
        rows.append(Row(layer, timm[i], vision[i][0], face[0]))
        rows.append(Row(f"{layer}_norm", f"bn{i + 1}", vision[i][1], face[1]))
    if efficient:
        rows.append(Row("squeeze", "se.conv_reduce", f"{last}.fc1", "squeeze_excite.reduce"))
        rows.append(Row("excite", "se.conv_expand", f"{last}.fc2", "squeeze_excite.expand"))
    return rows


TABLES: Mapping[str, Callable[[Sequence[str]], Iterator[Row]]] = {
    "ConvNeXt": convnext,
    "MobileNet": mobilenet,
    "ResNet": resnet,
    "ViT": vit,
}
"""Tables by class name of the module."""

CONVENTIONS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("ConvNeXt", "huggingface"): {"epsilon": 1e-12},
    ("MobileNet", "huggingface"): {"epsilon": 1e-3, "same": True},
    ("ViT", "huggingface"): {"epsilon": 1e-12},
}
"""Settings that a scheme's weights were trained with, if they differ from our defaults."""


def _children(modules: Sequence[str], prefix: str) -> list[str]:
    """Return the last names of the modules whose path is the prefix and a number."""
    depth = prefix.count("/")
    names = {path.split("/")[depth] for path in modules if path.startswith(prefix)}
    own = prefix.rpartition("/")[2]
    numbered = [name for name in names if name.removeprefix(own).isdecimal()]
    return sorted(numbered, key=lambda name: int(name.removeprefix(own)))


def _prefixed(ours_timm_vision: tuple[str, str, str], face: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows with the prefix of each column prepended to its names."""
    prefixes = (*ours_timm_vision, face)
    return [Row(*(p + name for p, name in zip(prefixes, row, strict=True))) for row in rows]
