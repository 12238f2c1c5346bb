"""Inspect a data set: counts, sizes, channels, annotations, damaged and duplicate images."""

import bisect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.core.errors import UserError
from imgrec_jax.data.images.label_image import check_sizes
from imgrec_jax.data.inspect.kinds import kinds_in
from imgrec_jax.data.inspect.map_statistics import MapReport
from imgrec_jax.data.inspect.pixel_statistics import Measure, PixelReport, measure, summarize
from imgrec_jax.data.raw.items import Images, RawMasks
from imgrec_jax.data.sources.encoded import thread_count

_PARCEL = 64  # images that a thread measures at once


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
        examples: number of examples, including those with damaged images.
        pixels: statistics of the intact images; None if there are no images.
        damaged: an error message for each damaged image or label map, including its name.
        fields: statistics of the fields beside the images, by name; see `kinds.KINDS`.
    """

    examples: int
    pixels: PixelReport | None
    damaged: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def class_counts(self) -> np.ndarray:
        """Images of each class, or with a part of it, including damaged ones: int64[k]."""
        return self._classes.class_counts() if self._classes else np.zeros(0, np.int64)

    def has(self, label: int) -> np.ndarray:
        """Return which images are of a class, or have a part of it: bool[n]."""
        return self._classes.has(label)

    @property
    def _classes(self) -> Any:
        """The report of the field that holds classes, or None."""
        found = [report for report in self.fields.values() if hasattr(report, "class_counts")]
        return found[0] if found else None


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
        measures: list[Measure] = []
        for parcel in _measure_all(images):
            measures += parcel
            progress(done + len(measures), total)
        done += len(images)
        reports[split] = _report(split, images, measures)
        digests[split] = np.array([m.digest for m in measures], np.uint64)
    label_names = next(iter(splits.values())).label_names
    return Inspection(reports, label_names, tuple(_repeats(splits, digests)))


def _measure_all(images: Images) -> Iterator[list[Measure]]:
    """Yield the measures of all images in order, in groups, computed by several threads."""
    if images.items is None:
        return

    def measure_parcel(start: int) -> list[Measure]:
        parcel = images.part(start, min(start + _PARCEL, len(images)))
        return [
            Measure(str(image)) if isinstance(image, UserError) else measure(image[1])
            for image in parcel
        ]

    threads = thread_count()
    pending: deque[Future[list[Measure]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(images), _PARCEL):
            pending.append(pool.submit(measure_parcel, start))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        for future in pending:
            yield future.result()


def _report(split: str, images: Images, measures: list[Measure]) -> SplitReport:
    fields = {name: kind.report(images, name) for name, kind in kinds_in(images).items()}
    damaged = [m.why for m in measures if m.why]
    intact = [m for m in measures if not m.why]
    if not intact and images.items is not None:
        first = damaged[0] if damaged else "the split is empty"
        raise UserError(f"expected intact images in the split {split}, got none: {first}")
    for name, report in fields.items():
        if isinstance(report, MapReport):
            damaged += [*report.damaged, *_misfits(images, name, report, measures)]
    pixels = summarize(intact) if intact else None
    return SplitReport(len(images), pixels, tuple(damaged), fields)


def _misfits(
    images: Images, name: str, report: MapReport, measures: list[Measure]
) -> Iterator[str]:
    """Yield an error message for each label image of another size than its image."""
    masks = images.fields[name]
    for row, (found, size) in enumerate(zip(measures, report.sizes, strict=True)):
        if not found.why and size and isinstance(masks, RawMasks):
            try:
                check_sizes((found.shape[0], found.shape[1]), size, masks.names[row])
            except UserError as error:
                yield str(error)


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
