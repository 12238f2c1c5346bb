"""Prefetch batches while the previous ones are being used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from imgrec_jax.data.loading.batches import Batch, TrainBatches

_AHEAD = 2  # batches; two at a time, so that who decodes never waits for the end of one

T = TypeVar("T")
S = TypeVar("S")


class TrainBatchesAhead:
    """Training batches as a function of the step, which is quick where it follows the last one.

    Attributes:
        batches: what makes them.
        last: the steps that there will be: nothing is made beyond.
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
        """Return how many examples the steps before `step` have seen, over all processes."""
        return self.batches.examples(step)

    def __call__(self, step: int, steps: int = 1) -> Batch:
        """Return the batches of `steps` steps from `step` on, as `batches` does."""
        wanted = [(step, steps)]
        while len(wanted) <= _AHEAD and (following := sum(wanted[-1])) < self.last:
            # Calls do not go beyond the end of an epoch.
            left = self.steps_per_epoch - following % self.steps_per_epoch
            wanted.append((following, min(steps, left)))
        for key in self._begun.keys() - set(wanted):
            self._begun.pop(key).cancel()
        for key in wanted:
            if key not in self._begun:
                self._begun[key] = self._threads.submit(self.batches, *key)
        return self._begun.pop((step, steps)).result()


def ahead(make: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield what is made of each item, in order, with the next ones in the making."""
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
