"""The bootstrap from counts is the one that draws rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, f1_score

from tasks.evaluate import bootstrap
from tasks.evaluate.bootstrap import RESAMPLES, Resamples, coded, interval

RANDOM = np.random.default_rng(3)
CLASSES = np.eye(3, dtype=bool)
TRUTH = RANDOM.integers(0, 3, 400)
RIGHT_OFTEN = np.where(RANDOM.random(400) < 0.8, TRUTH, RANDOM.integers(0, 3, 400))
RIGHT_SELDOM = np.where(RANDOM.random(400) < 0.4, TRUTH, RANDOM.integers(0, 3, 400))


def test_estimates_are_those_of_scikit_learn() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_SELDOM}, CLASSES)
    for name, predicted in (("a", RIGHT_OFTEN), ("b", RIGHT_SELDOM)):
        assert resamples.accuracy(name)[0] == pytest.approx(accuracy_score(TRUTH, predicted))
        assert resamples.macro_f1(name)[0] == pytest.approx(f1_score(TRUTH, predicted, average="macro"))
        assert resamples.f1(name)[0].tolist() == pytest.approx(f1_score(TRUTH, predicted, average=None).tolist())


def test_intervals_are_those_of_drawing_rows() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_SELDOM}, CLASSES)
    draws = np.random.default_rng(4).integers(0, len(TRUTH), (RESAMPLES, len(TRUTH)))

    def macro(predicted: np.ndarray) -> np.ndarray:
        is_true, is_predicted = (labels[draws][..., None] == np.arange(3) for labels in (TRUTH, predicted))
        both = (is_true & is_predicted).sum(axis=1)
        return np.asarray((2 * both / (is_true.sum(axis=1) + is_predicted.sum(axis=1))).mean(axis=1))

    drawn = macro(RIGHT_OFTEN)
    of_sklearn = [f1_score(TRUTH[draw], RIGHT_OFTEN[draw], average="macro") for draw in draws[:50]]
    assert drawn[:50].tolist() == pytest.approx(of_sklearn)
    ours = interval(resamples.macro_f1("a"))
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.01)
    assert ours.low < ours.estimate < ours.high
    # Paired: both see the same rows in each draw.
    difference = interval(resamples.macro_f1("a") - resamples.macro_f1("b"))
    expected = np.quantile(drawn - macro(RIGHT_SELDOM), [0.025, 0.975])
    assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=0.012)


def test_a_classifier_is_never_better_than_itself() -> None:
    resamples = Resamples(TRUTH, {"a": RIGHT_OFTEN, "b": RIGHT_OFTEN.copy()}, CLASSES)
    assert interval(resamples.macro_f1("a") - resamples.macro_f1("b")) == interval(np.zeros(1 + RESAMPLES))


def test_one_row_and_many_classes() -> None:
    one = Resamples(np.array([2]), {"a": np.array([1])}, CLASSES)
    assert interval(one.accuracy("a")) == interval(np.zeros(1 + RESAMPLES))
    random = np.random.default_rng(0)
    truth = random.integers(0, 150, 5_000)
    many = Resamples(truth, {"a": random.permutation(truth), "b": truth}, np.eye(150, dtype=bool))
    assert interval(many.macro_f1("b")).estimate == 1.0
    assert interval(many.accuracy("a")).high < 0.05


def of_each(right: float, seed: int) -> np.ndarray:
    """Decisions on each class that are right for about this share."""
    random = np.random.default_rng(seed)
    return np.where(random.random(BELONGS.shape) < right, BELONGS, random.random(BELONGS.shape) < 0.5)


BELONGS = np.random.default_rng(5).random((400, 4)) < [0.6, 0.3, 0.2, 0.1]
OFTEN, SELDOM = of_each(0.8, 6), of_each(0.4, 7)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 12).flatmap(lambda classes: arrays(np.bool_, st.tuples(st.integers(1, 20), st.just(classes)))))
def test_sets_are_numbered_so_that_equal_ones_have_the_same_number(belongs: np.ndarray) -> None:
    truth, predictions, members = coded(belongs, {"a": ~belongs, "b": belongs})
    assert (members[truth] == belongs).all()
    assert (members[predictions["a"]] == ~belongs).all()
    assert predictions["b"].tolist() == truth.tolist()
    assert len({tuple(row) for row in members.tolist()}) == len(members)


def test_estimates_of_sets_are_those_of_scikit_learn() -> None:
    resamples = Resamples(*coded(BELONGS, {"a": OFTEN, "b": SELDOM}))
    for name, predicted in (("a", OFTEN), ("b", SELDOM)):
        assert resamples.accuracy(name)[0] == pytest.approx(accuracy_score(BELONGS, predicted))
        assert resamples.macro_f1(name)[0] == pytest.approx(f1_score(BELONGS, predicted, average="macro"))
        assert resamples.f1(name)[0].tolist() == pytest.approx(f1_score(BELONGS, predicted, average=None).tolist())


def test_intervals_of_sets_are_those_of_drawing_rows() -> None:
    resamples = Resamples(*coded(BELONGS, {"a": OFTEN, "b": SELDOM}))
    draws = np.random.default_rng(8).integers(0, len(BELONGS), (RESAMPLES, len(BELONGS)))

    def drawn(figure: Any, predicted: np.ndarray) -> np.ndarray:
        return np.array([figure(BELONGS[draw], predicted[draw]) for draw in draws])

    def macro(truth: np.ndarray, predicted: np.ndarray) -> float:
        both = truth.sum(axis=0) + predicted.sum(axis=0)
        return float((2 * (truth & predicted).sum(axis=0) / both).mean())

    for ours, theirs in (
        (resamples.macro_f1("a"), drawn(macro, OFTEN)),
        (resamples.accuracy("a"), drawn(lambda truth, said: (truth == said).all(axis=1).mean(), OFTEN)),
        # Paired: both see the same rows in each draw.
        (resamples.macro_f1("a") - resamples.macro_f1("b"), drawn(macro, OFTEN) - drawn(macro, SELDOM)),
    ):
        found, expected = interval(ours), np.quantile(theirs, [0.025, 0.975])
        assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.012)
        assert found.low < found.estimate < found.high


def test_one_class_for_each_row_is_the_special_case() -> None:
    eye = np.eye(3, dtype=bool)
    classes = Resamples(TRUTH, {"a": RIGHT_OFTEN}, eye)
    sets = Resamples(*coded(eye[TRUTH], {"a": eye[RIGHT_OFTEN]}))
    assert sets.accuracy("a")[0] == classes.accuracy("a")[0]
    assert sets.f1("a")[0].tolist() == classes.f1("a")[0].tolist()
    for figure in ("accuracy", "macro_f1"):
        ours, theirs = (interval(getattr(each, figure)("a")) for each in (sets, classes))
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_how_many_are_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = Resamples(*coded(BELONGS, {"a": OFTEN}))
    monkeypatch.setattr(bootstrap, "_DRAWN_AT_ONCE", 1000)
    piecewise = Resamples(*coded(BELONGS, {"a": OFTEN}))
    assert at_once.macro_f1("a").tolist() == piecewise.macro_f1("a").tolist()
