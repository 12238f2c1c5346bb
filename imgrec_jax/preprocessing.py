"""What happens to pictures on the device: augmentation, mixing, normalisation, views."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.augment import color, erasing, geometry, policies, resample, views
from imgrec_jax.augment.compose import compose
from imgrec_jax.augment.sample import Augmentation, augment_batch
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.task import Batch, Task
from imgrec_jax.data.source import Source, channel_statistics
from imgrec_jax.tasks import mixing
from imgrec_jax.tasks.inputs import transform_inputs

Config = Any
"""A locked ConfigDict; what it holds is known at run time only."""

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
    "random_resized_crop": resample.random_resized_crop,
    "rotation": resample.rotation,
    "scale": resample.scale,
    "trivial_augment": policies.trivial_augment,
    "vertical_flip": geometry.vertical_flip,
}
MIXINGS: Mapping[str, Callable[..., mixing.Mixing]] = {
    "cutmix": mixing.cutmix,
    "mixup": mixing.mixup,
}
VIEWS: Mapping[str, Callable[..., views.Views]] = {
    "flip": views.flip_views,
    "shift": views.shift_views,
}
NORMALIZATIONS: Mapping[str, tuple[list[float], list[float]]] = {
    "unit": ([0.0], [1.0]),
    "symmetric": ([0.5], [0.5]),
    "imagenet": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def normalization(name: str, train: Source) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, of pixels in 0 .. 1, by name.

    Raises:
        UsageError: no such name, or one for other channels.
    """
    if name != "standard" and name not in NORMALIZATIONS:
        raise unknown("data.normalization", name, [*NORMALIZATIONS, "standard"])
    mean, std = channel_statistics(train) if name == "standard" else NORMALIZATIONS[name]
    channels = train.image_shape[-1]
    if len(mean) not in {1, channels}:
        raise UsageError(
            f"expected data.normalization for {channels} channels, got '{name}' for {len(mean)}; "
            "try --config.data.normalization=standard"
        )
    return mean, std


def build_augmentation(text: str) -> Augmentation:
    """Return the pipeline that `augment` spells."""
    return compose(_bind_all("augmentation", text, AUGMENTATIONS))


def normalise(image: jax.Array, mean: Sequence[float], std: Sequence[float]) -> jax.Array:
    """Return pictures [n, h, w, c] in 0 .. 1 less their channels' mean, over the deviation."""
    means, deviations = (np.asarray(x, np.float32).reshape(1, 1, 1, -1) for x in (mean, std))
    return (image - means) / deviations


def with_pictures(
    task: Task, config: Config, about: Mapping[str, Any], augment: Augmentation
) -> Task:
    """Return the task over integer pictures: scaled, normalised, in training augmented and mixed.

    `about` holds `mean` and `std`, of pixels in 0 .. 1.
    """
    mean, std = about["mean"], about["std"]

    def scoring(batch: Batch) -> Batch:
        return _on_images(lambda image: normalise(unit(image), mean, std), batch)

    def training(batch: Batch) -> Batch:
        augmented = augment_batch(augment, _on_images(unit, batch))
        return _on_images(lambda image: normalise(image, mean, std), augmented)

    if config.mixing:
        task = mixing.mix_pictures(task, _bind_all("mixing", config.mixing, MIXINGS))
    task = transform_inputs(task, training=training, scoring=scoring)
    if config.eval_views:
        task = views.with_views(task, _bind_all("view", config.eval_views, VIEWS))
    return task


def _bind_all(what: str, text: str, known: Mapping[str, Callable[..., Any]]) -> list[Any]:
    return [bind_call(what, call, known) for call in parse_pipeline(text)]


def _on_images(change: Callable[[jax.Array], jax.Array], batch: Batch) -> Batch:
    """Return the batch with its pictures changed, those of partner rows as well."""
    names = [name for name in ("image", "partner_image") if name in batch]
    return {**batch, **{name: change(batch[name]) for name in names}}


def unit(image: jax.Array | np.ndarray) -> jax.Array:
    """Return integer pictures as float32 in 0 .. 1, by the largest number of their type."""
    return jnp.asarray(image, jnp.float32) / jnp.iinfo(image.dtype).max
