"""Inspect a data set: counts, sizes, channels, damaged and duplicate images."""

import bisect
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.inspect.box_statistics import BoxReport, Spread, report_boxes, spread
from imgrec_jax.data.inspect.contact_sheet import SheetRow
from imgrec_jax.data.raw.items import Images
from imgrec_jax.data.sources.encoded import thread_count

_PARCEL = 64  # images that a thread measures at once
_SHEET_ROWS = 20
_SHEET_COLUMNS = 10


class Repeat(NamedTuple):
    """An image with the same pixels as an earlier one: names and splits of both."""

    first: str
    first_split: str
    again: str
    split: str
    same_label: bool


@dataclass(frozen=True)
class SplitReport:
    """The contents of one split.

    Attributes:
        images: number of images, including damaged ones.
        class_counts: int64[k], images of each class, including damaged ones; if images have
            boxes, those with a box of the class.
        widths, heights: of the intact images, in pixels.
        mean, std: of each channel over all pixels, with pixels in 0 .. 1.
        damaged: an error message for each damaged image, including its name.
        boxes: statistics of the boxes; None if each image has a class.
    """

    images: int
    class_counts: np.ndarray
    widths: Spread
    heights: Spread
    mean: tuple[float, ...]
    std: tuple[float, ...]
    damaged: tuple[str, ...]
    boxes: BoxReport | None = None


@dataclass(frozen=True)
class Inspection:
    """The contents of a data set.

    Attributes:
        splits: by name, in the order of the data set.
        label_names: the class names, in the order of the labels.
        repeats: images with exactly the pixels of an earlier one.
    """

    splits: dict[str, SplitReport]
    label_names: tuple[str, ...]
    repeats: tuple[Repeat, ...]

    @property
    def damaged(self) -> list[str]:
        """Error messages for the damaged images of all splits."""
        return [why for report in self.splits.values() for why in report.damaged]


class _Measure(NamedTuple):
    """Measures of one image; for a damaged one only `why` is set."""

    why: str
    shape: tuple[int, ...] = (0, 0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    digest: int = 0


def inspect(
    splits: Mapping[str, Images], progress: Callable[[int, int], None] = lambda done, total: None
) -> Inspection:
    """Decode every image of a data set and return a report.

    Images count as the same if a 64-bit hash of their shapes and pixels is the same: among a
    million different images, the probability of a false duplicate is 3e-8.

    Args:
        splits: by name.
        progress: called from time to time with the images done and the images to do.

    Raises:
        UserError: a split has no intact image.
    """
    total = sum(len(images) for images in splits.values())
    done = 0
    reports: dict[str, SplitReport] = {}
    digests: dict[str, np.ndarray] = {}
    for split, images in splits.items():
        measures: list[_Measure] = []
        for parcel in _measure_all(images):
            measures += parcel
            progress(done + len(measures), total)
        done += len(images)
        reports[split] = _report(split, images, measures)
        digests[split] = np.array([m.digest for m in measures], np.uint64)
    label_names = next(iter(splits.values())).label_names
    return Inspection(reports, label_names, tuple(_repeats(splits, digests)))


def sheet_rows(images: Images) -> list[SheetRow]:
    """Return rows for a contact sheet: evenly spaced images of evenly spaced classes.

    Neighbouring images replace damaged ones.
    """
    classes = len(images.label_names)
    some = np.unique(np.linspace(0, classes - 1, min(classes, _SHEET_ROWS)).astype(int))
    rows = []
    for label in some.tolist():
        members = np.flatnonzero(images.has(label))
        rows.append(
            SheetRow(
                images.label_names[label],
                f"class {label}: {len(members):,} image{'s' * (len(members) != 1)}",
                _some(images, members),
            )
        )
    return rows


def _some(images: Images, members: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    columns = min(len(members), _SHEET_COLUMNS)
    for part in np.array_split(members, columns) if columns else []:
        for row in part.tolist():
            try:
                found.append(images.read(row)[1])
                break
            except UserError:
                continue
    return found


def _measure_all(images: Images) -> Iterator[list[_Measure]]:
    """Yield the measures of all images in order, in groups, computed by several threads."""

    def measure_parcel(start: int) -> list[_Measure]:
        parcel = images.part(start, min(start + _PARCEL, len(images)))
        return [
            _Measure(str(image)) if isinstance(image, UserError) else _measure(image[1])
            for image in parcel
        ]

    threads = thread_count()
    pending: deque[Future[list[_Measure]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(images), _PARCEL):
            pending.append(pool.submit(measure_parcel, start))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


def _measure(pixels: np.ndarray) -> _Measure:
    import cv2

    pixels = np.ascontiguousarray(pixels)
    mean, std = cv2.meanStdDev(pixels)
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(pixels.data)
    return _Measure(
        "",
        pixels.shape,
        tuple(mean[:, 0].tolist()),
        tuple(std[:, 0].tolist()),
        int.from_bytes(digest.digest(), "little"),
    )


def _report(split: str, images: Images, measures: list[_Measure]) -> SplitReport:
    damaged = tuple(m.why for m in measures if m.why)
    intact = [m for m in measures if not m.why]
    if not intact:
        first = damaged[0] if damaged else "the split is empty"
        raise UserError(f"expected intact images in the split {split}, got none: {first}")
    heights, widths = (np.array([m.shape[k] for m in intact]) for k in (0, 1))
    weights = (heights * widths)[:, None] / np.sum(heights * widths, dtype=np.float64)
    means, stds = (np.array([getattr(m, of) for m in intact]) / 255.0 for of in ("mean", "std"))
    mean = (weights * means).sum(0)
    squares = (weights * (stds**2 + means**2)).sum(0)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    return SplitReport(
        len(images),
        images.count(),
        spread(widths),
        spread(heights),
        tuple(mean.tolist()),
        tuple(std.tolist()),
        damaged,
        report_boxes(images.boxes, len(images.label_names)) if images.boxes else None,
    )


def _repeats(splits: Mapping[str, Images], digests: Mapping[str, np.ndarray]) -> Iterator[Repeat]:
    """Yield the images that have the pixels of an earlier one, in order."""
    names = list(splits)
    ends = np.cumsum([len(images) for images in splits.values()]).tolist()

    def locate(row: int) -> tuple[str, int]:
        k = bisect.bisect_right(ends, row)
        return names[k], row - (ends[k - 1] if k else 0)

    joined = np.concatenate(list(digests.values()))
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    firsts = first[inverse]
    for again in np.flatnonzero(firsts != np.arange(len(joined))).tolist():
        if joined[again]:  # 0: a damaged image, which is not a repetition of another
            (split, row), (first_split, first_row) = locate(again), locate(firsts[again])
            one, other = splits[first_split], splits[split]
            yield Repeat(
                one.name(first_row),
                first_split,
                other.name(row),
                split,
                bool(one.labels[first_row] == other.labels[row]),
            )
