"""Classifiers on features, against scikit-learn and against fitting anew."""

import math

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from imgrec_jax.analysis.few_shot import Episodes, episode_accuracies, mean_with_interval
from imgrec_jax.analysis.linear_probe import PENALTIES, fit_linear_probe
from imgrec_jax.analysis.neighbours import neighbour_votes
from imgrec_jax.core.errors import UsageError


def clouds(n, d, classes=3, noise=1.0, seed=0):
    """Return features around a centre for each class, far from 0, and their labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = generator.normal(size=(classes, d))
    features = 5 + centres[labels] + noise * generator.normal(size=(n, d))
    return features.astype(np.float32), labels


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30)])
def test_ridge_is_scikit_learns_with_the_penalty_that_predicts_best(n, d):
    """The choice is made here by fitting n times without one example, there by the formula."""
    features, labels = clouds(n, d)
    found = fit_linear_probe(features, labels, 3)
    exact = features.astype(np.float64)
    squares = np.linalg.svd(exact - exact.mean(0), compute_uv=False) ** 2
    targets = np.eye(3)[labels]

    def left_out(penalty):
        errors = []
        for i in range(n):
            rest = np.arange(n) != i
            ridge = Ridge(alpha=penalty * squares.mean()).fit(exact[rest], targets[rest])
            errors.append(np.square(ridge.predict(exact[i : i + 1]) - targets[i]).sum())
        return sum(errors)

    assert found.penalty == min(PENALTIES, key=left_out)
    assert PENALTIES[0] < found.penalty < PENALTIES[-1]
    ridge = Ridge(alpha=found.penalty * squares.mean()).fit(exact, targets)
    np.testing.assert_allclose(found.weights, ridge.coef_.T, atol=1e-9)
    queries, _ = clouds(9, d, seed=1)
    np.testing.assert_allclose(found.scores(queries), ridge.predict(queries), atol=1e-7)


def test_features_that_tell_nothing_give_the_shares_of_the_classes():
    found = fit_linear_probe(np.ones((4, 2)), np.array([0, 0, 0, 1]), 3)
    np.testing.assert_allclose(found.scores(np.ones((1, 2))), [[0.75, 0.25, 0.0]])


def test_votes_of_two_neighbours_by_hand():
    known = np.array([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    votes = neighbour_votes(
        known, np.array([0, 1, 1, 2]), 4, np.array([[5.0, 0.0]]), neighbours=2, temperature=0.5
    )
    np.testing.assert_allclose(votes, [[1.0, np.exp((np.sqrt(0.5) - 1) / 0.5), 0.0, 0.0]])


def test_the_nearest_are_scikit_learns():
    features, labels = clouds(60, 5)
    queries, _ = clouds(2100, 5, seed=1)  # more than one block
    theirs = KNeighborsClassifier(1, metric="cosine").fit(features, labels).predict(queries)
    found = neighbour_votes(features, labels, 3, queries, neighbours=1)
    assert (found.argmax(1) == theirs).all()
    assert neighbour_votes(features, labels, 3, queries[:1], neighbours=99).sum() > 1


def test_one_episode_by_hand():
    """Two classes on two rays: of the second, one example of four lies on the wrong one."""
    features = np.array([[1, 0], [3, 0], [2, 0], [9, 0], [0, 1], [0, 2], [0, 4], [7, 0]])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = episode_accuracies(features, labels, Episodes(2, shots=1, queries=3, episodes=400))
    # The wrong one is drawn as the known one in a quarter of the episodes: all means are alike
    # then, and ties go to the class drawn first. Else it is the one query of six that is wrong.
    assert set(np.round(found, 6)) == {0.5, round(5 / 6, 6)}
    assert abs((found == 0.5).mean() - 0.25) < 0.07


def test_episodes_follow_the_seed_and_more_shots_help():
    features, labels = clouds(400, 8, classes=10, noise=2.0)
    one, again, other, five = (
        episode_accuracies(features, labels, Episodes(5, shots, 15, 200), seed)
        for shots, seed in ((1, 0), (1, 0), (1, 1), (5, 0))
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert 0.25 < one.mean() < five.mean() - 0.05 < 0.95


def test_too_few_classes_with_enough_examples():
    features, labels = clouds(60, 2, classes=6)
    labels = np.where(labels == 5, 4, labels)
    with pytest.raises(UsageError, match=r"with 16 examples for 5-way 1-shot episodes, got 1; try"):
        episode_accuracies(features, labels, Episodes())


def test_the_interval_of_a_mean():
    mean, half = mean_with_interval(np.array([0.2, 0.4, 0.6, 0.8]))
    assert mean == pytest.approx(0.5)
    assert half == pytest.approx(3.182446 * 0.2581989 / 2)  # Student's, three degrees of freedom
    many = np.tile([0.4, 0.6], 500)
    assert mean_with_interval(many)[1] == pytest.approx(1.96 * many.std() / 1000**0.5, rel=2e-3)
    assert math.isnan(mean_with_interval(many[:2])[1])
