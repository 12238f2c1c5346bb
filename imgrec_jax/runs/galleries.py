"""The pictures of a run's report: mistakes, what the network saw and learned, what it draws."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imgrec_jax.build.preprocessing import build_augmentation, with_pictures
from imgrec_jax.build.tasks import presentation
from imgrec_jax.core.rng import example_keys
from imgrec_jax.core.task import Batch, LossOutput, PyTree
from imgrec_jax.data.images.bit_depth import as_rgb
from imgrec_jax.data.loading.batches import TrainBatches
from imgrec_jax.data.sources.source import Source, Splits
from imgrec_jax.report.pictures import Gallery, Picture
from imgrec_jax.runs.trained import Run

MOST_MISTAKES, MOST_HITS, MOST_SEEN, MOST_DRAWN, MOST_FILTERS = 18, 12, 16, 3, 64
MOST_SEEN_DRAWN = 6  # of the first step, where boxes or label maps are drawn into them

_BOXES = ("boxes", "box_label", "box_mask", "box_ignore")
_SHOWN = ("image", "label", "partner_label", "label_weight", "label_map", *_BOXES)


def galleries(
    run: Run, splits: Splits, rows: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Gallery]:
    """Return all galleries that a run has pictures for.

    Args:
        run: at the step that `rows` are of.
        splits: its data.
        rows: of the evaluation, by split.
    """
    found: list[Gallery] = []
    for name, of in rows.items():
        if of and len(next(iter(of.values()))) != len(splits[name]):
            continue  # damaged pictures were passed over: rows are not those of the source
        if of.keys() >= {"label", "prediction", "confidence"}:
            found += [mistakes(name, of, splits[name], run.labels)]
            found += [doubtful_hits(name, of, splits[name], run.labels)]
        elif presentation(run.config.task.name).drawing:
            found += drawings(name, of, run, splits[name])
    return [*found, filters(run.params, run.image_shape[-1]), seen(run, splits["train"])]


def mistakes(
    split: str, rows: Mapping[str, np.ndarray], source: Source, labels: Sequence[str]
) -> Gallery:
    """Return the pictures that a classifier was most sure of and wrong about."""
    wrong = np.flatnonzero(rows["label"] != rows["prediction"])
    chosen = wrong[np.argsort(-rows["confidence"][wrong], kind="stable")][:MOST_MISTAKES]
    pictures = [
        _answered(rows, row, source, labels)._replace(detail=f"true: {labels[truth]}")
        for row, truth in zip(chosen.tolist(), rows["label"][chosen].tolist(), strict=True)
    ]
    note = f"{len(pictures)} of {len(wrong):,}. In bold how sure it was, and of what."
    return Gallery(f"Most confident mistakes: {split}", note, pictures)


def doubtful_hits(
    split: str, rows: Mapping[str, np.ndarray], source: Source, labels: Sequence[str]
) -> Gallery:
    """Return the pictures that a classifier was right about and least sure of."""
    right = np.flatnonzero(rows["label"] == rows["prediction"])
    chosen = right[np.argsort(rows["confidence"][right], kind="stable")][:MOST_HITS]
    pictures = [_answered(rows, row, source, labels) for row in chosen.tolist()]
    return Gallery(f"Least certain hits: {split}", "Right, and hardly sure of it.", pictures)


def _answered(
    rows: Mapping[str, np.ndarray], row: int, source: Source, labels: Sequence[str]
) -> Picture:
    """Return a picture with what the classifier said of it, and how sure it was."""
    said = labels[int(rows["prediction"][row])]
    return Picture(as_rgb(source[row]["image"]), f"{rows['confidence'][row]:.1%} {said}")


def drawings(split: str, rows: Mapping[str, np.ndarray], run: Run, source: Source) -> list[Gallery]:
    """Return the first pictures of a split and the worst, each beside its truth and the answer."""
    drawing = presentation(run.config.task.name).drawing
    assert drawing is not None  # the caller has looked
    legend = drawing.legend(run.labels)
    score, values = drawing.quality(rows)

    def shown(row: int) -> list[Picture]:
        example = source[row]
        picture, answer = as_rgb(example["image"]), run.look(example["image"])
        compared = drawing.compare(answer, example, picture, run.labels)
        detail = {"predicted": drawing.phrase(drawing.record(answer, run.labels))}
        about = "" if np.isnan(values[row]) else f"{score} {values[row]:.2f}"
        pictures = [
            Picture(pixels, kind, detail.get(kind, "")) for kind, pixels in compared.items()
        ]
        return [Picture(picture, f"picture {row}", about), *pictures]

    known = np.flatnonzero(~np.isnan(values))
    worst = known[np.argsort(values[known], kind="stable")][:MOST_DRAWN].tolist()
    chosen = {
        f"Worst pictures: {split}": (worst, f"Those of the lowest {score}."),
        f"Pictures: {split}": (range(min(MOST_DRAWN, len(source))), "The first ones."),
    }
    return [
        Gallery(title, note, [p for row in of for p in shown(row)], "drawings", legend)
        for title, (of, note) in chosen.items()
    ]


def filters(params: PyTree, channels: int) -> Gallery:
    """Return the kernels of the first convolution, where it works on 1 or 3 channels.

    Each is stretched to its own range: grey is not zero.
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
    return Gallery(
        "First-layer filters", note, [Picture(as_rgb(part)) for part in shown], "filters"
    )


def seen(run: Run, train: Source) -> Gallery:
    """Return pictures as the network saw them in its first step: augmented, and mixed."""
    config = run.config
    batches = TrainBatches(
        train,
        config.batch_size,
        config.seed,
        columns=np.arange(min(MOST_SEEN, config.batch_size)),
        sampling=config.data.sampling,
        partners=bool(config.mixing),
    )
    batch = jax.tree.map(lambda array: array[0], batches(0))
    shown = _as_the_network_sees(run, batch)
    pixels = shown["image"] * np.asarray(run.std) + np.asarray(run.mean)
    pixels = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    real = np.flatnonzero(batch["mask"])
    title = "What the network saw in its first step"
    steps = (config.augment, config.mixing)
    note = " then ".join(filter(None, steps)) or "Nothing is changed: augment is empty."
    if drawing := presentation(config.task.name).drawing:
        examples = [{name: of[k] for name, of in shown.items()} for k in real[:MOST_SEEN_DRAWN]]
        drawn = [
            drawing.compare(None, example, as_rgb(image), run.labels)["truth"]
            for example, image in zip(examples, pixels[real], strict=False)
        ]
        return Gallery(
            title, note, list(map(Picture, drawn)), "drawings", drawing.legend(run.labels)
        )
    words = _mixed_labels(shown, run) if config.task.name == "classify" else [""] * len(pixels)
    return Gallery(title, note, [Picture(as_rgb(pixels[k]), words[k]) for k in real])


def _as_the_network_sees(run: Run, batch: Batch) -> dict[str, np.ndarray]:
    """Return what the loss of the run's task gets to see of a batch, through a loss that tells."""

    def told(*arguments: Any) -> LossOutput:
        batch = arguments[2]
        return LossOutput(
            jnp.zeros(()), {}, {name: batch[name] for name in _SHOWN if name in batch}
        )

    def see(batch: Batch) -> dict[str, Any]:
        root = jax.random.key(run.config.seed)
        keys = {
            f"{kind}keys": example_keys(root, batch[f"{kind}epoch"], batch[f"{kind}index"])
            for kind in ("", "partner_")
            if f"{kind}index" in batch
        }
        about = {"mean": run.mean, "std": run.std}
        augment = build_augmentation(run.config.augment)
        task = with_pictures(dataclasses.replace(run.task, loss=told), run.config, about, augment)
        return task.loss({}, {}, {**batch, **keys}, root, {}).metric_sums

    return jax.tree.map(np.asarray, jax.jit(see)(batch))


def _mixed_labels(shown: Mapping[str, np.ndarray], run: Run) -> list[str]:
    names = [run.labels[label] for label in shown["label"]]
    if "label_weight" not in shown:
        return names
    others = (run.labels[label] for label in shown["partner_label"])
    return [
        f"{name} {weight:.0%} + {other} {1 - weight:.0%}"
        for name, other, weight in zip(names, others, shown["label_weight"], strict=True)
    ]
