"""Preprocessing on the device: the stages between the data source and the task."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.augment import color, erasing, geometry, policies, warp
from imgrec_jax.augment.augmentation import Augmentation
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.multi_view import augment_views
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.fields import PIXELS, of_kind
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.ranges import Range
from imgrec_jax.core.task import Batch, Facts, Task
from imgrec_jax.data.sources.source import Source, channel_statistics
from imgrec_jax.tasks.wrappers import mixup, tta
from imgrec_jax.tasks.wrappers.inputs import transform_inputs
from imgrec_jax.weights.hub import Expected

AUGMENTATIONS: Mapping[str, Callable[..., Augmentation]] = {
    "alternating_flip": geometry.alternating_flip,
    "blur": color.blur,
    "color_jitter": color.color_jitter,
    "cutout": erasing.cutout,
    "flip": geometry.flip,
    "grayscale": color.grayscale,
    "noise": color.noise,
    "pad_crop": geometry.pad_crop,
    "patch": geometry.patch,
    "rand_augment": policies.rand_augment,
    "random_erasing": erasing.random_erasing,
    "random_resized_crop": warp.random_resized_crop,
    "rotation": warp.rotation,
    "scale": warp.scale,
    "trivial_augment": policies.trivial_augment,
    "vertical_flip": geometry.vertical_flip,
}
MIXINGS: Mapping[str, Callable[..., mixup.Mixing]] = {
    "cutmix": mixup.cutmix,
    "mixup": mixup.mixup,
}
VIEWS: Mapping[str, Callable[..., tta.Views]] = {
    "diagonal": tta.diagonal_views,
    "flip": tta.flip_views,
    "shift": tta.shift_views,
}
MEAN, DEVIATION = Range(float, -1000, 1000), Range(float, 1e-6, 1000)
"""Of pixels in 0 .. 1."""
NORMALIZATIONS: Mapping[str, tuple[list[float], list[float]]] = {
    "unit": ([0.0], [1.0]),
    "symmetric": ([0.5], [0.5]),
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def normalization(name: str, train: Source) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, for pixels in 0 .. 1.

    "standard" means those of the train split; for other names see `read_normalization`.

    Raises:
        UsageError: unknown name, or one for another number of channels.
    """
    mean, std = channel_statistics(train) if name == "standard" else read_normalization(name)
    channels = train.image_shape[-1]
    if len(mean) not in {1, channels}:
        raise UsageError(
            f"expected data.normalization for {channels} channels, got '{name}' for {len(mean)}; "
            "try --config.data.normalization=standard"
        )
    return mean, std


def read_normalization(text: str) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation from a name or from numbers: "0.5,../0.2,..".

    Raises:
        UsageError: it is neither.
    """
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in text.split("/"))
    except ValueError:
        raise unknown("data.normalization", text, [*NORMALIZATIONS, "standard"]) from None
    finite = all(map(MEAN.accepts, mean)) and all(map(DEVIATION.accepts, std))
    if len(mean) != len(std) or not finite:
        raise UsageError(
            f"expected data.normalization as means and as many deviations, each {MEAN} and "
            f"{DEVIATION}, got '{text}'; "
            "try --config.data.normalization=0.5,0.5,0.5/0.2,0.2,0.2"
        )
    return mean, std


def check_images(
    name: str,
    file: Path,
    expected: Expected,
    config: Config,
    about: Mapping[str, Any],
    *,
    whole: bool,
) -> None:
    """Raise if weights were trained with other preprocessing than that of the run.

    Args:
        name: of the weights, for messages.
        file: their location, for messages.
        expected: what they were trained with.
        config: of the run.
        about: `mean`, `std` and `image_shape` of its images.
        whole: also check size and crop; dense tasks have their own.

    Raises:
        UsageError: the message lists the overrides that fix it.
    """
    wrong, mend = [], []
    configured, pretrained = (about["mean"], about["std"]), (expected.mean, expected.std)
    if any(not np.allclose(a, b, atol=2e-3) for a, b in zip(configured, pretrained, strict=True)):
        mean, std = (",".join(f"{x:g}" for x in part) for part in pretrained)
        wrong.append(f"data.normalization={config.data.normalization}")
        mend.append(f"data.normalization={_name_of(pretrained) or f'{mean}/{std}'}")
    height, width, _ = about["image_shape"]
    if whole and expected.size and (height, width) != (expected.size, expected.size):
        wrong.append(f"images of {width}x{height}")
        mend.append(f"data.image_size={expected.size}")
    if whole and abs(config.data.center_crop - expected.crop) > 2e-3:
        wrong.append(f"data.center_crop={config.data.center_crop:g}")
        mend.append(f"data.center_crop={expected.crop:g}")
    if wrong:
        raise UsageError(
            f"expected images as {name} was trained with, got {', '.join(wrong)}; try "
            f"{' '.join(f'--config.{override}' for override in mend)}, or its file as init_from "
            f"({file}) to start from it all the same"
        )


def _name_of(normalization: tuple[Sequence[float], Sequence[float]]) -> str:
    """Return the name of a mean and deviation, or ""."""
    same = (
        name
        for name, known in NORMALIZATIONS.items()
        if all(np.allclose(a, b, atol=2e-3) for a, b in zip(known, normalization, strict=True))
    )
    return next(same, "")


def build_augmentations(text: str) -> tuple[Augmentation, ...]:
    """Return the pipelines of `augment`, one for each view; `;` separates them."""
    views = text.split(";")
    return tuple(compose(_bind_all("augmentation", view, AUGMENTATIONS)) for view in views)


def normalise(image: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Return (image - mean) / std by channel, for images [..., h, w, c] in 0 .. 1."""
    shape = (*[1] * (image.ndim - 1), -1)
    means, deviations = (np.asarray(x, np.float32).reshape(shape) for x in (mean, std))
    return (image - means) / deviations


class Stage(NamedTuple):
    """A named preprocessing stage of the batches of a task."""

    name: str
    wrap: Callable[[Task], Task]


def preprocessing(
    config: Config, facts: Facts, augments: Sequence[Augmentation]
) -> tuple[Stage, ...]:
    """Return the stages that turn integer images of the source into inputs of the network.

    They are `scale` (to 0 .. 1), `augment` (and further views, in training), `normalise`, `mix`
    (in training) and `tta` (in evaluation). A stage for pixels in 0 .. 1, such as an attack,
    belongs before `normalise`.
    """
    mean, std = facts["mean"], facts["std"]

    def normalised(batch: Batch) -> Batch:
        return _on_images(lambda image: normalise(image, mean, std), batch)

    stages = [
        Stage("scale", _both(lambda batch: _on_images(unit, batch))),
        Stage("augment", _in_training(lambda batch: augment_views(augments, batch))),
        Stage("normalise", _both(normalised)),
    ]
    if config.mix:
        mixings = _bind_all("mix", config.mix, MIXINGS)
        stages.append(Stage("mix", lambda task: mixup.mix_images(task, mixings)))
    if config.tta:
        shown = _bind_all("view", config.tta, VIEWS)
        stages.insert(0, Stage("tta", lambda task: tta.with_views(task, shown)))
    return tuple(stages)


def preprocessed(task: Task, stages: Sequence[Stage]) -> Task:
    """Return the task with all stages applied to its batches, in order."""
    for stage in reversed(stages):
        task = stage.wrap(task)
    return task


def check_preprocessing(config: Config) -> None:
    """Raise for settings of preprocessing that are wrong whatever the data.

    Raises:
        UsageError: an unknown name, or a setting outside of its range.
    """
    if config.data.normalization != "standard":
        read_normalization(config.data.normalization)
    _bind_all("mix", config.mix, MIXINGS)
    _bind_all("view", config.tta, VIEWS)


def _both(change: Callable[[Batch], Batch]) -> Callable[[Task], Task]:
    return lambda task: transform_inputs(task, training=change, scoring=change)


def _in_training(change: Callable[[Batch], Batch]) -> Callable[[Task], Task]:
    return lambda task: transform_inputs(task, training=change, scoring=lambda batch: batch)


def _bind_all(what: str, text: str, known: Mapping[str, Callable[..., Any]]) -> list[Any]:
    return [bind_call(what, call, known) for call in parse_pipeline(text)]


def _on_images(change: Callable[[jax.Array], jax.Array], batch: Batch) -> Batch:
    """Return the batch with a change applied to all its images: also targets, partners, views."""
    return {**batch, **{name: change(image) for name, image in of_kind(batch, PIXELS).items()}}


def unit(image: jax.Array | np.ndarray) -> jax.Array:
    """Return integer images as float32 in 0 .. 1, divided by the maximum of their type."""
    return jnp.asarray(image, jnp.float32) / jnp.iinfo(image.dtype).max
