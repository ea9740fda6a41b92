"""Temperature scaling and the calibration error of Guo et al. 2017."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logit

from tasks.evaluate.calibration import HIGHEST, LOWEST, calibrate, fit_temperature, reliability
from tasks.evaluate.reading import Sigmoid, Softmax, decide_each, sigmoid
from tests.evaluate.small_artifacts import answers
from tests.evaluate.test_reading import of_each_class

SOFTMAX, SIGMOID = Softmax(), Sigmoid()


@st.composite
def answered(draw: Any) -> tuple[Any, Any]:
    classes, rows = draw(st.integers(2, 4)), draw(st.integers(1, 30))
    logits = draw(arrays(np.float32, (rows, classes), elements=st.floats(-50, 50, width=32)))
    # Two classes that are tied but for rounding may change places.
    logits = logits.round(3)
    truth = draw(arrays(np.int32, rows, elements=st.integers(0, classes - 1)))
    return logits.astype(np.float64), truth


@settings(deadline=None, max_examples=150)
@given(answered())
def test_a_temperature_never_makes_the_validation_loss_worse_and_changes_no_prediction(given: tuple[Any, Any]) -> None:
    logits, truth = given
    temperature = fit_temperature(logits, truth, SOFTMAX)
    assert LOWEST <= temperature <= HIGHEST
    before, after = reliability(logits, truth, SOFTMAX), reliability(logits / temperature, truth, SOFTMAX)
    assert after.loss <= before.loss + 1e-12
    for part in (before, after):
        assert 0 <= part.expected_calibration_error <= 1
        assert sum(each.rows for each in part.bins) == len(truth)
    right = sum(each.rows * each.accuracy for each in before.bins)
    assert sum(each.rows * each.accuracy for each in after.bins) == pytest.approx(right)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(factor: float) -> None:
    random = np.random.default_rng(5)
    logits = random.normal(scale=2, size=(20_000, 3))
    # The truth is drawn from the softmax of the logits (Gumbel's trick), so that they are calibrated.
    truth = (logits + random.gumbel(size=logits.shape)).argmax(axis=1).astype(np.int32)
    assert fit_temperature(factor * logits, truth, SOFTMAX) == pytest.approx(factor, rel=0.05)
    assert reliability(logits, truth, SOFTMAX).expected_calibration_error < 0.02


def test_the_error_that_can_be_computed_by_hand() -> None:
    # Two rows that are 0.9 sure, one of them right; two that are 0.6 sure, both right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    measured = reliability(np.log(probabilities), np.array([0, 1, 1, 1], np.int32), SOFTMAX)
    assert [(each.rows, each.accuracy) for each in measured.bins] == [(2, 1.0), (2, 0.5)]
    assert [each.confidence for each in measured.bins] == pytest.approx([0.6, 0.9])
    assert measured.expected_calibration_error == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    # A bin holds its upper edge: 0.6 is 9/15.
    assert [each.high for each in measured.bins] == pytest.approx([0.6, 14 / 15])


def test_answers_without_a_mistake_reach_the_limit_and_it_is_told() -> None:
    without = answers([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    calibration = calibrate({"validation": without, "test": without}, SOFTMAX)
    assert calibration.at_limit
    assert calibration.temperature == pytest.approx(LOWEST, rel=1e-3)
    assert not calibrate({"validation": answers([0, 1, 1], np.eye(2)[[0, 1, 0]]), "test": without}, SOFTMAX).at_limit


@settings(deadline=None, max_examples=60)
@given(of_each_class(largest=50))
def test_a_temperature_never_makes_the_loss_of_each_class_worse(given: tuple[Any, Any]) -> None:
    logits, belongs = given
    temperature = fit_temperature(logits, belongs, SIGMOID)
    assert LOWEST <= temperature <= HIGHEST
    before, after = reliability(logits, belongs, SIGMOID), reliability(logits / temperature, belongs, SIGMOID)
    assert after.loss <= before.loss + 1e-12
    for part in (before, after):
        assert 0 <= part.expected_calibration_error <= 1
        assert sum(each.rows for each in part.bins) == belongs.size
        assert sum(each.rows * each.accuracy for each in part.bins) == pytest.approx(belongs.sum())
    assert (decide_each(logits) == decide_each(logits / temperature)).all()


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_of_each_class_that_was_put_in_is_found(factor: float) -> None:
    random = np.random.default_rng(6)
    logits = random.normal(scale=2, size=(20_000, 3))
    belongs = random.random(logits.shape) < sigmoid(logits)
    assert fit_temperature(factor * logits, belongs, SIGMOID) == pytest.approx(factor, rel=0.05)
    assert reliability(logits, belongs, SIGMOID).expected_calibration_error < 0.02


def test_the_error_of_each_class_that_can_be_computed_by_hand() -> None:
    # Said with 0.9 of two, of which one is so; with 0.6 of one, which is so; with 0.1 of one, which is not.
    probabilities = np.array([[0.9, 0.6], [0.9, 0.1]])
    measured = reliability(logit(probabilities), np.array([[True, True], [False, False]]), SIGMOID)
    assert [(each.rows, each.accuracy) for each in measured.bins] == [(1, 0.0), (1, 1.0), (2, 0.5)]
    assert [each.confidence for each in measured.bins] == pytest.approx([0.1, 0.6, 0.9])
    assert measured.expected_calibration_error == pytest.approx(0.25 * 0.1 + 0.25 * 0.4 + 0.5 * 0.4)
    assert measured.loss == pytest.approx(-np.log([0.9, 0.6, 0.1, 0.9]).mean())
