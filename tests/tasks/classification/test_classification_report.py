import json

import numpy as np
import pytest

from imgrec_jax.core.text_table import display_width
from imgrec_jax.tasks.classification.report import lines, report


def rows(classes, n=300, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    wrong = generator.random(n) < 0.3
    predictions = np.where(wrong, generator.integers(0, classes, n), labels)
    return {"label": labels, "prediction": predictions, "confidence": generator.random(n)}


def test_a_report_by_hand():
    found = report(
        {
            "label": np.asarray([0, 0, 0, 1]),
            "prediction": np.asarray([0, 0, 1, 1]),
            "confidence": np.asarray([1.0, 1.0, 0.5, 0.5]),
        },
        ("cat", "dog", "owl"),
    )
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["n"], found["correct"], found["accuracy"]) == (4, 3, 0.75)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["calibration_error"] == 0.0  # the two at 0.5: one right, one wrong
    assert found["confusion"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    owl = {"name": "owl", "n": 0, "precision": None, "recall": None, "f1": None}
    assert found["classes"][2] == owl
    dog = found["classes"][1]
    assert (dog["n"], dog["precision"], dog["recall"]) == (1, 0.5, 1.0)
    text = "\n".join(lines({"loss": 0.5, "accuracy": 0.75}, found))
    assert "accuracy           0.7500  3 of 4" in text
    assert "loss               0.5000" in text
    assert text.count("0.7500") == 1
    assert "owl    0          -       -       -" in text
    assert "cat    2    1    ." in text


NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.mark.parametrize(
    ("labels", "shows"),
    [
        (NAMES, "automob"),
        ([f"a class with quite a long name, number {k}" for k in range(5)], "a class with quite"),
        (["猫" * 30, "狗", "鸟"], "猫"),
        ([f"n{k:08}" for k in range(200)], "worst 10 of 200 classes"),
        ([f"n{k:08}" for k in range(20)], "most frequent confusions"),
        (["a", "b"], "prediction in columns"),
    ],
)
def test_the_text_fits_a_terminal(labels, shows):
    text = lines({}, report(rows(len(labels)), labels), 100)
    assert max(map(display_width, text)) <= 100
    assert any(shows in line for line in text)
    assert len(text) < 50


def test_a_perfect_classifier_has_no_confusions_to_tell():
    perfect = {**rows(30), "label": np.arange(30), "prediction": np.arange(30)}
    perfect["confidence"] = np.full(30, 0.9)
    text = lines({}, report(perfect, [str(k) for k in range(30)]))
    assert "accuracy           1.0000" in text[0]
    assert not any("confusions" in line for line in text)
