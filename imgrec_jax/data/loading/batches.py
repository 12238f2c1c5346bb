"""Make batches as a function of (seed, step) from any source with random access."""

from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType

import numpy as np

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.fields import INDEX, MASK, PARTNER, PIXELS, UNLABELLED, kind_of, of_kind
from imgrec_jax.data.loading.samplers import Partners, Sampler, TwoSources, make_sampler
from imgrec_jax.data.sources.source import Source, gather

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainBatches:
    """Batches in a random order that is a function of (seed, step).

    An epoch has as many draws as there are examples (for episodes, the configured number); its
    last batch is padded with rows whose mask is false. If rows have partners, their fields are
    `partner_image`, `partner_label` and so on, unless they are resident.

    Attributes:
        source: the examples.
        batch_size: of the global batch.
        seed: of the orders.
        resident: the source is on the device, and its arrays are left out of batches.
        columns: the part of every global batch that this process reads.
        sampling: "shuffle", "balanced", "episodes(ways=5, ...)": see `samplers`.
        partners: whether rows have partners.
        unlabelled: examples for `two_sources`, without their labels and annotations.
    """

    source: Source
    batch_size: int
    seed: int
    resident: bool = False
    columns: np.ndarray | EllipsisType = ...
    sampling: str = "shuffle"
    partners: bool = False
    unlabelled: Source | None = None

    def __post_init__(self) -> None:
        _ = self.sampler  # raises errors here and not at the first batch

    @cached_property
    def sampler(self) -> Sampler:
        sampler = make_sampler(
            self.sampling,
            "data.sampling",
            size=len(self.source),
            batch_size=self.batch_size,
            seed=self.seed,
            labels=self.source.labels,
            unlabelled=len(self.unlabelled or ()),
        )
        if self.unlabelled is not None and not isinstance(sampler, TwoSources):
            raise UsageError(
                f"expected data.unlabelled='' for data.sampling={self.sampling}, which reads one "
                "source, got a second one; try --config.data.sampling='two_sources(ratio=7)'"
            )
        return Partners(sampler, self.seed) if self.partners else sampler

    @property
    def steps_per_epoch(self) -> int:
        return self.sampler.steps_per_epoch

    def __call__(self, step: int, steps: int = 1) -> Batch:
        """Return the batches of `steps` steps starting at `step`, with axes [steps, batch_size]."""
        plans = [self.sampler.plan(step + k) for k in range(steps)]
        plan = {name: np.stack([p[name][self.columns] for p in plans]) for name in plans[0]}
        if self.resident:
            return plan
        return self._filled(plan)

    def examples(self, step: int) -> int:
        """Return how many examples all processes have used in the steps before `step`."""
        return self.sampler.examples(step)

    def first_example(self) -> Batch:
        """Return the fields of the first example as a batch of one."""
        sampler = self.sampler
        while isinstance(sampler, Partners | TwoSources):
            sampler = sampler.sampler
        plan = {name: part[:1] for name, part in sampler.plan(0).items()}
        batch = _filled(self.source, plan, training=True)
        return {name: array for name, array in batch.items() if kind_of(name) not in _PLANNED}

    def _filled(self, plan: Batch) -> Batch:
        batch = _filled(self.source, plan, training=True)
        if self.unlabelled is None:
            return batch
        return batch | _unlabelled(self.unlabelled, plan, start=len(self.source))


@dataclass(frozen=True)
class EvalBatches:
    """Batches of one pass over a source, the last one padded with masked rows.

    `columns` are the part of every global batch that this process reads; `sampling` is
    "in_order", or "episodes(ways=5, ...)" with `seed`.
    """

    source: Source
    batch_size: int
    columns: np.ndarray | EllipsisType = ...
    sampling: str = "in_order"
    seed: int = 0

    @cached_property
    def sampler(self) -> Sampler:
        return make_sampler(
            self.sampling,
            "data.eval_sampling",
            size=len(self.source),
            batch_size=self.batch_size,
            seed=self.seed,
            labels=self.source.labels,
        )

    def __len__(self) -> int:
        return self.sampler.steps_per_epoch

    def __call__(self, number: int) -> Batch:
        """Return batch `number`, with axis [batch_size], or as many as there are columns."""
        plan = {name: part[self.columns] for name, part in self.sampler.plan(number).items()}
        return _filled(self.source, plan, training=False)


def _filled(source: Source, plan: Batch, *, training: bool) -> Batch:
    """Return a plan with the examples of its rows and of their partners."""
    kinds = ("", PARTNER) if f"{PARTNER}index" in plan else ("",)
    rows, epochs = (np.stack([plan[f"{kind}{name}"] for kind in kinds]) for name in _VISIT)
    seen = epochs.reshape(-1) if training else None
    read = gather(source, rows.reshape(-1), seen)
    batch = {
        f"{kind}{name}": part
        for name, value in read.items()
        for kind, part in zip(kinds, value.reshape(*rows.shape, *value.shape[1:]), strict=True)
    }
    return _without_broken({**batch, **plan})


def _unlabelled(source: Source, plan: Batch, start: int) -> Batch:
    """Return the images of the unlabelled examples of a plan, and their mask without damaged ones.

    Their rows are numbered from `start`. No label or annotation leaves this function.
    """
    index, epoch = (plan[f"{UNLABELLED}{name}"] for name in _VISIT)
    read = gather(source, index.reshape(-1) - start, epoch.reshape(-1))
    images = {
        f"{UNLABELLED}{name}": value.reshape(*index.shape, *value.shape[1:])
        for name, value in of_kind(read, PIXELS).items()
    }
    intact = read.get("broken", np.full(index.size, "")).reshape(index.shape) == ""
    return {**images, f"{UNLABELLED}mask": plan[f"{UNLABELLED}mask"] & intact}


_VISIT = ("index", "epoch")
_PLANNED = {INDEX, MASK}


def _without_broken(batch: Batch) -> Batch:
    """Return the batch with damaged images masked out, and never used as partners.

    A row whose partner is damaged becomes its own partner. So every mean over examples is a mean
    over intact ones, as if the others did not exist.
    """
    if "broken" in batch:
        whole = batch.pop("broken") == ""
        extra = tuple(range(batch["mask"].ndim, whole.ndim))  # one damaged image: no episode
        batch["mask"] = batch["mask"] & whole.all(axis=extra)
    if "partner_broken" in batch:
        alone = batch.pop("partner_broken") != ""
        for name in [name for name in batch if f"partner_{name}" in batch]:
            batch[f"partner_{name}"][alone] = batch[name][alone]
    return batch
