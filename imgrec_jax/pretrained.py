"""Networks with weights that others have trained, from safetensors files."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from imgrec_jax import build, networks
from imgrec_jax.config import get_config
from imgrec_jax.core.errors import UsageError, UserError, unknown
from imgrec_jax.preprocessing import NORMALIZATIONS, build_augmentation
from imgrec_jax.trained import Run
from imgrec_jax.training import parallel
from imgrec_jax.weights.convert import count_classes, find_scheme, read_variables
from imgrec_jax.weights.files import read_tensors
from imgrec_jax.weights.names import CONVENTIONS

_TASKS = {"DETR": "detect"}
"""What networks are for that do not classify, by the name of their class."""


def load_pretrained(
    path: str | os.PathLike[str],
    model: str,
    *,
    image_size: int,
    labels: Sequence[str] = (),
    normalization: str = "imagenet",
    scheme: str = "",
    **settings: Any,
) -> Run:
    """Return a network with the weights of a safetensors file, as `load` returns a trained one.

    Whose names the file uses, the number of classes and the epsilon of norms are told by its
    tensors. Learned positions are resized where `image_size` asks for another grid.

    Args:
        path: of the file.
        model: a name such as vit_s16 or resnet50.
        image_size: side of the pictures in pixels.
        labels: the class names in the order of the outputs; by default their numbers.
        normalization: of pixels, by name, as in `data.normalization`; imagenet has three channels.
        scheme: timm, torchvision or huggingface, where the file's own names do not tell.
        settings: of the model, such as epsilon=1e-5, over what the file implies.

    Raises:
        UserError: no such file, or its tensors are not those of the model; all are listed.
        UsageError: an unknown name, or labels for another number of classes.
    """
    if model not in networks.MODELS:
        raise unknown("model", model, networks.MODELS)
    if normalization not in NORMALIZATIONS:
        raise unknown("normalization", normalization, NORMALIZATIONS)
    tensors = read_tensors(path)
    kind = networks.model_kind(model)
    scheme = scheme or find_scheme(kind, list(tensors))
    classes = count_classes(tensors, kind=kind, scheme=scheme)
    if classes < 2:
        raise UserError(
            f"expected weights with a last layer for two or more classes in {path}, got none; "
            "try config.init_from to start from features alone"
        )
    names = tuple(labels) or tuple(map(str, range(classes)))
    if len(names) != classes:
        raise UsageError(
            f"expected labels for the {classes} classes of {path}, got {len(names)}; try none"
        )
    mean, std = NORMALIZATIONS[normalization]
    about = {
        "label_names": names,
        "image_shape": (image_size, image_size, 3),
        "mean": mean,
        "std": std,
    }
    config = _config(model, {**CONVENTIONS.get((kind, scheme), {}), **settings})
    devices = parallel.choose("single", jax.local_devices())
    module = networks.build_model(config, classes, devices)
    blank = jax.ShapeDtypeStruct((1, image_size, image_size, 3), np.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), blank)
    variables = dict(read_variables(tensors, like, kind=kind, scheme=scheme))
    return Run(
        params=variables.pop("params"),
        model_state=variables,
        module=module,
        task=build.build_task(config, about, devices, build_augmentation("")),
        config=config,
        labels=names,
        image_shape=about["image_shape"],
        mean=tuple(mean),
        std=tuple(std),
        step=0,
        metrics={},
        result={},
    )


def _config(model: str, settings: dict[str, Any]) -> Any:
    """Return the base config with a block for the model that holds what differs."""
    config: Any = ConfigDict(get_config("base").to_dict())
    config.model.name = model
    config.model[model] = ConfigDict({**config.model.get(model, {}), **settings})
    config.task.name = _TASKS.get(networks.model_kind(model), "classify")
    return config.lock()
