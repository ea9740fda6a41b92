"""Metrics against hand-made counts."""

import numpy as np
import pytest

from tasks.retrain.evaluate import evaluate, probabilities

# Two classes right and wrong, and a third that neither occurs nor is predicted.
TRUTH = np.array([0, 0, 0, 1, 1], np.int32)
LOGITS = np.array([[2, 0, -9], [1, 0, -9], [0, 1, -9], [0, 3, -9], [1, 0, -9]], np.float32)


def test_figures() -> None:
    evaluation = evaluate(LOGITS, TRUTH, ["a", "b", "c"])
    assert evaluation.confusion_matrix == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert evaluation.metrics.rows == 5
    assert evaluation.metrics.accuracy == pytest.approx(3 / 5)
    assert evaluation.per_class["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert evaluation.per_class["b"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2})
    assert evaluation.per_class["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert evaluation.metrics.macro_f1 == pytest.approx((2 / 3 + 1 / 2) / 3)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    assert evaluation.metrics.loss == pytest.approx(-np.log(shares[np.arange(5), TRUTH]).mean(), rel=1e-6)
    np.testing.assert_allclose(probabilities(LOGITS), shares, rtol=1e-5)


def test_a_certain_mistake_has_a_large_but_finite_loss() -> None:
    evaluation = evaluate(np.array([[500, -500]], np.float32), np.array([1], np.int32), ["a", "b"])
    assert evaluation.metrics.loss == pytest.approx(1000)
