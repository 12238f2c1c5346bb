"""Start training from a file of weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from imgrec_jax.core.state import TrainState
from imgrec_jax.weights.convert import count_classes, find_scheme, read_variables
from imgrec_jax.weights.detr import OTHER_OUTPUTS, is_detr
from imgrec_jax.weights.files import read_tensors
from imgrec_jax.weights.names import CONVENTIONS


def start_from_file(
    path: str, kind: str, state: TrainState, print_line: Callable[[str], None]
) -> TrainState:
    """Return `state` with the weights and batch statistics of a safetensors file.

    The last layer is loaded if it has the same number of classes, otherwise it keeps its values.
    Everything else must fit. A moving average starts at the same weights.

    Raises:
        UserError: no such file, or tensors that do not fit; all are listed.
    """
    tensors = read_tensors(path)
    scheme = find_scheme(kind, list(tensors))
    classes = count_classes(tensors, kind=kind, scheme=scheme)
    like = {"params": state.params, **state.model_state}
    outputs = classes + OTHER_OUTPUTS.get(kind, 0)
    head = "head" in state.params and outputs == len(state.params["head"]["bias"])
    variables = dict(read_variables(tensors, like, kind=kind, scheme=scheme, head=head))
    print_line(f"{'init_from':>11}  {path}: {len(tensors)} tensors of {scheme}")
    if not head:
        print_line(f"{'initialised':>11}  head (the file has one for {classes} classes)")
    return _with_variables(state, variables, kind, scheme, print_line)


def is_whole(path: str, kind: str) -> bool:
    """Return whether a file holds a whole network with an encoder, not only the encoder.

    Raises:
        UserError: no such file.
    """
    return kind == "DETR" and is_detr(read_tensors(path))


def start_encoder_from_file(
    path: str, kind: str, state: TrainState, print_line: Callable[[str], None]
) -> TrainState:
    """Return `state` with the weights and batch statistics of its encoder from a safetensors file.

    Layers of the file after the features (a last norm, the classifier) are ignored; everything
    else must fit. The rest of the network keeps its values.

    Args:
        path: of the file.
        kind: the class of the encoder, such as ResNet.
        state: of a network with variables `encoder/...` and others.
        print_line: prints a line.

    Raises:
        UserError: no such file, or tensors that do not fit; all are listed.
    """
    tensors = read_tensors(path)
    scheme = find_scheme(kind, list(tensors))
    whole = {"params": state.params, **state.model_state}
    like = {name: tree["encoder"] for name, tree in whole.items() if "encoder" in tree}
    read = read_variables(tensors, like, kind=kind, scheme=scheme, head=False)
    print_line(f"{'init_from':>11}  {path}: {len(tensors)} tensors of {scheme}, into the encoder")
    print_line(f"{'initialised':>11}  all but the encoder")
    variables = {
        name: {**tree, "encoder": read[name]} if name in read else tree
        for name, tree in whole.items()
    }
    return _with_variables(state, variables, kind, scheme, print_line)


def _with_variables(
    state: TrainState, variables: Any, kind: str, scheme: str, print_line: Callable[[str], None]
) -> TrainState:
    variables = jax.tree.map(np.asarray, variables)
    params = variables.pop("params")
    for key, value in CONVENTIONS.get((kind, scheme), {}).items():
        print_line(f"{'note':>11}  these weights were trained with the model's {key}={value}")
    ema = {"params": params, "model_state": variables} if state.ema else {}
    return dataclasses.replace(state, params=params, model_state=variables, ema=ema)  # pyright: ignore[reportArgumentType]
