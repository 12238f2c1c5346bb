"""Samplers: the rows of each batch, as a function of (seed, step).

A sampler plans; it reads no example. Training and evaluation use the same table.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Protocol

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import PARTNER, UNLABELLED
from imgrec_jax.core.pipeline import bind_call, parse_pipeline
from imgrec_jax.core.ranges import COUNT, whole
from imgrec_jax.data.loading.random_orders import (
    first_of_order,
    in_turn,
    order,
    order_of_unlabelled,
    padded,
    partners,
    rows_of_classes,
)

IN_EPISODE = whole(1, 10_000)
Plan = dict[str, np.ndarray]
"""`index` and `epoch` (int32[n, ...]: rows of the source, and how often each has occurred before),
`mask` (bool[n], false in padding), and further fields for the task."""


class Sampler(Protocol):
    """Plans the batches of a source."""

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts about the batches for the task, such as the ways of episodes."""
        ...

    def plan(self, step: int) -> Plan:
        """Return the plan of the rows of a step's global batch."""
        ...

    def examples(self, step: int) -> int:
        """Return how many examples the steps before `step` hold."""
        ...


class _InEpochs:
    """Base of samplers with `size` draws in each epoch."""

    size: int
    batch_size: int
    facts: Mapping[str, Any] = {}

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def examples(self, step: int) -> int:
        epoch, position = divmod(step, self.steps_per_epoch)
        return epoch * self.size + position * self.batch_size

    def _span(self, step: int) -> tuple[int, int, int]:
        """Return the epoch of a step, its first draw in the epoch and the draw after its last."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first, end = (min(k * self.batch_size, self.size) for k in (position, position + 1))
        return epoch, first, end


@dataclass(frozen=True)
class Shuffle(_InEpochs):
    """Every example `repeats` times per epoch, each time in a different random order.

    Several repeats make epochs of a few large images long enough, of which each visit has another
    crop; `epoch` counts the visits.
    """

    examples_of_source: int
    batch_size: int
    seed: int
    repeats: int = 1

    @property
    def size(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.examples_of_source * self.repeats

    def plan(self, step: int) -> Plan:
        epoch, first, end = self._span(step)
        visits, places = np.divmod(np.arange(first, end), self.examples_of_source)
        visits += epoch * self.repeats
        rows = np.concatenate(
            [
                order(self.seed, visit, self.examples_of_source)[places[visits == visit]]
                for visit in np.unique(visits).tolist()
            ]
        )
        index, mask = padded(rows, self.batch_size)
        visit = np.full(self.batch_size, epoch * self.repeats, np.int32)
        visit[: len(visits)] = visits
        return {"index": index, "mask": mask, "epoch": visit}


@dataclass(frozen=True)
class InOrder(_InEpochs):
    """The rows of the source from first to last."""

    size: int
    batch_size: int

    def plan(self, step: int) -> Plan:
        epoch, first, end = self._span(step)
        index, mask = padded(np.arange(first, end, dtype=np.int32), self.batch_size)
        return {"index": index, "mask": mask, "epoch": np.full_like(index, epoch)}


@dataclass(frozen=True)
class Balanced(_InEpochs):
    """Every class equally often.

    Every class that has examples is drawn once per round, with as many draws as classes and a new
    random order in each round. Each class cycles through its examples, so those of rare classes
    occur several times in an epoch. `epoch` then counts how often an example has occurred before,
    so that each occurrence is augmented differently.
    """

    size: int
    batch_size: int
    seed: int
    labels: np.ndarray = field(repr=False, compare=False)

    def plan(self, step: int) -> Plan:
        epoch, first, end = self._span(step)
        start = epoch * self.size + first
        rows, visits = in_turn(self.seed, self._classes, start, end - first)
        index, mask = padded(rows, self.batch_size)
        return {"index": index, "mask": mask, "epoch": padded(visits, self.batch_size)[0]}

    @cached_property
    def _classes(self) -> list[np.ndarray]:
        return rows_of_classes(self.labels)


@dataclass(frozen=True)
class Episodes(_InEpochs):
    """Few-shot episodes: each row of a batch is an episode of `ways * (shots + queries)` images.

    An episode draws its classes, and examples of each class, without replacement. `index` and
    `epoch` are int32[n, rows]; `episode_label` (int32[n, rows], 0 .. ways - 1) is the class within
    the episode and `support` (bool[n, rows]) marks the support examples; the rest are queries.
    `size` is the number of episodes in an epoch. Episode k of a run is a function of (seed, k).
    """

    size: int
    batch_size: int
    seed: int
    labels: np.ndarray = field(repr=False, compare=False)
    ways: int = 5
    shots: int = 1
    queries: int = 15

    def __post_init__(self) -> None:
        if len(self._classes) < self.ways:
            raise UsageError(
                f"expected {self.ways} classes with {self.shots + self.queries} examples or more "
                f"for episodes, got {len(self._classes)}; try fewer ways, shots or queries"
            )

    @property
    def facts(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return {"ways": self.ways, "shots": self.shots, "queries": self.queries}

    def plan(self, step: int) -> Plan:
        epoch, first, end = self._span(step)
        numbers = epoch * self.size + np.arange(first, end)
        drawn = [self._episode(int(number)) for number in numbers]
        rows = np.stack(drawn) if drawn else np.zeros((0, self._rows), np.int32)
        index, mask = padded(rows, self.batch_size)
        shape = (self.batch_size, self._rows)
        each = self.shots + self.queries
        label = np.repeat(np.arange(self.ways, dtype=np.int32), each)
        support = np.tile(np.arange(each) < self.shots, self.ways)
        visit = np.zeros(self.batch_size, np.int32)
        visit[: len(numbers)] = numbers
        return {
            "index": index,
            "mask": mask,
            "epoch": np.broadcast_to(visit[:, None], shape).copy(),
            "episode_label": np.broadcast_to(label, shape).copy(),
            "support": np.broadcast_to(support, shape).copy(),
        }

    @property
    def _rows(self) -> int:
        return self.ways * (self.shots + self.queries)

    @cached_property
    def _classes(self) -> list[np.ndarray]:
        classes = rows_of_classes(self.labels)
        return [rows for rows in classes if len(rows) >= self.shots + self.queries]

    def _episode(self, number: int) -> np.ndarray:
        """Return the rows of an episode, class by class, support before queries."""
        chosen = first_of_order(self.seed, number, 0, len(self._classes), self.ways)
        each = self.shots + self.queries
        parts = [
            self._classes[k][first_of_order(self.seed, number, 1 + k, len(self._classes[k]), each)]
            for k in chosen.tolist()
        ]
        return np.concatenate(parts)


@dataclass(frozen=True)
class _Extended:
    """Base of samplers that add fields to the plans of another one."""

    sampler: Sampler

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.sampler.facts

    def examples(self, step: int) -> int:
        return self.sampler.examples(step)


@dataclass(frozen=True)
class Partners(_Extended):
    """A sampler that pairs each row with another row of the same batch, for mixup and CutMix.

    `partner_index` and `partner_epoch` are a permutation of the valid rows without fixed points
    (except for a single row); padding rows are their own partners.
    """

    seed: int

    def plan(self, step: int) -> Plan:
        plan = self.sampler.plan(step)
        partner = partners(self.seed, step, int(plan["mask"].sum()), len(plan["mask"]))
        return plan | {f"{PARTNER}{name}": plan[name][partner] for name in ("index", "epoch")}


@dataclass(frozen=True)
class TwoSources(_Extended):
    """A sampler whose rows each have `ratio` unlabelled examples beside them, from another source.

    `unlabelled_index` and `unlabelled_epoch` (int32[n, ratio]) go through the unlabelled examples
    again and again, in a different random order each time, whatever the labelled epochs. Their
    rows are numbered after the labelled ones, from `labelled` on, so that no two examples share
    a random key. `unlabelled_mask` (bool[n, ratio]) is false in padding.

    Attributes:
        sampler: of the labelled examples.
        batch_size: of its global batch.
        labelled: number of labelled examples.
        unlabelled: number of unlabelled examples.
        ratio: unlabelled examples for each labelled one.
        seed: of the orders.
    """

    batch_size: int
    labelled: int
    unlabelled: int
    ratio: int
    seed: int

    def plan(self, step: int) -> Plan:
        plan = self.sampler.plan(step)
        count = self.batch_size * self.ratio
        draws = np.arange(step * count, (step + 1) * count)
        epochs, places = np.divmod(draws, self.unlabelled)
        rows = np.empty_like(draws)
        for epoch in np.unique(epochs).tolist():
            now = epochs == epoch
            rows[now] = order_of_unlabelled(self.seed, epoch, self.unlabelled)[places[now]]
        shape = self.batch_size, self.ratio
        mask = np.broadcast_to(plan["mask"][:, None], shape)
        return plan | {
            f"{UNLABELLED}index": (self.labelled + rows).astype(np.int32).reshape(shape),
            f"{UNLABELLED}epoch": epochs.astype(np.int32).reshape(shape),
            f"{UNLABELLED}mask": mask.copy(),
        }


def make_sampler(
    text: str,
    key: str,
    *,
    size: int,
    batch_size: int,
    seed: int,
    labels: np.ndarray,
    unlabelled: int = 0,
) -> Sampler:
    """Return the sampler for a call such as "episodes(ways=5, shots=1)".

    Args:
        text: shuffle(repeats), balanced, in_order, episodes(ways, shots, queries, episodes) or
            two_sources(ratio, balanced).
        key: of the config, for messages.
        size: examples of the source.
        batch_size: of the global batch.
        seed: of the orders.
        labels: int32[size], the class of each example.
        unlabelled: number of unlabelled examples; two_sources without any plans labelled rows.

    Raises:
        UsageError: no such sampler, or the source has too few classes or examples for it.
    """
    calls = parse_pipeline(text)
    if len(calls) != 1:
        raise UsageError(f"expected one sampler in {key}, got '{text}'; try shuffle")

    def shuffle(repeats: Annotated[int, COUNT] = 1) -> Sampler:
        return Shuffle(size, batch_size, seed, repeats)

    def in_order() -> Sampler:
        return InOrder(size, batch_size)

    def balanced() -> Sampler:
        return Balanced(size, batch_size, seed, labels)

    def episodes(
        ways: Annotated[int, IN_EPISODE] = 5,
        shots: Annotated[int, IN_EPISODE] = 1,
        queries: Annotated[int, IN_EPISODE] = 15,
        episodes: Annotated[int, COUNT] = 600,
    ) -> Sampler:
        return Episodes(episodes, batch_size, seed, labels, ways, shots, queries)

    def two_sources(ratio: Annotated[int, IN_EPISODE] = 1, balanced: bool = False) -> Sampler:
        sampler = Balanced(size, batch_size, seed, labels) if balanced else shuffle()
        if not unlabelled:  # as in a gallery of labelled images
            return sampler
        return TwoSources(sampler, batch_size, size, unlabelled, ratio, seed)

    known: Mapping[str, Callable[..., Sampler]] = {
        "balanced": balanced,
        "episodes": episodes,
        "in_order": in_order,
        "shuffle": shuffle,
        "two_sources": two_sources,
    }
    return bind_call(key, calls[0], known)
