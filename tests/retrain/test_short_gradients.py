"""Gradients that were written out against the ones that TensorFlow derives."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tasks import bert
from tasks.retrain import short_gradients
from tasks.retrain.tensorflow_setup import start_tensorflow

Array = NDArray[np.float64]
ENCODERS_EPSILON = 1e-12


def tensors(shape: st.SearchStrategy[tuple[int, ...]], largest: float = 30.0) -> st.SearchStrategy[Array]:
    return arrays.arrays(np.float64, shape, elements=st.floats(-largest, largest, allow_subnormal=False))


def with_gradients(function: Any, *values: Array) -> list[Array]:
    """The value, and the gradients of a sum in which every element counts otherwise; in float64."""
    tf = start_tensorflow()
    given = [tf.constant(value, tf.float64) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(given)
        result = function(*given)
        weights = tf.reshape(tf.range(1.0, tf.size(result) + 1, dtype=tf.float64), tf.shape(result))
        total = tf.reduce_sum(result * weights)
    return [result.numpy(), *(gradient.numpy() for gradient in tape.gradient(total, given))]


def agree(found: list[Array], expected: list[Array]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * max(1.0, np.abs(other).max(initial=0)))


@settings(max_examples=50, deadline=None)
@given(tensors(arrays.array_shapes(min_dims=1, max_dims=3, max_side=5)))
def test_gelu(x: Array) -> None:
    agree(with_gradients(short_gradients.gelu, x), with_gradients(bert.gelu, x))


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 9))
def test_layer_norm(data: st.DataObject, rows: int, width: int) -> None:
    x = data.draw(tensors(st.just((rows, width))))
    gamma, beta = (data.draw(tensors(st.just((width,)), 3.0)) for _ in range(2))
    epsilon = 1e-3  # rows of equal values divide by it: with a small one, rounding errors are all there is

    def norm(module: Any) -> Any:
        return lambda x, gamma, beta: module.layer_norm(x, gamma, beta, epsilon)

    agree(with_gradients(norm(short_gradients), x, gamma, beta), with_gradients(norm(bert), x, gamma, beta))


def test_in_the_precision_and_at_the_epsilon_of_an_encoder() -> None:
    tf = start_tensorflow()
    random = np.random.default_rng(0)
    x, upstream = (tf.constant(random.normal(size=(40, 384)), tf.float32) for _ in range(2))
    gamma, beta = (tf.constant(random.normal(size=384), tf.float32) for _ in range(2))

    def gradients(module: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            result = module.layer_norm(module.gelu(x), gamma, beta, ENCODERS_EPSILON)
            total = tf.reduce_sum(result * upstream)
        return [result, *tape.gradient(total, [x, gamma, beta])]

    for found, expected in zip(gradients(short_gradients), gradients(bert), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
