"""Scores of detection by hand, and our matching beside COCO's evaluator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imgrec_jax.tasks.detection.metrics import compute_metrics, lines, report
from imgrec_jax.tasks.detection.task import rows as rows_of
from imgrec_jax.tasks.detection.voc_precision import average_precision
from imgrec_jax.tasks.loss_terms import Term

pytest.importorskip("pycocotools", reason="COCO's evaluator is not installed: pip install it")


def rows(found, truth, places=6, **fields):
    """Return the rows of images given as lists of (box, score, label) and (box, label, crowd).

    `fields` are further ones of the batch; images are 100x100 as the network sees them.
    """
    n = len(found)
    outputs = {
        "boxes": np.zeros((n, places, 4), np.float32),
        "scores": np.zeros((n, places), np.float32),
        "labels": np.zeros((n, places), np.int32),
    }
    batch = {
        "boxes": np.zeros((n, places, 4), np.float32),
        "box_label": np.zeros((n, places), np.int32),
        "box_mask": np.zeros((n, places), bool),
        "box_ignore": np.zeros((n, places), bool),
        "image": np.zeros((n, 100, 100, 1), np.float32),
        **fields,
    }
    for row, (seen, true) in enumerate(zip(found, truth, strict=True)):
        for k, (box, score, label) in enumerate(sorted(seen, key=lambda s: -s[1])):
            outputs["boxes"][row, k], outputs["scores"][row, k] = box, score
            outputs["labels"][row, k] = label
        for k, (box, label, crowd) in enumerate(true):
            batch["boxes"][row, k], batch["box_label"][row, k] = box, label
            batch["box_mask"][row, k], batch["box_ignore"][row, k] = True, crowd
    outputs, batch = (jax.tree.map(jnp.asarray, tree) for tree in (outputs, batch))
    return jax.tree.map(np.asarray, rows_of(outputs, batch))


A, B = (0, 0, 40, 40), (50, 0, 90, 40)
SUMS = {"examples": 2, "true_boxes": 2}


def test_all_found_is_one():
    scores = compute_metrics(SUMS, rows([[(A, 0.9, 0)], [(B, 0.8, 1)]], [[(A, 0, 0)], [(B, 1, 0)]]))
    ones = {"ap": 1, "ap50": 1, "ap75": 1, "voc_ap50": 1, "ap_medium": 1}
    assert scores == pytest.approx(ones)


@pytest.mark.parametrize("truth", [[[(A, 0, 0)], []], [[], []]])
def test_nothing_found_is_zero_and_not_unknown(truth):
    scores = compute_metrics(SUMS, rows([[], []], truth))
    assert (scores["ap"], scores["ap50"], scores["ap75"], scores["voc_ap50"]) == (0, 0, 0, 0)


def test_each_label_has_scores_of_its_own_beside_those_of_sizes():
    """A label may be called as a size is; one without a true box has no score."""
    found, truth = [[(A, 0.9, 0)]], [[(A, 0, 0), (B, 1, 0), (B, 2, 1)]]
    scores = compute_metrics(SUMS, rows(found, truth), ("medium", "b", "c", "d"))
    assert scores["ap_medium"] == pytest.approx(0.5)
    by_label = {name: value for name, value in scores.items() if "_of_" in name}
    assert by_label == pytest.approx(
        {"ap_of_medium": 1, "ap50_of_medium": 1, "ap_of_b": 0, "ap50_of_b": 0}
    )


def test_half_found_by_hand():
    """Right, wrong, and one of two boxes never found: precision 1 up to recall 1/2.

    COCO reads it at 101 recalls, of which 0 to 0.5 are 51.
    """
    found = [[(A, 0.9, 0), ((60, 60, 80, 80), 0.8, 0)], []]
    scores = compute_metrics(SUMS, rows(found, [[(A, 0, 0)], [(B, 0, 0)]]))
    assert scores["ap50"] == pytest.approx(51 / 101)
    assert scores["voc_ap50"] == pytest.approx(0.5)


def test_overlaps_count_where_they_suffice():
    """An overlap of 0.8 is right at 0.5 to 0.8 and wrong at 0.85 to 0.95: seven of ten."""
    found = [[((0, 0, 40, 32), 0.9, 0)]]
    scores = compute_metrics(SUMS, rows(found, [[(A, 0, 0)]]))
    assert scores["ap75"] == pytest.approx(1)
    assert scores["ap"] == pytest.approx(0.7)


def test_what_falls_on_a_crowd_is_neither_right_nor_wrong():
    """VOC's rule knows no crowds: there, only what overlaps by half is set aside."""
    crowd = ((100, 100, 200, 200), 0, 1)
    found = [[((110, 110, 120, 120), 0.95, 0), ((130, 130, 140, 140), 0.9, 0), (A, 0.5, 0)]]
    scores = compute_metrics(SUMS, rows(found, [[(A, 0, 0), crowd]]))
    assert scores["ap"] == pytest.approx(1)
    assert scores["voc_ap50"] == pytest.approx(1 / 3)


def test_average_precision_by_hand():
    """Right, wrong, right of 4: 1/4 · 1 + 1/4 · 2/3."""
    assert average_precision(np.array([True, False, True]), 4) == pytest.approx(0.25 + 1 / 6)
    assert average_precision(np.zeros(0, bool), 3) == 0


def coco_ap50(scored, labels):
    """Return COCO's AP50 from our own matching: precision at 101 recalls, the mean over labels."""
    values = []
    true = scored["true_mask"] & ~scored["true_ignore"]
    for label in labels:
        chosen = (scored["scores"] > 0) & (scored["labels"] == label) & ~scored["set_aside"]
        order = np.argsort(-scored["scores"][chosen], kind="mergesort")
        hits = np.cumsum(scored["matched"][chosen][order])
        count = (true & (scored["true_labels"] == label)).sum()
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        places = np.searchsorted(hits / count, np.linspace(0, 1, 101), side="left")
        padded = np.append(precision, 0.0)
        values.append(padded[np.minimum(places, len(precision))].mean())
    return np.mean(values)


@pytest.mark.parametrize("seed", range(4))
def test_our_matching_gives_cocos_ap50(seed):
    """Jittered copies of random boxes, crowds among them."""
    generator = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(25):
        corner = generator.uniform(0, 60, (5, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(10, 50, (5, 2))], axis=1)
        labels, crowds = generator.integers(0, 3, 5), generator.random(5) < 0.2
        truth.append(list(zip(boxes, labels, crowds, strict=True)))
        jittered = boxes + generator.normal(0, 4, boxes.shape)
        jittered[:, 2:] = np.maximum(jittered[:, 2:], jittered[:, :2] + 1)  # none inside out
        seen = generator.integers(0, 5, 6)
        scores = generator.uniform(0.1, 1, 6)
        found.append([(jittered[k], s, labels[k]) for k, s in zip(seen, scores, strict=True)])
    scored = rows(found, truth)
    expected = compute_metrics(SUMS, scored)["ap50"]
    assert 0.05 < expected < 0.95
    assert coco_ap50(scored, range(3)) == pytest.approx(expected, abs=1e-6)


def test_the_report_tells_each_label():
    scored = rows([[(A, 0.9, 0), (B, 0.8, 2)]], [[(A, 0, 0), (B, 1, 0), (B, 2, 1)]])
    reported = report(scored, ("a", "b", "c"))
    assert list(reported["classes"]) == ["a", "b"]
    assert reported["classes"]["a"] == pytest.approx({"ap": 1, "ap50": 1, "boxes": 1})
    assert reported["classes"]["b"] == {"ap": 0, "ap50": 0, "boxes": 1}
    shown = "\n".join(lines({"ap": 0.5, "ap_of_a": 1.0}, reported, 100))
    assert "AP50 1.0000  (1 boxes)" in shown
    assert "ap_of" not in shown


def test_the_losses_of_training_are_weighted_means_over_what_they_count():
    terms = (Term("focal_loss", "positives"), Term("box_loss", "positives", 2.0))
    sums = {"focal_loss": 6.0, "box_loss": 3.0, "positives": 2}
    reported = compute_metrics(sums, {}, terms=terms)
    assert reported == {"loss": 6.0, "focal_loss": 3.0, "box_loss": 3.0}
    assert compute_metrics({**sums, "positives": 0}, {}, terms=terms)["focal_loss"] == 6.0


def test_sizes_are_those_of_the_stored_image():
    """20x20 of an image of 800x400 that is shrunk to 100x100 are 160x80 pixels: large."""
    box = (0, 0, 20, 20)
    sizes = np.array([[800, 400]])
    fields = {"image_size": sizes, "box_area": np.full((1, 6), 160.0 * 80, np.float32)}
    scored = rows([[(box, 0.9, 0)]], [[(box, 0, 0)]], **fields)
    assert scored["pixel_area"].tolist() == [32]
    scores = compute_metrics(SUMS, scored)
    assert scores["ap_large"] == pytest.approx(1)
    assert not {"ap_small", "ap_medium"} & scores.keys()
    without = compute_metrics(SUMS, rows([[(box, 0.9, 0)]], [[(box, 0, 0)]], image_size=sizes))
    assert without["ap_large"] == pytest.approx(1)


def test_the_size_of_a_true_box_is_its_annotated_area():
    """The outline in a box of 120x120 covers 30x30 pixels: it is small, as in COCO."""
    box, small = (0, 0, 100, 100), np.full((1, 6), 900.0, np.float32)
    fields = {"image_size": np.array([[120, 120]]), "box_area": small}
    far = ((0, 0, 10, 10), 0.95, 0)  # 144 pixels: a wrong prediction that counts among the small
    scores = compute_metrics(SUMS, rows([[(box, 0.9, 0), far]], [[(box, 0, 0)]], **fields))
    assert scores["ap_small"] == pytest.approx(0.5)
    assert not {"ap_medium", "ap_large"} & scores.keys()
