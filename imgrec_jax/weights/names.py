"""What the modules of our networks are called in the checkpoints of others.

A table has a row per module (or lone parameter) of ours, and its names in timm, torchvision and
Hugging Face. `qkv[0]` is the first of three equal parts of `qkv`, along the first axis.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

SCHEMES = ("timm", "torchvision", "huggingface")


class Row(NamedTuple):
    """The path of a module of ours, and its name in each scheme."""

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


TABLES: Mapping[str, Callable[[Sequence[str]], Iterator[Row]]] = {
    "ConvNeXt": convnext,
    "ResNet": resnet,
    "ViT": vit,
}
"""By the name of the module's class."""

CONVENTIONS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("ConvNeXt", "huggingface"): {"epsilon": 1e-12},
    ("ViT", "huggingface"): {"epsilon": 1e-12},
}
"""Settings of our networks that a scheme's weights were trained with, where not our defaults."""


def _children(modules: Sequence[str], prefix: str) -> list[str]:
    """Return the last names of those modules whose path is the prefix and a number."""
    depth = prefix.count("/")
    names = {path.split("/")[depth] for path in modules if path.startswith(prefix)}
    own = prefix.rpartition("/")[2]
    numbered = [name for name in names if name.removeprefix(own).isdecimal()]
    return sorted(numbered, key=lambda name: int(name.removeprefix(own)))


def _prefixed(ours_timm_vision: tuple[str, str, str], face: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows with the prefix of each column before each name."""
    prefixes = (*ours_timm_vision, face)
    return [Row(*(p + name for p, name in zip(prefixes, row, strict=True))) for row in rows]
