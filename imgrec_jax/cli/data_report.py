"""Output of the `data` verbs: text for people, or one JSON object."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgrec_jax.config import known_configs
from imgrec_jax.core.printable import printable
from imgrec_jax.core.text_table import shorten, table
from imgrec_jax.data.cache.contents import Entry
from imgrec_jax.data.inspect.box_statistics import BoxReport, Spread
from imgrec_jax.data.inspect.inspection import Inspection, Repeat
from imgrec_jax.data.pack.pack import Packed

_CLASSES = 12  # shown at most; the rarest are always among them
_LABELS = 20  # of boxes, shown at most
_LISTED = 8  # damaged and repeated images listed by name


def lines(source: str, found: Inspection) -> list[str]:
    """Return an inspection as text."""
    return [
        source,
        "",
        *_split_lines(found),
        "",
        *_class_lines(found),
        "",
        *_box_lines(found),
        *_damage_lines(found.damaged),
        *_repeat_lines(found.repeats),
    ]


def as_json(source: str, found: Inspection, sheet: Path) -> dict[str, Any]:
    """Return an inspection as a JSON-serializable dict."""
    splits = {
        split: {
            "images": report.images,
            "classes": dict(zip(found.label_names, report.class_counts.tolist(), strict=True)),
            "width": report.widths._asdict(),
            "height": report.heights._asdict(),
            "mean": report.mean,
            "std": report.std,
            "damaged": report.damaged,
            **_boxes_json(report.boxes, found.label_names),
        }
        for split, report in found.splits.items()
    }
    repeats = [repeat._asdict() for repeat in found.repeats]
    return {"source": source, "splits": splits, "repeats": repeats, "contact_sheet": str(sheet)}


def sheet_title(source: str, split: str, found: Inspection) -> str:
    """Return the title of the contact sheet."""
    report = found.splits[split]
    classes = len(found.label_names)
    title = f"{source}, {split}: {report.images:,} images in {classes:,} classes"
    return title if classes <= 20 else f"{title}, 20 of them shown"


def next_command(source: str, found: Inspection) -> str:
    """Return a command that trains on the data set."""
    if any(report.boxes for report in found.splits.values()):
        command = "python -m imgrec_jax train --config=bccd_fcos"
        return f"{command} --config.data.source={shlex.quote(source)}"
    config = "folder" if "folder" in known_configs() else "cifar10"
    command = f"python -m imgrec_jax train --config={config}"
    command += f" --config.data.source={shlex.quote(source)}"
    sizes = {size for r in found.splits.values() for size in (*r.widths, *r.heights)}
    if len(sizes) > 1:
        first = next(iter(found.splits.values()))
        size = min(224, first.widths.median, first.heights.median)
        command += f" --config.data.image_size={size}"
    return command


def pack_lines(out: str, packed: Packed, seconds: float) -> list[str]:
    """Return the result of packing as text."""
    rows = [["split", "images", "files", "size"]]
    for split, files in packed.shards.items():
        size = sum(file.size for file in files)
        rows.append([split, f"{sum(f.examples for f in files):,}", f"{len(files):,}", _mib(size)])
    text = [out, "", *table(rows, "<>>>"), ""]
    if packed.kept:
        text.append(f"{packed.kept:,} files were finished before and have been kept.")
    if packed.written:
        rate = packed.written / seconds
        text.append(f"{packed.written:,} images in {seconds:.1f} s, {rate:,.0f} images/s")
    return text + (_damage_lines(packed.left_out, " and left out") if packed.left_out else [])


def pack_json(source: str, out: str, packed: Packed, seconds: float) -> dict[str, Any]:
    """Return the result of packing as a JSON-serializable dict."""
    splits = {
        split: {
            "images": sum(file.examples for file in files),
            "bytes": sum(file.size for file in files),
            "files": [file.name for file in files],
        }
        for split, files in packed.shards.items()
    }
    return {
        "source": source,
        "out": out,
        "splits": splits,
        "kept_files": packed.kept,
        "left_out": packed.left_out,
        "seconds": seconds,
        "images_per_second": packed.written / seconds,
    }


def cache_lines(home: Path, entries: Sequence[Entry]) -> list[str]:
    """Return the content of the cache as text."""
    if not entries:
        return [f"{home} is empty."]
    rows = [["size", "last used", "what"]]
    rows += [[_mib(entry.size), _age(entry.used), entry.what] for entry in entries]
    total = sum(entry.size for entry in entries)
    return [str(home), "", *table(rows, ">><"), "", f"{_mib(total)} in all"]


def cache_json(home: Path, entries: Sequence[Entry], cleared: bool) -> dict[str, Any]:
    """Return the content of the cache, before any clearing, as a JSON-serializable dict."""
    listed = [{**entry._asdict(), "path": str(entry.path)} for entry in entries]
    return {"home": str(home), "entries": listed, "cleared": cleared}


def _split_lines(found: Inspection) -> list[str]:
    rows = [["split", "images", "damaged", "width", "height", "mean", "std"]]
    for split, report in found.splits.items():
        rows.append(
            [
                split,
                f"{report.images:,}",
                f"{len(report.damaged):,}",
                _spread(report.widths),
                _spread(report.heights),
                " ".join(f"{value:.3f}" for value in report.mean),
                " ".join(f"{value:.3f}" for value in report.std),
            ]
        )
    legend = "(width, height: least / median / most in pixels; mean, std: of each channel, 0 to 1)"
    return [*table(rows, "<>>>>>>"), legend]


def _class_lines(found: Inspection) -> list[str]:
    counts = np.stack([report.class_counts for report in found.splits.values()])
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
    return [*text, f"{len(order):,} classes; in {first} the largest has {balance}"]


def _box_lines(found: Inspection) -> list[str]:
    """Return the number of boxes per split and label as text; empty without boxes."""
    reports = {split: r.boxes for split, r in found.splits.items() if r.boxes}
    if not reports:
        return []
    rows = [["split", "boxes", "ignored", "in an image", "images without"]]
    rows += [
        [split, f"{r.counts.sum():,}", f"{r.ignored:,}", _spread(r.in_an_image), f"{r.empty:,}"]
        for split, r in reports.items()
    ]
    first, report = next(iter(reports.items()))
    sizes = [["boxes of", *reports, f"width in {first}", f"height in {first}"]]
    order = np.argsort(-report.counts, kind="stable").tolist()
    sizes += [
        [
            shorten(found.label_names[k], 40),
            *(f"{r.counts[k]:,}" for r in reports.values()),
            _spread(report.widths[k]),
            _spread(report.heights[k]),
        ]
        for k in order[:_LABELS]
    ]
    text = [*table(rows, "<>>>>"), "", *table(sizes, "<" + ">" * (len(reports) + 2))]
    if len(order) > _LABELS:
        text.append(f"... {len(order) - _LABELS:,} more (--json has all)")
    return [*text, ""]


def _boxes_json(report: BoxReport | None, names: Sequence[str]) -> dict[str, Any]:
    if report is None:
        return {}
    counts, sides = report.counts.tolist(), (report.widths, report.heights)
    labels = {
        name: {"boxes": counts[k], "width": sides[0][k]._asdict(), "height": sides[1][k]._asdict()}
        for k, name in enumerate(names)
    }
    images = {"in_an_image": report.in_an_image._asdict(), "images_without": report.empty}
    return {"boxes": {"labels": labels, "ignored": report.ignored, **images}}


def _damage_lines(damaged: Sequence[str], note: str = "") -> list[str]:
    if not damaged:
        return ["damaged: none"]
    return [f"damaged{note}: {len(damaged):,}", *_listed(damaged)]


def _repeat_lines(repeats: Sequence[Repeat]) -> list[str]:
    across = [repeat for repeat in repeats if repeat.split != repeat.first_split]
    within = [repeat for repeat in repeats if repeat.split == repeat.first_split]
    text = []
    for where, some in (("in two splits", across), ("twice in a split", within)):
        odd = sum(not repeat.same_label for repeat in some)
        note = f", {odd:,} of them with another class" if odd else ""
        text.append(
            f"same pixels {where}: {len(some):,}{note}" if some else f"same pixels {where}: none"
        )
        text += _listed([f"{repeat.again} = {repeat.first}" for repeat in some])
    return text


def _listed(items: Sequence[str]) -> list[str]:
    text = [f"  {printable(item)}" for item in items[:_LISTED]]
    return text + (
        [f"  ... and {len(items) - _LISTED:,} more (--json names all)"] * (len(items) > _LISTED)
    )


def _spread(spread: Spread) -> str:
    return str(spread.least) if spread.least == spread.most else " / ".join(map(str, spread))


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _age(moment: float) -> str:
    minutes = max(0.0, time.time() - moment) / 60
    for unit, length in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes / length:.0f} {unit} ago"
    return f"{minutes:.0f} minutes ago"
