"""Statistics of pixels: sizes, mean and standard deviation of each channel."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgrec_jax.core.text_table import table
from imgrec_jax.data.inspect.spread import Spread, spread
from imgrec_jax.data.raw.items import Images


class Measure(NamedTuple):
    """Measures of one image; for a damaged one only `why` is set.

    `mean` and `std` are of each channel, with pixels in 0 .. 1. `digest` is a hash of shape and
    pixels.
    """

    why: str
    shape: tuple[int, ...] = (0, 0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    digest: int = 0


@dataclass(frozen=True)
class PixelReport:
    """The intact images of one split.

    Attributes:
        widths, heights: in pixels.
        mean, std: of each channel over all pixels, with pixels in 0 .. 1.
    """

    widths: Spread
    heights: Spread
    mean: tuple[float, ...]
    std: tuple[float, ...]


def measure(pixels: np.ndarray) -> Measure:
    """Return the measures of an image [h, w, c]; floating-point pixels are in 0 .. 1 already."""
    import cv2

    pixels = np.ascontiguousarray(pixels)
    scale = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "ui" else 1.0
    mean, std = cv2.meanStdDev(pixels)
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(pixels.data)
    return Measure(
        "",
        pixels.shape,
        tuple((mean[:, 0] / scale).tolist()),
        tuple((std[:, 0] / scale).tolist()),
        int.from_bytes(digest.digest(), "little"),
    )


def summarize(intact: Sequence[Measure]) -> PixelReport:
    """Return the statistics of images by their measures."""
    heights, widths = (np.array([m.shape[k] for m in intact]) for k in (0, 1))
    weights = (heights * widths)[:, None] / np.sum(heights * widths, dtype=np.float64)
    means, stds = (np.array([getattr(m, of) for m in intact]) for of in ("mean", "std"))
    mean = (weights * means).sum(0)
    squares = (weights * (stds**2 + means**2)).sum(0)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    return PixelReport(spread(widths), spread(heights), tuple(mean.tolist()), tuple(std.tolist()))


def report_pixels(images: Images, name: str) -> PixelReport:
    """Return the statistics of a further field of pixels, [n, h, w, c]."""
    return summarize([measure(pixels) for pixels in np.asarray(images.fields[name])])


def pixel_lines(
    name: str, reports: Mapping[str, PixelReport], label_names: Sequence[str]
) -> list[str]:
    """Return the statistics as text."""
    del label_names
    rows = [[name, *PIXEL_COLUMNS]]
    rows += [[split, *pixel_cells(report)] for split, report in reports.items()]
    return table(rows, "<>>>>")


PIXEL_COLUMNS = ("width", "height", "mean", "std")


def pixel_cells(report: PixelReport) -> list[str]:
    """Return the text of `PIXEL_COLUMNS`."""
    moments = (" ".join(f"{value:.3f}" for value in of) for of in (report.mean, report.std))
    return [str(report.widths), str(report.heights), *moments]


def pixels_json(report: PixelReport, label_names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the statistics as JSON."""
    del label_names
    return {
        "width": report.widths._asdict(),
        "height": report.heights._asdict(),
        "mean": report.mean,
        "std": report.std,
    }
