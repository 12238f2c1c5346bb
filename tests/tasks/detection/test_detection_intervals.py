"""AP on resampled images, beside COCO's evaluator on the same images written out."""

import numpy as np
import pytest

from imgrec_jax.ops.classification_metrics import bootstrap_counts
from imgrec_jax.tasks.detection.intervals import weighted_ap
from imgrec_jax.tasks.detection.metrics import coco_evaluation, compute_metrics, report

pytest.importorskip("pycocotools", reason="COCO's evaluator is not installed: pip install it")


def scattered(n, seed):
    """Return rows of images with up to three true boxes, found more or less, of three labels."""
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 60, (n, 4, 2))
    true = np.concatenate([corners, corners + generator.uniform(10, 40, (n, 4, 2))], -1)
    labels = generator.integers(0, 3, (n, 4))
    mask = generator.random((n, 4)) < 0.6
    scores = generator.permutation(np.linspace(0.1, 0.9, n * 4)).reshape(n, 4)  # no two are equal
    predicted = generator.random((n, 4)) < 0.7
    wrong = np.where(generator.random((n, 4)) < 0.2, (labels + 1) % 3, labels)
    return {
        "boxes": (true + generator.normal(0, 3, true.shape)).astype(np.float32),
        "scores": (scores * predicted).astype(np.float32),
        "labels": wrong,
        "true_boxes": true.astype(np.float32),
        "true_labels": labels,
        "true_mask": mask,
        "true_ignore": mask & (generator.random((n, 4)) < 0.1),
        "matched": np.zeros((n, 4), bool),
        "set_aside": np.zeros((n, 4), bool),
    }


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_images_written_out_as_often(seed):
    """Of a few images, so that labels go missing in some resamples."""
    rows = scattered(6, seed)
    drawn = np.concatenate([np.ones((1, 6), int), bootstrap_counts(6, resamples=12, seed=seed)])
    found = weighted_ap(coco_evaluation(rows), drawn)
    assert found.shape == (13, 10)
    for counts, ap in zip(drawn, found, strict=True):
        again = {name: value.repeat(counts, axis=0) for name, value in rows.items()}
        scores = compute_metrics({}, again)
        assert scores["ap"] == pytest.approx(ap.mean(), abs=1e-9)
        assert scores["ap50"] == pytest.approx(ap[0], abs=1e-9)
    assert found[0, 0] > found[0, 4] > 0


def test_the_report_has_intervals_around_its_scores():
    rows = scattered(40, 0)
    intervals = report(rows, ("a", "b", "c"))["intervals"]
    scores = compute_metrics({}, rows)
    for name in ("ap", "ap50"):
        low, high = intervals[name]
        assert low < scores[name] < high
        assert 0.05 < high - low < 0.3
    nothing = {**rows, "true_mask": np.zeros((40, 4), bool)}
    assert report(nothing, ("a", "b", "c"))["intervals"] == {}
