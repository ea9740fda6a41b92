"""How labels and logits are read, against scikit-learn and by hand."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import log_loss

from tasks.evaluate.reading import READINGS, Sigmoid, Softmax, decide_each, log_softmax, sigmoid


@st.composite
def of_each_class(draw: Any, largest: float = 15.0) -> tuple[Any, Any]:
    """Logits and truth of rows that may belong to several classes. Some logits are equal."""
    rows, classes = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    logit = st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-largest, largest, width=32)
    logits = draw(arrays(np.float64, (rows, classes), elements=logit))
    # A logit next to 0 may round to a probability of exactly 0.5.
    return logits.round(3), draw(arrays(np.bool_, (rows, classes)))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sets(st.integers(0, 4)), max_size=20))
def test_lists_of_classes_are_read_as_they_are(sets: list[set[int]]) -> None:
    column = pl.Series([sorted(each) for each in sets], dtype=pl.List(pl.Int32))
    belongs = READINGS["multilabel"].truth(column, 5)
    assert belongs.shape == (len(sets), 5)
    assert belongs.dtype == np.bool_
    assert [set(np.flatnonzero(row).tolist()) for row in belongs] == sets


def test_class_indices_are_read_as_they_are() -> None:
    truth = READINGS["multiclass"].truth(pl.Series([2, 0, 1], dtype=pl.Int32), 3)
    assert truth.tolist() == [2, 0, 1]
    assert truth.dtype == np.int32


@settings(deadline=None, max_examples=60)
@given(of_each_class())
def test_likelihoods_of_each_class_are_those_of_scikit_learn(given: tuple[Any, Any]) -> None:
    logits, belongs = given
    expected = [log_loss(belongs[:, k], sigmoid(logits[:, k]), labels=[False, True]) for k in range(logits.shape[1])]
    likelihoods = Sigmoid().log_likelihoods(logits, belongs)
    assert likelihoods.shape == (len(logits),)
    assert -likelihoods.mean() == pytest.approx(np.mean(expected), rel=1e-6, abs=1e-9)


def test_likelihoods_stay_finite_however_sure_the_answers_are() -> None:
    logits = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    belongs = np.array([[True, False], [True, False]])
    assert Sigmoid().log_likelihoods(logits, belongs).tolist() == [0.0, -1000.0]


def test_likelihoods_of_one_class_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    logits, truth = random.normal(size=(50, 3)), random.integers(0, 3, 50).astype(np.int32)
    expected = log_loss(truth, np.exp(log_softmax(logits)), labels=[0, 1, 2])
    assert -Softmax().log_likelihoods(logits, truth).mean() == pytest.approx(expected)


def test_a_class_is_said_from_a_half_on() -> None:
    logits = np.array([[0.0, -1e-6, 1e-6], [-30.0, 30.0, -0.0]])
    assert decide_each(logits).tolist() == [[True, False, True], [False, True, True]]
    assert sigmoid(np.array([[0.0, np.log(3.0)]]))[0].tolist() == pytest.approx([0.5, 0.75])
