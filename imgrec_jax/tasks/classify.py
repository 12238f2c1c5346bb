"""Classification: one label per picture."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from imgrec_jax.core.errors import UsageError
from imgrec_jax.core.task import Batch, Counts, LossOutput, PyTree, Task
from imgrec_jax.ops.losses import softmax_cross_entropy


def classify(module: nn.Module, *, num_classes: int, label_smoothing: float = 0.0) -> Task:
    """Return the task of learning `module(image) -> logits[n, num_classes]`.

    A batch holds `image` (float[n, h, w, c]), `label` (int32[n], 0 .. num_classes - 1) and
    `mask`. Scores: `loss` (cross-entropy in nats, without smoothing), `accuracy` (top-1),
    `top5_accuracy` (with fewer than five classes: 1.0); a picture whose true class ties with
    others counts as wrong where a class of lower number has the same logit.
    """
    if not 0 <= label_smoothing < 1:
        raise UsageError(
            f"expected task.label_smoothing from 0 to below 1, got {label_smoothing}; try 0.1"
        )

    def init(key: Array, batch: Batch) -> tuple[PyTree, PyTree]:
        variables = dict(module.init(key, batch["image"], train=False))
        return variables.pop("params"), variables

    def count(batch: Batch) -> Counts:
        return {"examples": batch["mask"].sum(dtype=jnp.float32)}

    def loss(
        params: PyTree, model_state: PyTree, batch: Batch, key: Array, counts: Counts
    ) -> LossOutput:
        logits, new_model_state = module.apply(
            {"params": params, **model_state},
            batch["image"],
            train=True,
            mask=batch["mask"],
            rngs={"dropout": key},
            mutable=list(model_state),
        )
        losses = softmax_cross_entropy(logits, batch["label"], label_smoothing)
        # A batch of padding alone has count 0 and must give gradient 0, not 0 / 0.
        share = jnp.where(batch["mask"], losses, 0.0).sum() / jnp.maximum(counts["examples"], 1.0)
        sums = metric_sums(logits, batch)
        del sums["confusion"]  # K x K numbers to send at every step, and nobody reads them
        return LossOutput(share, new_model_state, sums)

    def predict(params: PyTree, model_state: PyTree, batch: Batch) -> Float[Array, "n k"]:
        return module.apply({"params": params, **model_state}, batch["image"], train=False)  # pyright: ignore[reportReturnType]

    def metric_sums(logits: Float[Array, "n k"], batch: Batch) -> dict[str, Array]:
        mask, labels = batch["mask"], batch["label"]
        rank = _rank(logits, labels)
        confusion = jnp.zeros((num_classes, num_classes), jnp.int32)
        return {
            "examples": mask.sum(dtype=jnp.int32),
            "correct": (mask & (rank < 1)).sum(dtype=jnp.int32),
            "top5_correct": (mask & (rank < 5)).sum(dtype=jnp.int32),
            "loss": jnp.where(mask, softmax_cross_entropy(logits, labels), 0.0).sum(),
            "confusion": confusion.at[labels, logits.argmax(-1)].add(mask.astype(jnp.int32)),
        }

    def rows(logits: Float[Array, "n k"], batch: Batch) -> dict[str, Array]:
        probabilities = jax.nn.softmax(logits.astype(jnp.float32))
        return {
            "label": batch["label"],
            "prediction": logits.argmax(-1).astype(jnp.int32),
            "confidence": probabilities.max(-1),
        }

    return Task(init, count, loss, predict, metric_sums, rows, compute_metrics, "accuracy")


def compute_metrics(sums: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of a set from its sums; without examples they are NaN."""
    del rows
    n = np.float64(sums["examples"])
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "loss": float(sums["loss"] / n),
            "accuracy": float(sums["correct"] / n),
            "top5_accuracy": float(sums["top5_correct"] / n),
        }


def _rank(logits: Float[Array, "n k"], labels: Array) -> Array:
    """Return how many classes stand before the true one, int32[n]; NaN never ranks first."""
    true = jnp.take_along_axis(logits, labels[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1])[None, :] < labels[:, None]
    before = ~(logits <= true) | ((logits == true) & earlier)
    return before.sum(-1, dtype=jnp.int32)
