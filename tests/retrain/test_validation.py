"""Metrics against hand-made counts."""

import numpy as np
import pytest

from tasks.retrain.validation import validate

# Two classes right and wrong, and a third that neither occurs nor is predicted.
TRUTH = np.array([0, 0, 0, 1, 1], np.int32)
LOGITS = np.array([[2, 0, -9], [1, 0, -9], [0, 1, -9], [0, 3, -9], [1, 0, -9]], np.float32)


def test_figures() -> None:
    metrics = validate(LOGITS, TRUTH)
    assert metrics.accuracy == pytest.approx(3 / 5)
    # Of class 0, two of three are found and two of three predictions are right; of class 1, one of two, and one of two.
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert metrics.weighted_f1 == pytest.approx((3 * 2 / 3 + 2 * 1 / 2) / 5)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert metrics.loss == pytest.approx(-np.log(shares[np.arange(5), TRUTH]).mean(), rel=1e-6)


def test_a_certain_mistake_has_a_large_but_finite_loss() -> None:
    assert validate(np.array([[500, -500]], np.float32), np.array([1], np.int32)).loss == pytest.approx(1000)


def test_a_row_that_is_not_a_number_makes_a_loss_that_is_none() -> None:
    logits = np.array([[1, 0], [np.nan, 0]], np.float32)
    assert np.isnan(validate(logits, np.array([0, 1], np.int32)).loss)


# Of class 0, one of two is found, and the one prediction is right; of class 1, both, and one prediction is wrong; class
# 2 neither occurs nor is predicted. All rows but the first are right as a whole.
SEVERAL = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]], np.float32)
SCORES = np.array([[-1, 2, -9], [0, 3, -9], [-2, -1, -9], [-3, 1, -8]], np.float32)


def test_figures_where_a_row_may_have_several_classes() -> None:
    metrics = validate(SCORES, SEVERAL)
    assert metrics.accuracy == pytest.approx(3 / 4)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert metrics.weighted_f1 == pytest.approx((2 * 2 / 3 + 2 * 4 / 5) / 4)
    shares = 1 / (1 + np.exp(-SCORES.astype(np.float64)))
    expected = -(SEVERAL * np.log(shares) + (1 - SEVERAL) * np.log(1 - shares)).mean()
    assert metrics.loss == pytest.approx(expected, rel=1e-6)
    certain = np.array([[500, -500]], np.float32)
    assert validate(certain, np.array([[0, 0]], np.float32)).loss == pytest.approx(250)
    assert np.isnan(validate(np.array([[1, np.nan]], np.float32), np.array([[1, 0]], np.float32)).loss)
