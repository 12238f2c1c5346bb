"""Load and save pretrained networks as safetensors files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from imgrec_jax.build import models
from imgrec_jax.build.preprocessing import build_augmentations, read_normalization
from imgrec_jax.build.tasks import build_task, task_of_model
from imgrec_jax.config import get_config
from imgrec_jax.core.errors import UsageError, UserError, unknown
from imgrec_jax.core.facts import completed
from imgrec_jax.core.task import Facts, Score, Task
from imgrec_jax.runs.trained import Run
from imgrec_jax.training.step import parallel
from imgrec_jax.weights import hub
from imgrec_jax.weights.convert import (
    count_classes,
    find_scheme,
    read_variables,
    write_variables,
)
from imgrec_jax.weights.files import read_tensors, write_tensors
from imgrec_jax.weights.names import CONVENTIONS

_IMAGENET = hub.Expected((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0, 1.0, (), {})
"""Assumed preprocessing for a file that does not specify any."""


def load_pretrained(
    path: str | os.PathLike[str],
    model: str,
    *,
    image_size: int = 0,
    labels: Sequence[str] = (),
    normalization: str = "",
    scheme: str = "",
    **settings: Any,
) -> Run:
    """Return a network with the weights of a safetensors file, as a `Run`, like `load`.

    The file may be on the Hugging Face hub ("hf:timm/resnet50.a1_in1k"), which then also provides
    the preprocessing and, if available, the labels.

    The naming scheme, the number of classes and the epsilon of norms follow from the tensors.
    Learned positions are resized if `image_size` implies another grid. A file without a last layer,
    as from a self-supervised network, provides only features.

    Args:
        path: of the file, or its name on the hub.
        model: a name such as vit_s16 or resnet50.
        image_size: side of the images in pixels; by default that of the weights on the hub.
        labels: the class names in the order of the outputs; by default their numbers.
        normalization: of pixels, as in `data.normalization`; by default that of the weights on the
            hub, and imagenet for a file.
        scheme: timm, torchvision or huggingface, if the names in the file are ambiguous.
        settings: of the model, such as epsilon=1e-5; they override what the file implies.

    Raises:
        UserError: no such file or name, or its tensors do not fit the model; all are listed.
        UsageError: an unknown name, or labels for another number of classes.
    """
    if model not in models.MODELS:
        raise unknown("model", model, models.MODELS)
    file, expected = _find(os.fspath(path), image_size, normalization)
    tensors = read_tensors(file)
    kind = models.model_kind(model)
    scheme = scheme or find_scheme(kind, list(tensors))
    classes = count_classes(tensors, kind=kind, scheme=scheme)
    facts = _facts(_label_names(path, classes, labels, expected.labels), expected)
    implied = {**CONVENTIONS.get((kind, scheme), {}), **expected.settings}
    config = _config(model, {**implied, **settings}, expected.crop)
    devices = parallel.choose("single", jax.local_devices())
    task = build_task(config, facts, devices, build_augmentations("")) if classes else _MUTE
    module = models.build_model(config, classes, devices)
    blank = jax.ShapeDtypeStruct((1, *facts["image_shape"]), np.float32)
    like = jax.eval_shape(module.init, jax.random.key(0), blank)
    variables = dict(read_variables(tensors, like, kind=kind, scheme=scheme))
    return Run(
        params=variables.pop("params"),
        model_state=variables,
        module=module,
        task=task,
        config=config,
        facts=facts,
        step=0,
        metrics={},
        result={},
    )


def save_pretrained(run: Run, path: str | os.PathLike[str], scheme: str = "timm") -> None:
    """Write the weights of a run as a safetensors file for other libraries.

    Args:
        run: of a ResNet, ViT, ConvNeXt, MobileNetV2, EfficientNet-B0 or DETR.
        path: of the file.
        scheme: naming of the tensors: timm, torchvision or huggingface.

    Raises:
        UserError: the file cannot be written.
        UsageError: unknown scheme, or it has no names for this network.
    """
    kind = models.model_kind(run.config.model.name)
    variables = {"params": run.params, **run.model_state}
    write_tensors(path, write_variables(variables, kind=kind, scheme=scheme))


def _facts(label_names: Sequence[str], expected: hub.Expected) -> Facts:
    return completed(
        {
            "label_names": label_names,
            "image_shape": (expected.size, expected.size, 3),
            "mean": expected.mean,
            "std": expected.std,
        }
    )


def _label_names(
    path: str | os.PathLike[str], classes: int, requested: Sequence[str], known: Sequence[str]
) -> tuple[str, ...]:
    """Return the requested names of the classes, else the known ones, else their numbers."""
    if classes == 1:
        raise UserError(
            f"expected a last layer for two or more classes in {path}, or none, got one for a "
            "single class; try config.init_from to start from its features"
        )
    if requested and len(requested) != classes:
        raise UsageError(
            f"expected labels for the {classes} classes of {path}, got {len(requested)}; try none"
        )
    numbers = map(str, range(classes))
    return tuple(requested) or tuple(known if len(known) == classes else numbers)


def _features_alone(*arguments: Any) -> Any:
    """Raise for task functions of a network without a last layer."""
    del arguments
    raise UsageError(
        "expected weights with a classification layer, got only features; "
        "try run.features, or the verb probe"
    )


_MUTE = Task(
    init=_features_alone,
    count=_features_alone,
    loss=_features_alone,
    predict=_features_alone,
    metric_sums=_features_alone,
    compute_metrics=_features_alone,
    headline=Score("accuracy"),
)


def _find(path: str, image_size: int, normalization: str) -> tuple[str | Path, hub.Expected]:
    """Return the file of weights, and the requested or else expected preprocessing."""
    file, expected = hub.fetch(path) if path.startswith(hub.PREFIX) else (path, _IMAGENET)
    if image_size:
        expected = expected._replace(size=image_size)
    if normalization:
        mean, std = map(tuple, read_normalization(normalization))
        expected = expected._replace(mean=mean, std=std)
    if not expected.size:
        raise UsageError(f"expected image_size for {path}, got none; try image_size=224")
    return file, expected


def _config(model: str, settings: dict[str, Any], crop: float) -> Any:
    """Return the base config with a block for the model's changed settings."""
    config: Any = ConfigDict(get_config("base").to_dict())
    config.data.center_crop = crop
    config.model.name = model
    config.model[model] = ConfigDict({**config.model.get(model, {}), **settings})
    config.task.update({"name": task_of_model(models.model_kind(model))})
    return config.lock()
