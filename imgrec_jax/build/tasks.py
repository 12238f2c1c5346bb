"""Table of tasks: the constructor, required fields and presentation of each.

No other module branches on the name of the task. To add a task, add a row here.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from imgrec_jax.augment.augmentation import Augmentation
from imgrec_jax.build.models import build_model, build_upscaler
from imgrec_jax.build.preprocessing import preprocessed, preprocessing
from imgrec_jax.build.sources import open_source
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.pipeline import Call, bind_call
from imgrec_jax.core.presentation import Presentation
from imgrec_jax.core.task import Facts, Task
from imgrec_jax.data.sources.image_pairs import make_pairs
from imgrec_jax.data.sources.source import Splits
from imgrec_jax.tasks.classification import presentation as classification_presentation
from imgrec_jax.tasks.classification.task import classification
from imgrec_jax.tasks.detection import presentation as detection_presentation
from imgrec_jax.tasks.detection.task import detection
from imgrec_jax.tasks.segmentation import presentation as segmentation_presentation
from imgrec_jax.tasks.segmentation.task import segmentation
from imgrec_jax.tasks.super_resolution import presentation as super_resolution_presentation
from imgrec_jax.tasks.super_resolution.colour import CHANNELS
from imgrec_jax.tasks.super_resolution.task import super_resolution
from imgrec_jax.training.step.parallel import Parallel


def one_model(config: Config, facts: Facts, devices: Parallel) -> Any:
    """Return the model of the config, with an output for each label."""
    return build_model(config, len(facts["label_names"]), devices)


def upscaler(config: Config, facts: Facts, devices: Parallel) -> Any:
    """Return the model of the config, for the scale and channels of super-resolution."""
    del facts, devices
    settings = config.task.super_resolution
    return build_upscaler(config, settings.scale, CHANNELS.get(settings.channels, 0))


def image_pairs(config: Config, splits: Splits) -> Splits:
    """Return whole images as pairs of two resolutions."""
    settings = config.task.super_resolution
    return make_pairs(splits, settings.scale, settings.patch, config.seed)


def as_they_are(config: Config, splits: Splits) -> Splits:
    """Return the splits unchanged."""
    del config
    return splits


OPTIONAL: Mapping[str, Any] = {
    "mix": "",
    "tta": "",
    "data.classes": "",
    "data.examples_per_class": 0,
    "data.center_crop": 1.0,
}
"""Keys that not every task supports, with their neutral values."""
PLAIN_IMAGES = frozenset({"data.classes", "data.examples_per_class", "data.center_crop"})
"""Keys that apply to every task whose images have at most one class."""


@dataclass(frozen=True)
class TaskSpec:
    """A row of the table.

    Attributes:
        make: `(network, facts, **settings) -> Task` for normalised images. Settings are the
            supported keys of `config.task` and those of the task's own block.
        needs: the fields that examples must hold.
        accepts: the keys of `OPTIONAL` that it supports.
        presentation: how its predictions and scores are shown.
        network: `(config, facts, devices) -> network`, the argument of `make`: one Linen module,
            or several in a dict or a tuple.
        prepare: `(config, splits) -> splits`, makes the examples of the task.
    """

    make: Callable[..., Task]
    needs: tuple[str, ...] = ("image",)
    accepts: frozenset[str] = PLAIN_IMAGES
    presentation: Presentation = field(default_factory=Presentation)
    network: Callable[[Config, Facts, Parallel], Any] = one_model
    prepare: Callable[[Config, Splits], Splits] = as_they_are


TASKS: Mapping[str, TaskSpec] = {
    "classify": TaskSpec(
        classification,
        needs=("image", "label"),
        accepts=frozenset(OPTIONAL),
        presentation=classification_presentation.PRESENTATION,
    ),
    "detect": TaskSpec(
        detection,
        needs=("image", "boxes"),
        accepts=frozenset(),
        presentation=detection_presentation.PRESENTATION,
    ),
    "segment": TaskSpec(
        segmentation,
        needs=("image", "label_map"),
        accepts=frozenset(),
        presentation=segmentation_presentation.PRESENTATION,
    ),
    "super_resolution": TaskSpec(
        super_resolution,
        needs=("image", "target_image"),
        accepts=frozenset(),
        presentation=super_resolution_presentation.PRESENTATION,
        network=upscaler,
        prepare=image_pairs,
    ),
}


def task_spec(config: Config) -> TaskSpec:
    """Return the row of the task of a config.

    Raises:
        UsageError: unknown task.
    """
    if config.task.name not in TASKS:
        raise unknown("task", config.task.name, TASKS)
    return TASKS[config.task.name]


def task_name(config: Config) -> str:
    """Return the name of the task of a config, for messages and records."""
    return config.task.name


def task_of_model(kind: str) -> str:
    """Return the task of a kind of model with pretrained weights."""
    return {"DETR": "detect"}.get(kind, "classify")


def check_accepted(config: Config) -> None:
    """Raise if a key is set that the task does not support."""
    spec = task_spec(config)
    wrong = [
        key for key in OPTIONAL if key not in spec.accepts and _value(config, key) != OPTIONAL[key]
    ]
    if wrong:
        expected = " and ".join(f"{key}={_spelled(OPTIONAL[key])}" for key in wrong)
        got = " and ".join(_spelled(_value(config, key)) for key in wrong)
        able = [name for name, other in TASKS.items() if set(wrong) <= other.accepts]
        raise UsageError(
            f"expected {expected} for task '{config.task.name}', which cannot use it, got {got}; "
            f"try without, or --config.task.name={' or '.join(able)}"
        )


def _spelled(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _value(config: Config, key: str) -> Any:
    block, _, name = key.rpartition(".")
    return config[block][name] if block else config[name]


def open_data(config: Config) -> Splits:
    """Return the splits of `data.source`, with the fields that the task needs.

    Raises:
        UserError: the data cannot be read, or do not match the config.
    """
    check_accepted(config)
    spec = task_spec(config)
    return spec.prepare(config, open_source(config, spec.needs))


def build_task(
    config: Config, facts: Facts, devices: Parallel, augments: Sequence[Augmentation]
) -> Task:
    """Return the task for integer images: scaled, normalised, in training augmented and mixed."""
    spec, name = task_spec(config), config.task.name
    check_accepted(config)
    network = spec.network(config, facts, devices)
    made = Call(name, (network, facts), _settings(config.task, spec))
    task = bind_call("task", made, {name: spec.make})
    if task.needs_whole_batch and config.micro_batches > 1:
        raise UsageError(
            f"expected micro_batches=1 for task '{name}', whose loss compares the examples of a "
            f"batch with each other, got {config.micro_batches}; try a smaller batch_size, or "
            "remat of the model"
        )
    return preprocessed(task, preprocessing(config, facts, augments))


def _settings(chosen: Config, spec: TaskSpec) -> dict[str, Any]:
    """Return the keys of `config.task` that all tasks share, and those of the task's own block.

    A shared key with its neutral value (0 or "") is omitted for a task that does not take it; any
    other value is passed on, and the task rejects it.
    """
    takes = inspect.signature(spec.make).parameters
    settings = {k: v for k, v in chosen.items() if k != "name" and not isinstance(v, ConfigDict)}
    settings = {key: value for key, value in settings.items() if value or key in takes}
    return {**settings, **chosen.get(chosen.name, {})}
