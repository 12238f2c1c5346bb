"""What is in a data set: counts, sizes, damaged pictures, channels, pictures that occur twice."""

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
from imgrec_jax.data.raw.items import Pictures
from imgrec_jax.data.sources.encoded import thread_count

_PARCEL = 64  # pictures that a thread measures in one go
_SHEET_ROWS = 20
_SHEET_COLUMNS = 10


class Repeat(NamedTuple):
    """A picture whose pixels occurred before: the names of both, and of their splits."""

    first: str
    first_split: str
    again: str
    split: str
    same_label: bool


@dataclass(frozen=True)
class SplitReport:
    """What is in one split.

    Attributes:
        pictures: how many there are, damaged ones included.
        class_counts: int64[k], pictures of each class, damaged ones included; where pictures
            have boxes, those with a box of the class.
        widths, heights: of the intact pictures, in pixels.
        mean, std: of each channel over all pixels, with pixels in 0 .. 1.
        damaged: what is wrong with each damaged picture, its name included.
        boxes: what is drawn on the pictures; None where they have a class each.
    """

    pictures: int
    class_counts: np.ndarray
    widths: Spread
    heights: Spread
    mean: tuple[float, ...]
    std: tuple[float, ...]
    damaged: tuple[str, ...]
    boxes: BoxReport | None = None


@dataclass(frozen=True)
class Inspection:
    """What is in a data set.

    Attributes:
        splits: by name, in the order of the data set.
        label_names: the class names, in the order of the labels.
        repeats: pictures that have the very pixels of an earlier one.
    """

    splits: dict[str, SplitReport]
    label_names: tuple[str, ...]
    repeats: tuple[Repeat, ...]

    @property
    def damaged(self) -> list[str]:
        """What is wrong with the damaged pictures of all splits."""
        return [why for report in self.splits.values() for why in report.damaged]


class _Measure(NamedTuple):
    """One picture; `why` tells what is wrong with it and leaves the rest empty."""

    why: str
    shape: tuple[int, ...] = (0, 0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    digest: int = 0


def inspect(
    splits: Mapping[str, Pictures], progress: Callable[[int, int], None] = lambda done, total: None
) -> Inspection:
    """Decode every picture of a data set and report on them.

    Pictures are the same if a 64-bit hash of their shapes and pixels is: in a million different
    ones, two are mistaken for the same with a probability of 3e-8.

    Args:
        splits: by name.
        progress: called now and then with the pictures done and the pictures to do.

    Raises:
        UserError: a split has no intact picture.
    """
    total = sum(len(pictures) for pictures in splits.values())
    done = 0
    reports: dict[str, SplitReport] = {}
    digests: dict[str, np.ndarray] = {}
    for split, pictures in splits.items():
        measures: list[_Measure] = []
        for parcel in _measure_all(pictures):
            measures += parcel
            progress(done + len(measures), total)
        done += len(pictures)
        reports[split] = _report(split, pictures, measures)
        digests[split] = np.array([m.digest for m in measures], np.uint64)
    label_names = next(iter(splits.values())).label_names
    return Inspection(reports, label_names, tuple(_repeats(splits, digests)))


def sheet_rows(pictures: Pictures) -> list[SheetRow]:
    """Return rows for a contact sheet: evenly spaced pictures of evenly spaced classes.

    Damaged pictures are passed over for the ones beside them.
    """
    classes = len(pictures.label_names)
    some = np.unique(np.linspace(0, classes - 1, min(classes, _SHEET_ROWS)).astype(int))
    rows = []
    for label in some.tolist():
        members = np.flatnonzero(pictures.has(label))
        rows.append(
            SheetRow(
                pictures.label_names[label],
                f"class {label}: {len(members):,} picture{'s' * (len(members) != 1)}",
                _some(pictures, members),
            )
        )
    return rows


def _some(pictures: Pictures, members: np.ndarray) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    columns = min(len(members), _SHEET_COLUMNS)
    for part in np.array_split(members, columns) if columns else []:
        for row in part.tolist():
            try:
                found.append(pictures.read(row)[1])
                break
            except UserError:
                continue
    return found


def _measure_all(pictures: Pictures) -> Iterator[list[_Measure]]:
    """Yield the measures of all pictures in order, some at a time, taken by several threads."""

    def measure_parcel(start: int) -> list[_Measure]:
        parcel = pictures.part(start, min(start + _PARCEL, len(pictures)))
        return [
            _Measure(str(picture)) if isinstance(picture, UserError) else _measure(picture[1])
            for picture in parcel
        ]

    threads = thread_count()
    pending: deque[Future[list[_Measure]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(pictures), _PARCEL):
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


def _report(split: str, pictures: Pictures, measures: list[_Measure]) -> SplitReport:
    damaged = tuple(m.why for m in measures if m.why)
    intact = [m for m in measures if not m.why]
    if not intact:
        first = damaged[0] if damaged else "the split is empty"
        raise UserError(f"expected intact pictures in the split {split}, got none: {first}")
    heights, widths = (np.array([m.shape[k] for m in intact]) for k in (0, 1))
    weights = (heights * widths)[:, None] / np.sum(heights * widths, dtype=np.float64)
    means, stds = (np.array([getattr(m, of) for m in intact]) / 255.0 for of in ("mean", "std"))
    mean = (weights * means).sum(0)
    squares = (weights * (stds**2 + means**2)).sum(0)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    return SplitReport(
        len(pictures),
        pictures.count(),
        spread(widths),
        spread(heights),
        tuple(mean.tolist()),
        tuple(std.tolist()),
        damaged,
        report_boxes(pictures.boxes, len(pictures.label_names)) if pictures.boxes else None,
    )


def _repeats(splits: Mapping[str, Pictures], digests: Mapping[str, np.ndarray]) -> Iterator[Repeat]:
    """Yield the pictures that have the pixels of an earlier one, in order."""
    names = list(splits)
    ends = np.cumsum([len(pictures) for pictures in splits.values()]).tolist()

    def locate(row: int) -> tuple[str, int]:
        k = bisect.bisect_right(ends, row)
        return names[k], row - (ends[k - 1] if k else 0)

    joined = np.concatenate(list(digests.values()))
    _, first, inverse = np.unique(joined, return_index=True, return_inverse=True)
    firsts = first[inverse]
    for again in np.flatnonzero(firsts != np.arange(len(joined))).tolist():
        if joined[again]:  # 0: a damaged picture, which is no repetition of another
            (split, row), (first_split, first_row) = locate(again), locate(firsts[again])
            one, other = splits[first_split], splits[split]
            yield Repeat(
                one.name(first_row),
                first_split,
                other.name(row),
                split,
                bool(one.labels[first_row] == other.labels[row]),
            )
