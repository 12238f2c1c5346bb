"""The table of tasks: how each is built from a config, and how it is shown."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from imgrec_jax.augment.augmentation import Augmentation
from imgrec_jax.build.models import build_model
from imgrec_jax.build.preprocessing import with_pictures
from imgrec_jax.config import Config
from imgrec_jax.core.errors import UsageError, unknown
from imgrec_jax.core.pipeline import Call, bind_call
from imgrec_jax.core.presentation import Drawing, Presentation
from imgrec_jax.core.task import Task
from imgrec_jax.tasks.classification import report as classification_report
from imgrec_jax.tasks.classification.task import classify, read_class_weights
from imgrec_jax.tasks.detection import drawing as detection_drawing
from imgrec_jax.tasks.detection import metrics as detection_metrics
from imgrec_jax.tasks.detection.task import detect
from imgrec_jax.tasks.segmentation import report as segmentation_report
from imgrec_jax.tasks.segmentation.task import segment
from imgrec_jax.training.step import parallel

TASKS: Mapping[str, Callable[..., Task]] = {
    "classify": classify,
    "detect": detect,
    "segment": segment,
}
TARGETS: Mapping[str, str] = {"detect": "boxes", "segment": "label_map"}
"""What examples must hold for a task to learn from, beyond a label."""


def _probabilities(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits.astype(jnp.float32))


PRESENTATIONS: Mapping[str, Presentation] = {
    "classify": Presentation(
        _probabilities, classification_report.report, classification_report.lines
    ),
    "detect": Presentation(
        report=detection_metrics.report,
        lines=detection_metrics.lines,
        drawing=Drawing(
            unit="boxes",
            draw=detection_drawing.draw,
            compare=detection_drawing.compare,
            legend=detection_drawing.legend,
            quality=detection_drawing.quality,
            record=detection_drawing.record,
            phrase=detection_drawing.phrase,
            document=detection_drawing.document,
        ),
    ),
    "segment": Presentation(
        _probabilities,
        segmentation_report.report,
        segmentation_report.lines,
        Drawing(
            unit="pixels",
            draw=segmentation_report.draw,
            compare=segmentation_report.compare,
            legend=segmentation_report.legend,
            quality=segmentation_report.quality,
            record=segmentation_report.record,
            phrase=segmentation_report.phrase,
        ),
    ),
}


def presentation(task: str) -> Presentation:
    """Return how a task is shown; one that is not in the table shows its metrics alone."""
    return PRESENTATIONS.get(task, Presentation())


def build_task(
    config: Config,
    about: Mapping[str, Any],
    devices: parallel.Parallel,
    augment: Augmentation,
) -> Task:
    """Return the task over uint8 pictures: scaled, normalised, in training augmented and mixed."""
    name = config.task.name
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    if name != "classify" and (config.mixing or config.eval_views):
        raise UsageError(
            f"expected mixing='' and eval_views='' for task '{name}', which they are not made for, "
            f"got '{config.mixing}' and '{config.eval_views}'; try --config.augment"
        )
    num_classes = len(about["label_names"])
    module = build_model(config, num_classes, devices)
    settings = {"num_classes": num_classes, **_task_settings(config.task, about)}
    task = bind_call("task", Call(name, (module,), settings), TASKS)
    return with_pictures(task, config, about, augment)


def _task_settings(chosen: Config, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of `config.task` that all tasks share, and those of the task's own block.

    A shared key at its "nothing" (0 or "") is not for a task that does not take it; any other is
    passed on, and refused by the task.
    """
    takes = inspect.signature(TASKS[chosen.name]).parameters
    settings = {k: v for k, v in chosen.items() if k != "name" and not isinstance(v, ConfigDict)}
    if weights := settings.pop("class_weights"):
        settings["class_weights"] = read_class_weights(weights, about["class_counts"])
    settings = {key: value for key, value in settings.items() if value or key in takes}
    if "label_names" in takes:
        settings["label_names"] = tuple(about["label_names"])
    return {**settings, **chosen.get(chosen.name, {})}
