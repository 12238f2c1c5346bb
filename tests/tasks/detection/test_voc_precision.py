"""VOC's AP beside a plain transcription of the development kit's rule."""

import numpy as np
import pytest

from imgrec_jax.tasks.detection.voc_precision import voc_ap50


def rows(found, truth):
    """Return rows from lists of (box, score, label) and of (box, label, difficult), by image."""
    n, places = len(found), 1 + max(map(len, [*found, *truth]))
    scored = {
        "boxes": np.zeros((n, places, 4), np.float32),
        "scores": np.zeros((n, places), np.float32),
        "labels": np.zeros((n, places), np.int32),
        "true_boxes": np.zeros((n, places, 4), np.float32),
        "true_labels": np.zeros((n, places), np.int32),
        "true_mask": np.zeros((n, places), bool),
        "true_ignore": np.zeros((n, places), bool),
    }
    names = (("boxes", "scores", "labels"), ("true_boxes", "true_labels", "true_ignore"))
    for image in range(n):
        for kind, things in zip(names, (found[image], truth[image]), strict=True):
            for place, thing in enumerate(things):
                for name, value in zip(kind, thing, strict=True):
                    scored[name][image, place] = value
        scored["true_mask"][image, : len(truth[image])] = True
    return scored


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return width * height / (areas - width * height)


def devkit(found, truth, label):
    """VOCevaldet.m, line by line: all detections of a label from the surest on."""
    detections = [
        (score, image, box)
        for image, those in enumerate(found)
        for box, score, number in those
        if number == label
    ]
    detections.sort(key=lambda d: -d[0])
    taken = set()
    tp, fp = [], []
    for _, image, box in detections:
        most, best = -np.inf, None
        for j, (true, number, _) in enumerate(truth[image]):
            if number == label and overlap(box, true) > most:
                most, best = overlap(box, true), j
        right = wrong = 0
        if most >= 0.5:
            if not truth[image][best][2]:
                if (image, best) not in taken:
                    right = 1
                    taken.add((image, best))
                else:
                    wrong = 1
        else:
            wrong = 1
        tp.append(right)
        fp.append(wrong)
    positives = sum(k == label and not hard for those in truth for _, k, hard in those)
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall = np.concatenate([[0], tp / positives, [1]])
    precision = np.concatenate([[0], tp / np.maximum(tp + fp, 1), [0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return ((recall[steps] - recall[steps - 1]) * precision[steps]).sum()


A, NEAR_A, B = (0, 0, 40, 40), (4, 0, 44, 40), (50, 0, 90, 40)
CONSTRUCTED = {
    # COCO's rule gives the second detection the other box, of which it covers less.
    "two on one box": ([[(A, 0.9, 0), (A, 0.8, 0)]], [[(A, 0, 0), (NEAR_A, 0, 0)]], 0.5),
    "a repeated detection": ([[(A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0)]], [[(A, 0, 0), (B, 0, 0)]],
                             0.5 + 0.5 * 2 / 3),
    "difficult by most overlap": ([[(A, 0.9, 0)]], [[(A, 0, 1), (NEAR_A, 0, 0)]], 0.0),
    "difficult by overlap alone": ([[((0, 0, 10, 10), 0.9, 0), (B, 0.8, 0)]],
                                   [[(A, 0, 1), (B, 0, 0)]], 0.5),
    "exactly half": ([[((0, 0, 40, 20), 0.9, 0)]], [[(A, 0, 0)]], 1.0),
    "order of rows": ([[(B, 0.2, 0), (A, 0.9, 0)]], [[(A, 0, 0)]], 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRUCTED)
def test_constructed_boxes(name):
    found, truth, expected = CONSTRUCTED[name]
    assert voc_ap50(rows(found, truth)) == pytest.approx(expected)
    assert devkit(found, truth, 0) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_random_boxes(seed):
    """Crowded images: jittered copies of true boxes, some of them difficult."""
    generator = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(15):
        corner = generator.integers(0, 30, (6, 2))
        boxes = np.concatenate([corner, corner + generator.integers(10, 40, (6, 2))], axis=1)
        labels = generator.integers(0, 2, 6)
        truth.append(list(zip(boxes.tolist(), labels, generator.random(6) < 0.3, strict=True)))
        seen = generator.integers(0, 6, 9)
        jittered = boxes[seen] + generator.integers(-4, 5, (9, 4))
        scores = generator.permutation(9) / 10 + 0.05 + generator.random() / 100
        found.append(list(zip(jittered.tolist(), scores, labels[seen], strict=True)))
    expected = np.mean([devkit(found, truth, label) for label in (0, 1)])
    assert 0.05 < expected < 0.95
    assert voc_ap50(rows(found, truth)) == pytest.approx(expected, abs=1e-12)
