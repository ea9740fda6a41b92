"""Dropout that follows from the run's seed and the step's number.

A run that goes on where it was drops what it would have dropped.
"""

import itertools

from tasks.retrain.tensorflow_setup import Tensor

# Random numbers of 16 bits decide: half the work of 32, and rates are met within 1 / 65,536.
_VALUES = 1 << 16
# More dropout ops than an encoder and a head have together: each op of a run draws from a stream of its own.
_OPS = 1 << 12


class StepDropout:
    """Dropout (Srivastava et al. 2014, with the scaling at training time) within one training step.

    Args:
        seed: of the run.
        step: int64 scalar.
    """

    def __init__(self, seed: int, step: Tensor) -> None:
        self._seed, self._step, self._ops = seed, step, itertools.count()

    def __call__(self, x: Tensor, rate: float) -> Tensor:
        """Drop units.

        Args:
            x: float32 of any shape.
            rate: share of the units that is set to zero; the others are divided by 1 - rate.

        Returns:
            A tensor like x.
        """
        import tensorflow as tf

        number = next(self._ops)
        if not rate:
            return x
        size = tf.size(x)
        even = any(length is not None and length % 2 == 0 for length in x.shape)
        seed = tf.stack([tf.constant(self._seed * _OPS + number, tf.int64), self._step])
        words = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32)
        drawn = tf.bitcast(words, tf.uint16)
        if not even:
            drawn = tf.reshape(drawn, [-1])[:size]
        kept = tf.cast(tf.reshape(drawn, tf.shape(x)) >= round(rate * _VALUES), x.dtype)
        return x * (kept * (1 / (1 - rate)))


def keep_all(x: Tensor, rate: float) -> Tensor:
    """No dropout: outside of training, and in frozen layers."""
    del rate
    return x
