"""The bootstrap from counts is the one that draws rows."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tasks.evaluate.bootstrap import RESAMPLES, Resamples, interval

RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.integers(0, 3, 400)
RIGHT_OFTEN = np.where(RANDOM.random(400) < 0.8, TRUTH, RANDOM.integers(0, 3, 400))
RIGHT_SELDOM = np.where(RANDOM.random(400) < 0.4, TRUTH, RANDOM.integers(0, 3, 400))


def test_estimates_are_those_of_scikit_learn() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_SELDOM}, 3)
    for name, predicted in (("a", RIGHT_OFTEN), ("b", RIGHT_SELDOM)):
        assert resamples.accuracy(name)[0] == pytest.approx(accuracy_score(TRUTH, predicted))
        assert resamples.macro_f1(name)[0] == pytest.approx(f1_score(TRUTH, predicted, average="macro"))
        assert resamples.f1(name)[0].tolist() == pytest.approx(f1_score(TRUTH, predicted, average=None).tolist())


def test_intervals_are_those_of_drawing_rows() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_SELDOM}, 3)
    draws = np.random.default_rng(4).integers(0, len(TRUTH), (RESAMPLES, len(TRUTH)))

    def macro(predicted: np.ndarray) -> np.ndarray:
        return np.array([f1_score(TRUTH[draw], predicted[draw], average="macro") for draw in draws])

    drawn = macro(RIGHT_OFTEN)
    ours = interval(resamples.macro_f1("a"))
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.01)
    assert ours.low < ours.estimate < ours.high
    # Paired: both see the same rows in each draw.
    difference = interval(resamples.macro_f1("a") - resamples.macro_f1("b"))
    expected = np.quantile(drawn - macro(RIGHT_SELDOM), [0.025, 0.975])
    assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=0.012)


def test_a_classifier_is_never_better_than_itself() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_OFTEN.copy()}, 3)
    assert interval(resamples.macro_f1("a") - resamples.macro_f1("b")) == interval(np.zeros(1 + RESAMPLES))


def test_one_row_and_many_classes() -> None:
    one = Resamples(np.array([2]), {"a": np.array([1])}, 3)
    assert interval(one.accuracy("a")) == interval(np.zeros(1 + RESAMPLES))
    random = np.random.default_rng(0)
    truth = random.integers(0, 150, 5_000)
    many = Resamples(truth, {"a": random.permutation(truth), "b": truth}, 150)
    assert interval(many.macro_f1("b")).estimate == 1.0
    assert interval(many.accuracy("a")).high < 0.05
