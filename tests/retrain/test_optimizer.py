"""AdamW against the formulas, written out in NumPy."""

import numpy as np
import pytest

from tasks.retrain.optimizer import AdamW, is_decayed
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.adamw import Reference


@pytest.mark.parametrize("shares", [None, [0.25, 1.0, 0.5, 0.125]], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("clip_norm", [1.0, 20.0, None])
@pytest.mark.parametrize("size", [1e-6, 0.1, 30.0], ids=["tiny gradients", "small", "clipped"])
def test_steps_are_those_of_the_formulas(size: float, clip_norm: float | None, shares: list[float] | None) -> None:
    tf = start_tensorflow()
    random = np.random.default_rng(3)
    shapes = {"dense/kernel": (5, 4), "dense/bias": (4,), "words": (6, 3), "layer_norm/gamma": (4,)}
    weights = [random.normal(size=shape) for shape in shapes.values()]
    variables = [
        tf.Variable(weight.astype(np.float32), name=name) for name, weight in zip(shapes, weights, strict=True)
    ]
    optimizer = AdamW(variables, 0.1, clip_norm, shares)
    reference = Reference(weights, [0.1, 0.0, 0.1, 0.0], shares or [1.0] * 4, clip_norm or np.inf)
    apply = tf.function(optimizer.apply)
    for step in range(6):
        gradients = [random.normal(size=shape, scale=size) for shape in shapes.values()]
        # The table's gradient comes as rows, one of them twice.
        rows = random.normal(size=(3, 3), scale=size)
        gradients[2] = np.zeros((6, 3))
        np.add.at(gradients[2], [4, 1, 4], rows)
        given = [tf.constant(gradient, tf.float32) for gradient in gradients]
        given[2] = tf.IndexedSlices(tf.constant(rows, tf.float32), tf.constant([4, 1, 4]), tf.constant([6, 3]))
        rate = 0.01 / (step + 1)
        reference.apply(gradients, rate)
        norm = apply(given, tf.constant(rate))
        assert float(norm) == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradients)), rel=1e-5)
    assert optimizer.steps == 6
    for variable, expected in zip(variables, reference.weights, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-6)


def test_a_variable_without_a_gradient_stays_as_it_is() -> None:
    tf = start_tensorflow()
    used, unused = tf.Variable([[1.0]]), tf.Variable([[2.0]])
    AdamW([used, unused], weight_decay=0.5).apply([tf.constant([[1.0]]), None], tf.constant(0.1))
    assert unused.numpy().tolist() == [[2.0]]
    assert used.numpy().item() < 1.0


def test_gradients_are_clipped_by_1_unless_something_else_is_said() -> None:
    tf = start_tensorflow()
    weights = []
    for clip_norm in ({}, {"clip_norm": 1.0}, {"clip_norm": None}):
        weight = tf.Variable([1.0, 1.0])
        optimizer = AdamW([weight], 0.0, **clip_norm)
        # Adam does not see one scale for all gradients: only the second step tells the first one's.
        optimizer.apply([tf.constant([30.0, 40.0])], tf.constant(0.1))
        optimizer.apply([tf.constant([0.3, -0.4])], tf.constant(0.1))
        weights.append(weight.numpy().tolist())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("name", "rank", "decayed"),
    [
        ("layer_0/self_attention/output/kernel:0", 2, True),
        ("embeddings/word_embeddings:0", 2, True),
        ("layer_0/self_attention/output/bias:0", 1, False),
        ("transformer/layer_0/self_attention/key/bias:0", 2, False),
        ("transformer/layer_0/self_attention_layer_norm/gamma:0", 1, False),
        ("bert/encoder/layer_0/attention/output/LayerNorm/beta:0", 1, False),
        ("scale:0", 1, False),
    ],
)
def test_what_decays(name: str, rank: int, decayed: bool) -> None:
    assert is_decayed(name, rank) is decayed
