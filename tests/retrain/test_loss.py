"""What is minimised against the formulas, written out in NumPy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.retrain.loss import SigmoidCrossEntropy, SoftmaxCrossEntropy, make_loss
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.graphs import DYNAMIC
from tests.retrain.small_inputs import recipe

WEIGHTS = np.array([0.5, 1.0, 3.0], np.float32)
COUNTS = st.floats(0, 9, width=32)
ROWS = st.lists(
    st.tuples(st.lists(st.floats(-8, 8), min_size=3, max_size=3), st.integers(0, 2), COUNTS), min_size=1, max_size=6
)


def by_hand(
    logits: NDArray[np.float64], truth: list[int], counts: list[float], smoothing: float, gamma: float
) -> float:
    total = 0.0
    for row, label, count in zip(logits, truth, counts, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        target = [smoothing / 3 + (1 - smoothing if number == label else 0) for number in range(3)]
        entropy = -sum(wanted * math.log(share) for wanted, share in zip(target, shares, strict=True))
        total += count * WEIGHTS[label] * entropy * (1 - shares[label]) ** gamma
    return total


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_values(rows: list[tuple[list[float], int, float]], smoothing: float, gamma: float) -> None:
    tf = start_tensorflow()
    logits, truth = np.array([row for row, _, _ in rows]), [label for _, label, _ in rows]
    counts = [count for _, _, count in rows]
    loss = SoftmaxCrossEntropy(WEIGHTS, smoothing, gamma)
    given_as = tf.constant(logits, tf.float32), tf.constant(truth, tf.int32), tf.constant(counts, tf.float32)
    expected = by_hand(logits, truth, counts, smoothing, gamma)
    assert loss.sum(*given_as).numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_rows_of_padding_do_not_count() -> None:
    tf = start_tensorflow()
    logits = tf.constant([[1.0, 2.0, 0.0], [9.0, 9.0, -9.0]])
    for loss in (
        SoftmaxCrossEntropy(WEIGHTS),
        SoftmaxCrossEntropy(WEIGHTS, 0.1),
        SoftmaxCrossEntropy(WEIGHTS, 0.0, 2.0),
    ):
        alone = loss.sum(logits[:1], tf.constant([2]), tf.ones(1)).numpy()
        padded = loss.sum(logits, tf.constant([2, 0]), tf.constant([1.0, 0.0])).numpy()
        assert padded == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_slopes_are_finite_where_the_classifier_is_certain(smoothing: float, gamma: float) -> None:
    tf = start_tensorflow()
    logits = tf.constant([[500.0, -500.0, 0.0], [-500.0, 500.0, 0.0], [0.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = SoftmaxCrossEntropy(WEIGHTS, smoothing, gamma).sum(logits, tf.constant([0, 0, 0]), tf.ones(3))
    assert np.isfinite(value.numpy())
    assert np.isfinite(tape.gradient(value, logits).numpy()).all()


def test_focal_loss_counts_what_is_classified_well_less() -> None:
    tf = start_tensorflow()
    logits = tf.constant([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])

    def share_of_the_easy_one(gamma: float) -> float:
        loss = SoftmaxCrossEntropy(np.ones(3, np.float32), 0.0, gamma)
        easy, hard = (loss.sum(logits[row : row + 1], tf.constant([0]), tf.ones(1)).numpy() for row in (0, 1))
        return float(easy / (easy + hard))

    assert share_of_the_easy_one(2.0) < 0.1 * share_of_the_easy_one(0.0)


SEVERAL = st.lists(
    st.tuples(
        st.lists(st.floats(-8, 8), min_size=3, max_size=3),
        st.lists(st.sampled_from([0, 1]), min_size=3, max_size=3),
        COUNTS,
    ),
    min_size=1,
    max_size=6,
)


def of_each_class_by_hand(
    logits: NDArray[np.float64], truth: NDArray[np.float64], counts: list[float], smoothing: float, gamma: float
) -> float:
    """The mean over the classes of each row, summed over the rows."""
    total = 0.0
    for row, has, count in zip(logits, truth, counts, strict=True):
        for logit, wanted, weight in zip(row, has, WEIGHTS, strict=True):
            share = 1 / (1 + math.exp(-logit))
            target = wanted * (1 - smoothing) + smoothing / 2
            entropy = -(weight * target * math.log(share) + (1 - target) * math.log(1 - share))
            total += count * entropy * (1 - (share if wanted else 1 - share)) ** gamma / 3
    return total


@settings(max_examples=60, deadline=None)
@given(SEVERAL, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_values_of_several_classes(
    rows: list[tuple[list[float], list[int], float]], smoothing: float, gamma: float
) -> None:
    tf = start_tensorflow()
    logits, truth = np.array([row for row, _, _ in rows]), np.array([has for _, has, _ in rows], np.float64)
    counts = [count for _, _, count in rows]
    loss = SigmoidCrossEntropy(WEIGHTS, smoothing, gamma)
    found = loss.sum(*(tf.constant(each, tf.float32) for each in (logits, truth, counts))).numpy()
    assert found == pytest.approx(of_each_class_by_hand(logits, truth, counts, smoothing, gamma), rel=1e-4, abs=1e-5)


def test_of_several_classes_a_tpu_computes_the_same() -> None:
    tf = start_tensorflow()
    logits = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    truth = np.array([[1, 0, 1]] * 5 + [[0, 0, 0]] * 3, np.float32)
    counts = np.array([1] * 5 + [0] * 3, np.float32)
    loss = SigmoidCrossEntropy(WEIGHTS, 0.1, 2.0)
    compiled = tf.function(loss.sum, jit_compile=True, autograph=False)
    expected = loss.sum(logits, truth, counts).numpy()
    assert compiled(logits, truth, counts).numpy() == pytest.approx(expected, rel=1e-5)
    operations = compiled.get_concrete_function(logits, truth, counts).graph.get_operations()
    assert DYNAMIC & {each.type for each in operations} == set()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_of_several_classes_padding_does_not_count_and_certainty_has_a_slope(gamma: float) -> None:
    tf = start_tensorflow()
    logits = tf.constant([[500.0, -500.0, 0.0], [-500.0, 500.0, 3.0], [9.0, 9.0, -9.0]])
    truth = tf.constant([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    counts = tf.constant([1.0, 1.0, 0.0])
    loss = SigmoidCrossEntropy(WEIGHTS, 0.0, gamma)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss.sum(logits, truth, counts)
    assert value.numpy() == pytest.approx(loss.sum(logits[:2], truth[:2], counts[:2]).numpy(), rel=1e-6)
    slopes = tape.gradient(value, logits).numpy()
    assert np.isfinite(slopes).all()
    assert (slopes[2] == 0).all()
    assert slopes[1, 0] < 0 < slopes[1, 1]


def test_the_task_decides_which_loss_it_is() -> None:
    one = make_loss(recipe(label_smoothing=0.1, focal_gamma=2), ["a", "b"], np.array([0, 1, 1], np.int32))
    assert isinstance(one, SoftmaxCrossEntropy)
    settings = recipe(task="multilabel", class_weights="balanced", label_smoothing=0.1, focal_gamma=2)
    several = make_loss(settings, ["a", "b"], np.array([[0, 1], [1, 1], [0, 0]], np.float32))
    assert isinstance(several, SigmoidCrossEntropy)
    np.testing.assert_allclose(several.positive_weight, [2, 0.5])
    for loss in (one, several):
        assert (loss.label_smoothing, loss.focal_gamma) == (0.1, 2)
