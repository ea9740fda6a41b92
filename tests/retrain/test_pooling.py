"""Each pooling against the same in NumPy, with padding that must not count."""

import numpy as np
import pytest

from schemas.train_recipe import Pooling
from tasks.pooling import text_vector
from tasks.retrain.tensorflow_setup import start_tensorflow

TOKENS = np.random.default_rng(0).normal(-1, 1, (2, 4, 3)).astype(np.float32)
MASK = np.array([[1, 1, 0, 0], [1, 1, 1, 1]], np.int32)
EXPECTED = {
    "mean": [TOKENS[0, :2].mean(axis=0), TOKENS[1].mean(axis=0)],
    "max": [TOKENS[0, :2].max(axis=0), TOKENS[1].max(axis=0)],
    "cls": [TOKENS[0, 0], TOKENS[1, 0]],
    "pooled": [[7, 7, 7], [8, 8, 8]],
}


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "pooled"])
def test_pooling(pooling: Pooling) -> None:
    tf = start_tensorflow()
    pooled = tf.constant([[7.0] * 3, [8.0] * 3])
    outputs = {"sequence_output": tf.constant(TOKENS), "pooled_output": pooled}
    np.testing.assert_allclose(text_vector(outputs, tf.constant(MASK), pooling), EXPECTED[pooling], rtol=1e-6)
