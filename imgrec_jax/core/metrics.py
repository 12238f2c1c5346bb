"""Add up metric sums on the host, where they cannot overflow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Sums = dict[str, np.ndarray]


def add(total: Mapping[str, Any], more: Mapping[str, Any]) -> Sums:
    """Return `total + more` by name: integers in int64, floats in float64.

    The device counts in int32 per batch. The pixels of a data set overflow int32, and float32
    is inexact above 16.8 million. An empty `total` is zero.
    """
    widened = {name: _widen(value) for name, value in more.items()}
    return {name: value + total.get(name, 0) for name, value in widened.items()}


def add_rows(total: Mapping[str, Any], rows: Mapping[str, np.ndarray]) -> Sums:
    """Return `total` plus each row of the arrays [n, ...], by name, in float64.

    Rows are added one after another. So the digits of a sum depend on the order of its rows alone,
    not on how they are divided into batches.
    """
    return {name: _in_order(total.get(name), array) for name, array in rows.items()}


def _in_order(start: Any, rows: np.ndarray) -> np.ndarray:
    begin = np.zeros(rows.shape[1:]) if start is None else np.asarray(start, np.float64)
    # cumsum adds in sequence, where sum adds in pairs.
    return np.concatenate([begin[None], rows.astype(np.float64)]).cumsum(0)[-1]


def _widen(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64)
