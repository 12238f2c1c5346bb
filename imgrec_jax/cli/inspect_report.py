"""Output of `data inspect`: text for people, or one JSON object."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.cli.data_report import damage_lines, listed
from imgrec_jax.core.text_table import shorten, table
from imgrec_jax.data.inspect.inspection import Inspection, Repeat
from imgrec_jax.data.inspect.kinds import Kind, kinds_in
from imgrec_jax.data.inspect.pixel_statistics import PIXEL_COLUMNS, pixel_cells, pixels_json
from imgrec_jax.data.raw.items import Images

_CLASSES = 12  # shown at most; the rarest are always among them


def lines(source: str, splits: Mapping[str, Images], found: Inspection) -> list[str]:
    """Return an inspection as text."""
    text = [source, "", *_split_lines(found), "", *_class_lines(found)]
    for name, kind in _fields(splits):
        reports = {split: r.fields[name] for split, r in found.splits.items() if name in r.fields}
        if shown := kind.lines(name, reports, found.label_names):
            text += [*shown, ""]
    return [*text, *damage_lines(found.damaged), *_repeat_lines(found.repeats)]


def as_json(
    source: str, splits: Mapping[str, Images], found: Inspection, sheet: Path | None
) -> dict[str, Any]:
    """Return an inspection as a JSON-serializable dict."""
    fields = dict(_fields(splits))
    reports: dict[str, dict[str, Any]] = {}
    for split, report in found.splits.items():
        counts = report.class_counts.tolist()
        reports[split] = {
            "images": report.examples,
            "classes": dict(zip(found.label_names, counts, strict=True)) if counts else {},
            **(pixels_json(report.pixels) if report.pixels else {}),
            "damaged": report.damaged,
        }
        for name, statistics in report.fields.items():
            if shown := fields[name].as_json(statistics, found.label_names):
                reports[split][name] = shown
    repeats = [repeat._asdict() for repeat in found.repeats]
    shown_at = str(sheet) if sheet else None
    return {"source": source, "splits": reports, "repeats": repeats, "contact_sheet": shown_at}


def sheet_title(source: str, split: str, found: Inspection) -> str:
    """Return the title of the contact sheet."""
    examples, classes = found.splits[split].examples, len(found.label_names)
    title = f"{source}, {split}: {examples:,} images in {classes:,} classes"
    return title if classes <= 20 else f"{title}, 20 of them shown"


def _fields(splits: Mapping[str, Images]) -> Iterator[tuple[str, Kind]]:
    """Yield the fields of all splits, each with its kind."""
    found: dict[str, Kind] = {}
    for images in splits.values():
        found |= kinds_in(images)
    yield from found.items()


def _split_lines(found: Inspection) -> list[str]:
    pixels = any(report.pixels for report in found.splits.values())
    rows = [["split", "images", "damaged", *PIXEL_COLUMNS] if pixels else ["split", "examples"]]
    for split, report in found.splits.items():
        cells = [f"{len(report.damaged):,}"] if pixels else []
        cells += pixel_cells(report.pixels) if report.pixels else []
        rows.append([split, f"{report.examples:,}", *cells])
    text = table(rows, "<" + ">" * (len(rows[0]) - 1))
    legend = "(width, height: least / median / most in pixels; mean, std: of each channel, 0 to 1)"
    return [*text, legend] if pixels else text


def _class_lines(found: Inspection) -> list[str]:
    counts = np.stack([report.class_counts for report in found.splits.values()])
    if not counts.size:
        return []
    order = np.argsort(-counts[0], kind="stable")  # by the first split, which is train
    shown = order.tolist()
    hidden = len(shown) - _CLASSES
    if hidden > 0:
        shown = [*shown[: _CLASSES // 2], *shown[-_CLASSES // 2 :]]
    rows = [["class", *found.splits]]
    rows += [
        [shorten(found.label_names[k], 40), *(f"{count:,}" for count in counts[:, k])]
        for k in shown
    ]
    text = table(rows, "<" + ">" * len(found.splits))
    if hidden > 0:
        text.insert(1 + _CLASSES // 2, f"... {hidden:,} more")
    most, least = counts[0].max(), counts[0].min()
    first = next(iter(found.splits))
    balance = f"{most / least:.1f} times as many images as the smallest" if least else "images"
    if not least:
        balance += f", {int((counts[0] == 0).sum()):,} classes have none"
    return [*text, f"{len(order):,} classes; in {first} the largest has {balance}", ""]


def _repeat_lines(repeats: Sequence[Repeat]) -> list[str]:
    across = [repeat for repeat in repeats if repeat.split != repeat.first_split]
    within = [repeat for repeat in repeats if repeat.split == repeat.first_split]
    text = []
    for where, some, advice in (
        ("in two splits", across, "remove them from one"),
        ("twice in a split", within, "data.holdout keeps them together"),
    ):
        if not some:
            text.append(f"same pixels {where}: none")
            continue
        odd = sum(not repeat.same_label for repeat in some)
        note = f", {odd:,} of them with another class" if odd else ""
        text.append(f"same pixels {where}: {len(some):,}{note} ({advice})")
        text += listed([f"{repeat.again} = {repeat.first}" for repeat in some])
    return text
