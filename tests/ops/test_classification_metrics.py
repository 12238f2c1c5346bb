import math

import numpy as np
import pytest
from sklearn import metrics

from imgrec_jax.ops import classification_metrics

# Four classes: the third is predicted once and never occurs, the fourth does neither.
LABELS = np.asarray([0, 0, 0, 0, 1, 1])
PREDICTIONS = np.asarray([0, 0, 1, 1, 1, 2])


def test_scores_by_hand():
    confusion = classification_metrics.confusion_matrix(LABELS, PREDICTIONS, 4)
    assert confusion.tolist() == [[2, 2, 0, 0], [0, 1, 1, 0], [0] * 4, [0] * 4]
    found = classification_metrics.class_scores(confusion)
    nan = np.nan
    assert found.n.tolist() == [4, 2, 0, 0]
    np.testing.assert_allclose(found.precision, [1, 1 / 3, 0, nan])
    np.testing.assert_allclose(found.recall, [0.5, 0.5, nan, nan])
    np.testing.assert_allclose(found.f1, [2 / 3, 0.4, 0, nan])
    assert classification_metrics.balanced_accuracy(found) == 0.5
    assert classification_metrics.macro_f1(found) == pytest.approx(16 / 45)  # (2/3 + 2/5 + 0) / 3


def test_scores_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 500)
    predictions = np.where(generator.random(500) < 0.6, labels, generator.integers(0, 7, 500))
    confusion = classification_metrics.confusion_matrix(labels, predictions, 7)
    np.testing.assert_array_equal(confusion, metrics.confusion_matrix(labels, predictions))
    found = classification_metrics.class_scores(confusion)
    expected = metrics.precision_recall_fscore_support(labels, predictions)
    for ours, theirs in zip((found.precision, found.recall, found.f1), expected, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    balanced = metrics.balanced_accuracy_score(labels, predictions)
    assert classification_metrics.balanced_accuracy(found) == pytest.approx(balanced, rel=1e-12)
    macro = metrics.f1_score(labels, predictions, average="macro")
    assert classification_metrics.macro_f1(found) == pytest.approx(macro, rel=1e-12)


def test_calibration_error_by_hand():
    """Bins of 1/15: 0.95 lies in (14/15, 1], 0.55 in (8/15, 9/15]."""
    confidence = np.asarray([0.95, 0.95, 0.95, 0.55])
    correct = np.asarray([True, False, True, True])
    # 3/4 |2/3 - 0.95| + 1/4 |1 - 0.55|
    assert classification_metrics.calibration_error(confidence, correct) == pytest.approx(
        0.2125 + 0.1125
    )


def test_bins_are_closed_above():
    confidence, correct = np.asarray([0.5, 0.6]), np.asarray([False, True])
    assert classification_metrics.calibration_error(confidence, correct, bins=2) == pytest.approx(
        0.45
    )
    assert classification_metrics.calibration_error(confidence, correct, bins=1) == pytest.approx(
        0.05
    )
    surest = np.asarray([1.0], np.float32)
    assert classification_metrics.calibration_error(surest, np.asarray([True])) == 0.0


def test_the_interval_of_a_proportion_as_published():
    low, high = classification_metrics.proportion_interval(900, 1000)
    # 1.96 sqrt(0.9 * 0.1 / 1000) = 0.0186
    assert low == pytest.approx(0.9 - 0.0186, abs=2e-3)
    assert high == pytest.approx(0.9 + 0.0186, abs=2e-3)
    # Closed forms: 1 - 0.025^(1/n) at 0 hits, 0.025^(1/n) at n.
    assert classification_metrics.proportion_interval(0, 10) == (0.0, pytest.approx(0.3084971))
    assert classification_metrics.proportion_interval(10, 10) == (pytest.approx(0.6915029), 1.0)
    assert classification_metrics.proportion_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 5, 30, 200])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.97, 0.99, 0.999, 0.01])
def test_the_interval_of_a_proportion_holds_it_in_95_of_100_test_sets(n, p):
    """The sum over all outcomes, without sampling; the bootstrap holds 0.97 in 59 % at n = 30."""
    intervals = [classification_metrics.proportion_interval(hits, n) for hits in range(n + 1)]
    chance = [math.comb(n, hits) * p**hits * (1 - p) ** (n - hits) for hits in range(n + 1)]
    covered = sum(
        part for part, (low, high) in zip(chance, intervals, strict=True) if low <= p <= high
    )
    assert covered >= 0.95


def test_the_percentile_interval_of_a_mean_is_as_wide_as_theory_says():
    """Not for proportions near 0 or 1: there `proportion_interval` is right."""
    drawn = classification_metrics.bootstrap_counts(1000, resamples=2000)
    values = np.random.default_rng(0).normal(5.0, 2.0, 1000)
    low, high = classification_metrics.percentile_interval(drawn @ values / 1000)
    reach = 1.96 * values.std() / math.sqrt(1000)
    assert low == pytest.approx(values.mean() - reach, abs=0.02)
    assert high == pytest.approx(values.mean() + reach, abs=0.02)
    assert (drawn == classification_metrics.bootstrap_counts(1000, resamples=2000)).all()


def test_scores_of_nan_are_wrong():
    scores = np.array([[np.nan, 0.0], [0.0, np.nan], [0.0, 1.0], [1.0, 0.0]])
    assert classification_metrics.accuracy(scores, np.array([0, 0, 1, 1])) == 0.25
