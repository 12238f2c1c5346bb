"""Statistics of fields of no known kind."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imgrec_jax.core.text_table import table
from imgrec_jax.data.raw.items import Images


@dataclass(frozen=True)
class NumberReport:
    """The numbers of one split: their shape in each example, type, and range."""

    shape: tuple[int, ...]
    dtype: str
    least: float
    mean: float
    most: float


def report_numbers(images: Images, name: str) -> NumberReport:
    """Return the statistics of a field of numbers, [n, ...]."""
    values = np.asarray(images.fields[name])
    least, mean, most = (
        float(of(values)) if values.size else 0.0 for of in (np.min, np.mean, np.max)
    )
    return NumberReport(values.shape[1:], str(values.dtype), least, mean, most)


def number_lines(
    name: str, reports: Mapping[str, NumberReport], label_names: Sequence[str]
) -> list[str]:
    """Return the statistics as text."""
    del label_names
    rows = [[name, "shape", "type", "least", "mean", "most"]]
    rows += [
        [
            split,
            "x".join(map(str, r.shape)) or "one number",
            r.dtype,
            *(f"{value:.4g}" for value in (r.least, r.mean, r.most)),
        ]
        for split, r in reports.items()
    ]
    return table(rows, "<>>>>>")


def numbers_json(report: NumberReport, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the statistics as JSON."""
    del label_names
    return asdict(report)
