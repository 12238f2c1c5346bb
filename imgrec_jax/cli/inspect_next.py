"""The command that `data inspect` proposes: it trains on the data set as it is."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imgrec_jax.build.source_kinds import source_spec
from imgrec_jax.config_files import start_from
from imgrec_jax.core.fields import BOXES, LABEL, LABEL_MAP, PLACED, of_kind
from imgrec_jax.data.inspect.inspection import Inspection, SplitReport
from imgrec_jax.data.inspect.pixel_statistics import PixelReport

CONFIGS: Mapping[str, str] = {
    LABEL_MAP: "camvid_unet",
    BOXES: "bccd_fcos",
    LABEL: "folder",
}
"""The config to start from, by the kind of a field; the first kind that a data set has decides."""

_IMAGES_ALONE = "t91_fsrcnn"  # of a data set without any other field

_LARGEST_SQUARE = 224  # pixels that a first run takes at most
_LARGEST_SIDE = 320
_MULTIPLE = 16  # networks halve an image four times
_HOLDOUT = 0.1


def next_command(source: str, found: Inspection, flags: Sequence[str]) -> str:
    """Return a command that trains on the data set, with the flags given to `data inspect`."""
    quoted = shlex.quote(source)
    if "train" not in found.splits:
        return f"python -m imgrec_jax evaluate RUN --data={quoted}"
    report = found.splits["train"]
    configs = [name for kind, name in CONFIGS.items() if of_kind(report.fields, kind)]
    if report.pixels and not report.fields:
        where = f"--config.data.source={quoted} --config.data.train= --config.data.test="
        return f"python -m imgrec_jax train --config={_IMAGES_ALONE} {where}"
    if not (configs and report.pixels):
        fields = ", ".join(sorted(report.fields))
        return f"a task for the fields {fields}, as docs/adding_a_task.md shows"
    settings = {"source": source, **_settings(source, found, start_from(configs[0]).data)}
    parts = (flag.removeprefix("--config.data.").partition("=") for flag in flags)
    given = {key: value for key, _, value in parts}
    chosen = [
        shlex.quote(f"--config.data.{key}={value}") for key, value in {**settings, **given}.items()
    ]
    return " ".join([f"python -m imgrec_jax train --config={configs[0]}", *chosen])


def _settings(source: str, found: Inspection, data: Any) -> dict[str, Any]:
    """Return the keys of `data` whose values in the config do not fit the data set."""
    report = found.splits["train"]
    kind = source_spec(source.partition(":")[0], report.fields)
    settings: dict[str, Any] = {}
    placed = bool(of_kind(report.fields, *PLACED))
    if report.pixels and placed:
        settings["image_shape"] = _shape(report.pixels) if kind.shapes else ""
    elif report.pixels and kind.resizes and _several_sizes(found):
        middle = report.pixels.widths.median, report.pixels.heights.median
        settings["image_size"] = min(_LARGEST_SQUARE, *middle)
    elif not kind.resizes:
        settings["image_size"] = 0
    boxes = of_kind(report.fields, BOXES)
    fullest = max((r.in_an_image.most for r in boxes.values()), default=0)
    if fullest > data.max_boxes:
        settings["max_boxes"] = fullest
    settings["holdout"] = 0.0 if "val" in found.splits else _holdout(report)
    if found.damaged and kind.decodes and not placed:
        settings["broken"] = "skip-and-count"
    return {key: value for key, value in settings.items() if data[key] != value}


def _several_sizes(found: Inspection) -> bool:
    """Return whether images differ in size, or are not square."""
    pixels = [report.pixels for report in found.splits.values() if report.pixels]
    return len({side for p in pixels for side in (*p.widths, *p.heights)}) > 1


def _shape(pixels: PixelReport) -> str:
    """Return the median size as HEIGHTxWIDTH, reduced, and in multiples of 16."""
    sides = (pixels.heights.median, pixels.widths.median)
    scale = min(1.0, _LARGEST_SIDE / max(sides))
    return "x".join(str(max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE) for side in sides)


def _holdout(report: SplitReport) -> float:
    """Return a share of train to hold out that leaves an example of each class, or a number."""
    counts = report.class_counts if hasattr(report.fields.get("label"), "labels") else None
    most = report.examples - 1 if counts is None else int(np.maximum(counts - 1, 0).sum())
    if 1 <= round(_HOLDOUT * report.examples) <= most:
        return _HOLDOUT
    return float(min(1, most))
