"""Prefetch batches while the previous ones are being used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from imgrec_jax.data.loading.batches import Batch, TrainBatches

_AHEAD = 2  # batches; two at a time, so that decoders never wait for the end of one

T = TypeVar("T")
S = TypeVar("S")


class TrainBatchesAhead:
    """Training batches as a function of the step, prefetched for consecutive steps.

    Attributes:
        batches: makes the batches.
        last: the number of steps; no batches are prefetched beyond it.
    """

    def __init__(self, batches: TrainBatches, last: int) -> None:
        self.batches, self.last = batches, last
        self._threads = ThreadPoolExecutor(_AHEAD, "batches")
        self._begun: dict[tuple[int, int], Future[Batch]] = {}

    @property
    def batch_size(self) -> int:
        return self.batches.batch_size

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.steps_per_epoch

    def examples(self, step: int) -> int:
        """Return how many examples all processes have used in the steps before `step`."""
        return self.batches.examples(step)

    def __call__(self, step: int, steps: int = 1) -> Batch:
        """Return the batches of `steps` steps starting at `step`, as `batches` does."""
        upcoming = [(step, steps)]
        while len(upcoming) <= _AHEAD and (following := sum(upcoming[-1])) < self.last:
            # Calls do not go beyond the end of an epoch.
            left = self.steps_per_epoch - following % self.steps_per_epoch
            upcoming.append((following, min(steps, left)))
        for key in self._begun.keys() - set(upcoming):
            self._begun.pop(key).cancel()
        for key in upcoming:
            if key not in self._begun:
                self._begun[key] = self._threads.submit(self.batches, *key)
        return self._begun.pop((step, steps)).result()


def ahead(make: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield `make(item)` for each item in order, while the next ones are computed ahead."""
    begun: deque[Future[T]] = deque()
    with ThreadPoolExecutor(_AHEAD, "batches") as threads:
        try:
            for item in items:
                begun.append(threads.submit(make, item))
                if len(begun) > _AHEAD:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
