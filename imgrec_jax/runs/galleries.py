"""Image galleries of a report: errors, augmented inputs, first-layer filters, predictions."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.build.preprocessing import build_augmentations, preprocessed, preprocessing
from imgrec_jax.core.context import Context
from imgrec_jax.core.fields import BOX_FLAG, BOX_LABEL, LABEL, PIXELS, PLACED, SAMPLES, kind_of
from imgrec_jax.core.presentation import Figure, Gallery
from imgrec_jax.core.rng import example_keys
from imgrec_jax.core.task import Batch, LossOutput, PyTree
from imgrec_jax.data.images.bit_depth import as_rgb
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import Source, Splits
from imgrec_jax.runs.trained import Run

MOST_INPUTS, MOST_DRAWN, MOST_FILTERS, MOST_SAMPLES = 16, 3, 64, 24
MOST_DRAWN_INPUTS = 6  # images of the first step with boxes or label maps drawn


def galleries(
    run: Run, splits: Splits, rows: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Gallery]:
    """Return all galleries of a run.

    Args:
        run: at the step of `rows`.
        splits: its data.
        rows: of the evaluation, by split.
    """
    found: list[Gallery] = []
    shown = run.presentation
    if shown.sample:
        found.append(samples(run))
    for name, of in rows.items():
        source = splits[name]
        if of and len(next(iter(of.values()))) != len(source):
            continue  # damaged images were skipped: rows do not match the source
        if shown.galleries and of:
            found += shown.galleries(name, of, lambda row, s=source: _image(s, row), run.facts)
        elif shown.compare:
            found += drawings(name, of, run, source)
    found.append(filters(run.params, run.image_shape[-1]))
    return (
        [*found, network_inputs(run, splits["train"])] if "image" in splits["train"][0] else found
    )


def samples(run: Run) -> Gallery:
    """Return generated images, always for the same keys."""
    images = run.sample(MOST_SAMPLES, run.config.seed)
    note = f"Images 0 to {MOST_SAMPLES - 1} of seed {run.config.seed}."
    return Gallery("Samples", note, [Figure(as_rgb(image)) for image in images])


def _image(source: Source, row: int) -> np.ndarray:
    return as_rgb(source[row]["image"])


def drawings(split: str, rows: Mapping[str, np.ndarray], run: Run, source: Source) -> list[Gallery]:
    """Return the first and the worst images of a split, each with ground truth and prediction."""
    drawing = run.presentation
    assert drawing.compare  # checked by the caller
    assert drawing.quality
    legend = drawing.legend(run.facts)
    score, values = drawing.quality(rows)

    def shown(row: int) -> list[Figure]:
        assert drawing.compare
        example = source[row]
        image, answer = as_rgb(example["image"]), run.look(example["image"])
        compared = drawing.compare(answer, example, image, run.facts)
        detail = {"predicted": drawing.phrase(drawing.record(answer, run.facts))}
        about = "" if np.isnan(values[row]) else f"{score} {values[row]:.2f}"
        figures = [Figure(pixels, kind, detail.get(kind, "")) for kind, pixels in compared.items()]
        return [Figure(image, f"image {row}", about), *figures]

    known = np.flatnonzero(~np.isnan(values))
    worst = known[np.argsort(values[known], kind="stable")][:MOST_DRAWN].tolist()
    chosen = {
        f"Worst images: {split}": (worst, f"Those of the lowest {score}."),
        f"Images: {split}": (range(min(MOST_DRAWN, len(source))), "The first ones."),
    }
    return [
        Gallery(title, note, [p for row in of for p in shown(row)], "drawings", legend)
        for title, (of, note) in chosen.items()
    ]


def filters(params: PyTree, channels: int) -> Gallery:
    """Return the kernels of the first convolution, if it has 1 or 3 input channels.

    Each is normalized to its own range, so grey does not mean zero.
    """
    kernels = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), np.asarray(leaf, np.float32))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if np.ndim(leaf) == 4 and np.shape(leaf)[2] == channels in {1, 3}
    ]
    if not kernels:
        return Gallery("First-layer filters", "", (), "filters")
    name, kernel = kernels[0]
    parts = np.moveaxis(kernel, -1, 0)[:MOST_FILTERS]
    low, high = (edge(parts, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    shown = np.rint(255 * (parts - low) / np.maximum(high - low, 1e-12)).astype(np.uint8)
    size = " x ".join(map(str, kernel.shape[:3]))
    note = f"{len(shown)} of {kernel.shape[-1]} filters {size} of {name}, each in its own range."
    return Gallery("First-layer filters", note, [Figure(as_rgb(part)) for part in shown], "filters")


def network_inputs(run: Run, train: Source) -> Gallery:
    """Return the inputs of the network in its first step: augmented and mixed."""
    config = run.config
    batches = TrainBatches(
        train,
        config.batch_size,
        config.seed,
        columns=np.arange(min(MOST_INPUTS, config.batch_size)),
        sampling=config.data.sampling,
        partners=bool(config.mix),
    )
    batch = jax.tree.map(lambda array: array[0], batches(0))
    shown = _as_the_network_sees(run, batch)
    images = shown["image"].reshape(-1, *shown["image"].shape[-3:])  # also those of episodes
    pixels = images * np.asarray(run.std) + np.asarray(run.mean)
    pixels = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    real = np.flatnonzero(batch["mask"])
    title = "Network inputs in the first step"
    steps = (config.augment, config.mix)
    note = " then ".join(filter(None, steps)) or "No augmentation: augment is empty."
    drawing = run.presentation
    if drawing.compare:
        examples = [{name: of[k] for name, of in shown.items()} for k in real[:MOST_DRAWN_INPUTS]]
        drawn = [
            drawing.compare(None, example, as_rgb(image), run.facts)["truth"]
            for example, image in zip(examples, pixels[real], strict=False)
        ]
        return Gallery(title, note, list(map(Figure, drawn)), "drawings", drawing.legend(run.facts))
    words = _mixed_labels(shown, run) if drawing.ranked else [""] * len(pixels)
    return Gallery(title, note, [Figure(as_rgb(pixels[k]), words[k]) for k in real])


def _as_the_network_sees(run: Run, batch: Batch) -> dict[str, np.ndarray]:
    """Return the batch that the loss of the run's task receives, captured by a stub loss."""

    def shown(name: str) -> bool:
        kinds = {PIXELS, *PLACED, BOX_FLAG, BOX_LABEL, LABEL}
        return kind_of(name) in kinds or name == "label_weight"

    def loss(*arguments: Any) -> LossOutput:
        batch = arguments[2]
        return LossOutput(jnp.zeros(()), {}, {n: batch[n] for n in batch if shown(n)})

    def inputs(batch: Batch) -> dict[str, Any]:
        root = jax.random.key(run.config.seed)
        keys = {
            f"{kind}keys": example_keys(root, batch[f"{kind}epoch"], batch[f"{kind}index"])
            for kind in SAMPLES
            if f"{kind}index" in batch
        }
        stages = preprocessing(run.config, run.facts, build_augmentations(run.config.augment))
        task = preprocessed(dataclasses.replace(run.task, loss=loss), stages)
        return task.loss({}, {}, {**batch, **keys}, Context(root, {})).metric_sums

    return jax.tree.map(np.asarray, jax.jit(inputs)(batch))


def _mixed_labels(shown: Mapping[str, np.ndarray], run: Run) -> list[str]:
    names = [run.labels[label] for label in shown["label"]]
    if "label_weight" not in shown:
        return names
    others = (run.labels[label] for label in shown["partner_label"])
    return [
        f"{name} {weight:.0%} + {other} {1 - weight:.0%}"
        for name, other, weight in zip(names, others, shown["label_weight"], strict=True)
    ]
