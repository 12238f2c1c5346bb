"""Statistics of the boxes of a split: number per label, size, number per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.palette import color
from imgrec_jax.core.text_table import shorten, table
from imgrec_jax.data.inspect.spread import Spread, spread
from imgrec_jax.data.raw.items import Images

_LABELS = 20  # of boxes, shown at most
_LINE = 50  # a line of a drawn box is this part of the image's longer side


@dataclass(frozen=True)
class BoxReport:
    """The boxes of one split.

    Attributes:
        counts: int64[k], boxes of each label, without ignored ones (crowds).
        widths, heights: of the boxes of each label, in pixels.
        ignored: how many boxes are neither trained on nor scored.
        in_an_image: number of boxes per image.
        empty: images without any box.
        labels, mask: int32[n, m] and bool[n, m], the label of each box, and which boxes there are.
    """

    counts: np.ndarray
    widths: tuple[Spread, ...]
    heights: tuple[Spread, ...]
    ignored: int
    in_an_image: Spread
    empty: int
    labels: np.ndarray
    mask: np.ndarray

    def has(self, label: int) -> np.ndarray:
        """Return which images have a box of a class: bool[n]."""
        return (self.mask & (self.labels == label)).any(1)

    def class_counts(self) -> np.ndarray:
        """Return the number of images with a box of each class, int64[k]."""
        return np.array([self.has(label).sum() for label in range(len(self.counts))], np.int64)


def report_boxes(images: Images, name: str) -> BoxReport:
    """Return the statistics of the boxes of images."""
    boxes, label, mask, ignore = _parts(images, name)
    classes = len(images.label_names)
    counted = mask & ~ignore
    sides = (boxes[..., 2:] - boxes[..., :2])[counted]
    by_label = [sides[label[counted] == number] for number in range(classes)]
    return BoxReport(
        np.bincount(label[counted], minlength=classes),
        tuple(spread(some[:, 0]) for some in by_label),
        tuple(spread(some[:, 1]) for some in by_label),
        int((mask & ignore).sum()),
        spread(mask.sum(1)),
        int((~mask.any(1)).sum()),
        label,
        mask,
    )


def box_lines(name: str, reports: Mapping[str, BoxReport], label_names: Sequence[str]) -> list[str]:
    """Return the number of boxes per split and label as text."""
    rows = [["split", name, "ignored", "in an image", "images without"]]
    rows += [
        [split, f"{r.counts.sum():,}", f"{r.ignored:,}", str(r.in_an_image), f"{r.empty:,}"]
        for split, r in reports.items()
    ]
    first, report = next(iter(reports.items()))
    sizes = [[f"{name} of", *reports, f"width in {first}", f"height in {first}"]]
    order: list[int] = np.argsort(-report.counts, kind="stable").tolist()
    sizes += [
        [
            shorten(label_names[k], 40),
            *(f"{r.counts[k]:,}" for r in reports.values()),
            str(report.widths[k]),
            str(report.heights[k]),
        ]
        for k in order[:_LABELS]
    ]
    text = [*table(rows, "<>>>>"), "", *table(sizes, "<" + ">" * (len(reports) + 2))]
    if len(order) > _LABELS:
        text.append(f"... {len(order) - _LABELS:,} more (--json has all)")
    return text


def boxes_json(report: BoxReport, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the statistics as JSON."""
    counts, sides = report.counts.tolist(), (report.widths, report.heights)
    labels = {
        name: {"boxes": counts[k], "width": sides[0][k]._asdict(), "height": sides[1][k]._asdict()}
        for k, name in enumerate(label_names)
    }
    images = {"in_an_image": report.in_an_image._asdict(), "images_without": report.empty}
    return {"labels": labels, "ignored": report.ignored, **images}


def draw_boxes(pixels: np.ndarray, images: Images, name: str, row: int) -> np.ndarray:
    """Return uint8[h, w, 3] with the boxes of a row, each in the colour of its class."""
    from PIL import Image, ImageDraw

    boxes, label, mask, _ = (values[row] for values in _parts(images, name))
    canvas = Image.fromarray(pixels)
    pen = ImageDraw.Draw(canvas)
    width = max(1, max(pixels.shape[:2]) // _LINE)
    for (x0, y0, x1, y1), number in zip(boxes[mask].tolist(), label[mask].tolist(), strict=True):
        corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
        pen.rectangle(corners, outline=color(number + 1), width=width)
    return np.asarray(canvas)


def _parts(images: Images, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes of all rows with their labels, which there are, and which are ignored."""
    prefix = name.removesuffix("boxes")
    values = [images.fields.get(f"{prefix}{part}") for part in ("boxes", "box_label")]
    boxes, label = map(np.asarray, values)
    everywhere = np.ones(label.shape, bool)
    mask, ignore = (
        np.asarray(images.fields.get(f"{prefix}box_{flag}", default))
        for flag, default in (("mask", everywhere), ("ignore", ~everywhere))
    )
    return boxes, label, mask, ignore
