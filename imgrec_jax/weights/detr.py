"""Names of the modules of DETR in checkpoints of other libraries.

Some Hugging Face files name their ResNet as timm does (such as facebook/detr-resnet-50), others
have their own ResNet. The third scheme is that of the authors, who build on torchvision.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from imgrec_jax.weights.names import Row, resnet

OTHER_OUTPUTS: Mapping[str, int] = {"DETR": 1}
"""Number of outputs of the last layer that are not a class ("no object"), by kind of network."""

_FACE = "model.backbone.conv_encoder.model."
_FOLDER = "encoder/"


def is_detr(names: Collection[str]) -> bool:
    """Return whether the names are those of a whole DETR, in any scheme."""
    return any(f"{name}.weight" in names for name in ("input_proj", "model.input_projection"))


def detr(modules: Sequence[str]) -> Iterator[Row]:
    """Return the rows of a DETR with a ResNet."""
    inner = [path.removeprefix(_FOLDER) for path in modules if path.startswith(_FOLDER)]
    for row in resnet(inner):
        if row.ours != "head":
            face = row.huggingface.removeprefix("resnet.")
            vision = f"backbone.0.body.{row.torchvision}"
            yield Row(f"{_FOLDER}{row.ours}", f"{_FACE}{row.timm}", vision, f"{_FACE}{face}")
    for side in ("encoder", "decoder"):
        prefix = f"{side}_layer"
        for layer in {path.partition("/")[0] for path in modules if path.startswith(prefix)}:
            i = int(layer.removeprefix(prefix)) - 1
            yield from _layer(f"{layer}/", f"{side}.layers.{i}.", side == "decoder")
    yield _row("queries", "query_embed.weight", "model.query_position_embeddings.weight")
    yield _row("neck", "input_proj", "model.input_projection")
    yield _row("norm", "transformer.decoder.norm", "model.decoder.layernorm")
    yield _row("head", "class_embed", "class_labels_classifier")
    for i in range(3):
        yield _row(f"box{i + 1}", f"bbox_embed.layers.{i}", f"bbox_predictor.layers.{i}")


def _layer(ours: str, theirs: str, crossing: bool) -> Iterator[Row]:
    """Return the rows of a layer; `crossing` if it also attends to the image."""
    attentions = [("attention", "self_attn", "self_attn")]
    norms = [("norm1", "norm1", "self_attn_layer_norm")]
    if crossing:
        attentions.append(("cross", "multihead_attn", "encoder_attn"))
        norms.append(("cross_norm", "norm2", "encoder_attn_layer_norm"))
    norms.append(("norm2", f"norm{len(norms) + 1}", "final_layer_norm"))
    rows = [*norms, ("expand", "linear1", "fc1"), ("project", "linear2", "fc2")]
    for own, vision, face in attentions:
        for part, name in enumerate(("query", "key", "value")):
            its = f"{face}.{name[0]}_proj"
            rows.append((f"{own}/{name}", f"{vision}.in_proj_[{part}]", its))
        rows.append((f"{own}/out", f"{vision}.out_proj", f"{face}.out_proj"))
    for own, vision, face in rows:
        yield _row(ours + own, f"transformer.{theirs}{vision}", f"model.{theirs}{face}")


def _row(ours: str, vision: str, face: str) -> Row:
    return Row(ours, face, vision, face)
