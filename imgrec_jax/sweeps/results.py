"""Aggregate runs: those that differ only in their seed form a group with mean and spread."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imgrec_jax.core.errors import UsageError, UserError, did_you_mean
from imgrec_jax.core.nested import flatten
from imgrec_jax.training.workdir.config_changes import Change, find_changes
from imgrec_jax.training.workdir.files import Workdir

_SHOWN = 4  # metrics shown by default
_FEWEST = 3  # values that have an interval
_PROPORTION = re.compile(
    r"_(accuracy|(pixel|balanced|robust|top\d+)_accuracy|miou|iou|dice|ap\d*|voc_ap\d*|"
    r"boundary_f1|macro_f1|f1|precision|recall|auroc)(_|$)"
)


class Record(NamedTuple):
    """The config and result of a run, read from its workdir.

    Attributes:
        folder: the workdir.
        config: the resolved config.
        result: the content of `result.json`; empty if the run is not finished.
    """

    folder: Path
    config: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.result.get("status") == "finished"

    @property
    def pair(self) -> tuple[Any, Any]:
        """Seed and data: runs of two configs with the same values are compared as a pair."""
        return self.config["seed"], self.result.get("data_fingerprint")


class Group(NamedTuple):
    """Runs whose configs differ only in the seed and in keys that do not affect learning.

    Attributes:
        records: in the given order.
        settings: the keys in which groups differ, with this group's values.
    """

    records: tuple[Record, ...]
    settings: Mapping[str, Any]

    @property
    def finished(self) -> list[Record]:
        """The finished runs; only these count in scores."""
        return [record for record in self.records if record.finished]


class Estimate(NamedTuple):
    """Mean of n values, their standard deviation (n - 1), and a 95 % interval of the mean.

    The interval is Student's t, cut to the range of the score. It is NaN below three values, as
    two have an interval of 12.7 deviations; of a single value, the spread is NaN too.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int


def read_record(folder: Path) -> Record:
    """Return the record of a workdir.

    Raises:
        UserError: it does not hold a run.
    """
    workdir = Workdir(folder)
    config = workdir.read_config()
    if config is None:
        raise UserError(
            f"expected the workdir of a run, got {folder} without config.json; "
            "try the --workdir of a run"
        )
    return Record(folder, config, workdir.read_result() or {})


def group_by_config(records: Iterable[Record]) -> list[Group]:
    """Return the groups in the order of their first runs."""
    groups: list[list[Record]] = []
    for record in records:
        for members in groups:
            if not _differences(members[0], record):
                members.append(record)
                break
        else:
            groups.append([record])
    keys = sorted({change.key for g in groups for change in _differences(groups[0][0], g[0])})
    return [Group(tuple(g), {key: flatten(g[0].config).get(key) for key in keys}) for g in groups]


def choose_metrics(groups: Sequence[Group], requested: Sequence[str]) -> list[str]:
    """Return the metrics to show: the requested ones, or the first few that all runs have.

    Raises:
        UsageError: a run lacks a requested metric.
    """
    results = [record.result["metrics"] for group in groups for record in group.finished]
    known = [name for name in (results[0] if results else {}) if all(name in r for r in results)]
    for name in requested:
        if name not in known:
            raise UsageError(
                f"expected a metric that all finished runs have, got '{name}'"
                f"{did_you_mean(name, known)}; try one of {', '.join(known)}"
            )
    return list(requested) or known[:_SHOWN]


def estimate(
    values: Sequence[float], bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Return mean, spread and interval of one or more values, which lie within the bounds."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Estimate(mean, math.nan, math.nan, math.nan, n)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    if n < _FEWEST:
        return Estimate(mean, std, math.nan, math.nan, n)
    from scipy.stats import t

    reach = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Estimate(mean, std, max(mean - reach, bounds[0]), min(mean + reach, bounds[1]), n)


def is_proportion(metric: str) -> bool:
    """Return whether a score, such as `test_accuracy` or `val_ap_of_cat`, lies within 0 and 1."""
    return bool(_PROPORTION.search(metric)) and "loss" not in metric


def score(group: Group, metric: str) -> Estimate | None:
    """Return the estimate over the finished runs of a group, or None if there are none."""
    values = [_number(record, metric) for record in group.finished]
    bounds = (0.0, 1.0) if is_proportion(metric) else (-math.inf, math.inf)
    return estimate(values, bounds) if values else None


def paired_difference(group: Group, other: Group, metric: str) -> Estimate | None:
    """Return the estimate of `group` minus `other`, over seeds that both have.

    None if finished runs share no seed on the same data: scores on different images are not
    compared.
    """
    theirs = {record.pair: _number(record, metric) for record in other.finished}
    ours = {record.pair: _number(record, metric) for record in group.finished}
    shared = [pair for pair in ours if pair in theirs]
    bounds = (-1.0, 1.0) if is_proportion(metric) else (-math.inf, math.inf)
    return estimate([ours[pair] - theirs[pair] for pair in shared], bounds) if shared else None


def _differences(one: Record, other: Record) -> list[Change]:
    return [change for change in find_changes(one.config, other.config, {}) if change.key != "seed"]


def _number(record: Record, metric: str) -> float:
    value = record.result["metrics"][metric]
    return math.nan if value is None else value
