"""What is dropped: the right share, and the same whenever seed, step and place are the same."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tasks.retrain.dropout import StepDropout, keep_all
from tasks.retrain.tensorflow_setup import start_tensorflow

RATE = st.floats(0.01, 0.95)


def dropped(x: NDArray[np.float32], rate: float, seed: int = 1, step: int = 0, number: int = 0) -> Any:
    """What the op with this number within the step gives."""
    tf = start_tensorflow()
    drop = StepDropout(seed, tf.constant(step, tf.int64))
    for _ in range(number):
        drop(tf.zeros([1]), 0.5)
    return drop(tf.constant(x), rate).numpy()


@settings(max_examples=40, deadline=None)
@given(arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=7), RATE)
def test_units_are_zero_or_scaled(shape: tuple[int, ...], rate: float) -> None:
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    found = dropped(x, rate)
    assert found.shape == x.shape
    kept = found != 0
    np.testing.assert_allclose(found[kept], x[kept] / np.float32(1 - rate), rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(90, 210), st.integers(190, 211), RATE, st.integers(0, 2**31 - 1), st.integers(0, 10**6))
def test_the_rate_is_met_and_the_mean_kept(rows: int, width: int, rate: float, seed: int, step: int) -> None:
    found = dropped(np.ones((rows, width), np.float32), rate, seed, step)
    # Six deviations of a share of that many draws.
    tolerance = 6 * np.sqrt(rate * (1 - rate) / found.size) + 2**-16
    assert abs((found == 0).mean() - rate) < tolerance
    assert abs(found.mean() - 1) < tolerance / (1 - rate)
    # Along both axes: nothing is dropped by whole rows or columns.
    for axis, length in ((0, rows), (1, width)):
        share = (found == 0).mean(axis=axis)
        assert np.abs(share - rate).max() < 8 * np.sqrt(rate * (1 - rate) / length) + 2**-16


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([(40, 50), (41, 51)]), *[st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))] * 2)
def test_it_follows_from_seed_step_and_place_and_from_nothing_else(
    shape: tuple[int, ...], one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    x = np.ones(shape, np.float32)
    first, second = dropped(x, 0.5, *one), dropped(x, 0.5, *other)
    assert np.array_equal(dropped(x, 0.5, *one), first)
    assert np.array_equal(first, second) is (one == other)
    if one != other:  # two streams that have nothing to do with each other agree on every second unit
        assert 0.42 < (first == second).mean() < 0.58


@pytest.mark.parametrize("shape", [(7, 4), (7, 5), (8, 5), (3, 3)])
def test_shapes_that_are_open_in_a_trace_draw_the_same(shape: tuple[int, int]) -> None:
    tf = start_tensorflow()
    x = np.ones(shape, np.float32)
    for signature in ([None, None], [None, shape[1]]):

        @tf.function(input_signature=[tf.TensorSpec(signature), tf.TensorSpec([], tf.int64)], autograph=False)
        def traced(x: Any, step: Any) -> Any:
            return StepDropout(1, step)(x, 0.4)

        found = traced(x, np.int64(7)).numpy()
        assert np.array_equal(found, dropped(x, 0.4, step=7))


def test_nothing_is_dropped_at_rate_0_or_outside_of_training() -> None:
    x = np.ones((50, 50), np.float32)
    assert np.array_equal(dropped(x, 0.0), x)
    assert np.array_equal(keep_all(x, 0.9), x)


def test_an_op_without_dropout_keeps_its_place() -> None:
    tf = start_tensorflow()
    x = tf.ones([1000])
    one, other = (StepDropout(1, tf.constant(0, tf.int64)) for _ in range(2))
    one(x, 0.0)
    other(x, 0.3)
    assert np.array_equal(one(x, 0.5), other(x, 0.5))
