"""The head: dense layers from a text vector to the logits of the classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.dense import Activation, activate
from tasks.retrain.tensorflow_setup import Tensor

Weights = dict[str, npt.NDArray[np.float32]]


class Head:
    """Dense layers with an activation, then logits.

    Kernels start as Glorot & Bengio 2010 (equation 16) recommend, biases at zero.

    Args:
        width: of the text vector.
        hidden: widths of the hidden layers; none for a linear classifier.
        classes: how many classes there are.
        dropout: rate at which units are dropped while training.
        seed: of the first weights and of dropout.
        drop_input: whether dropout also falls on the text vector.
        activation: of the hidden layers.
    """

    def __init__(
        self,
        width: int,
        hidden: Sequence[int],
        classes: int,
        *,
        dropout: float,
        seed: int,
        drop_input: bool,
        activation: Activation = "relu",
    ) -> None:
        import tensorflow as tf

        generator = np.random.default_rng(seed)
        names = [*(f"dense_{number}" for number in range(len(hidden))), "logits"]
        self._layers: list[tuple[Any, Any]] = []
        for name, fan_in, fan_out in zip(names, [width, *hidden], [*hidden, classes], strict=True):
            limit = math.sqrt(6 / (fan_in + fan_out))
            kernel = generator.uniform(-limit, limit, (fan_in, fan_out)).astype(np.float32)
            self._layers.append(
                (
                    tf.Variable(kernel, name=f"{name}/kernel"),
                    tf.Variable(np.zeros(fan_out, np.float32), name=f"{name}/bias"),
                )
            )
        self._dropout, self._seed, self._drop_input, self._activation = dropout, seed, drop_input, activation

    @property
    def variables(self) -> list[Any]:
        """Kernels and biases, from the text vector to the logits."""
        return [variable for layer in self._layers for variable in layer]

    def logits(self, vectors: Tensor, step: Tensor | None = None) -> Tensor:
        """The forward pass.

        Args:
            vectors: float32[n, width].
            step: int64 scalar while training: which units are dropped follows from it and the seed, so that a run that
                goes on at a step drops what it would have dropped. None: nothing is dropped.

        Returns:
            float32[n, classes].
        """
        import tensorflow as tf

        x = vectors
        for number, (kernel, bias) in enumerate(self._layers):
            if step is not None and self._dropout and (number > 0 or self._drop_input):
                seed = tf.stack([tf.constant(self._seed * len(self._layers) + number, tf.int64), step])
                x = tf.nn.experimental.stateless_dropout(x, self._dropout, seed)
            x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
            if number < len(self._layers) - 1:
                x = activate(x, self._activation)
        return x

    def weights(self) -> Weights:
        """The weights by name: `dense_0/kernel`, `dense_0/bias`, ..., `logits/kernel`, `logits/bias`."""
        return {variable.name.split(":")[0]: variable.numpy() for variable in self.variables}

    def assign(self, weights: Weights) -> None:
        """Put weights in that `weights` of a head of the same shape gave."""
        for variable in self.variables:
            variable.assign(weights[variable.name.split(":")[0]])

    def standardise_input(self, mean: npt.NDArray[np.float32], scale: np.float32) -> None:
        """Make the head take vectors as they are where it was trained on `(vector - mean) / scale`.

        Args:
            mean: float32[width].
            scale: above zero.
        """
        kernel, bias = self._layers[0]
        scaled = kernel.numpy().astype(np.float64) / scale
        bias.assign((bias.numpy() - mean @ scaled).astype(np.float32))
        kernel.assign(scaled.astype(np.float32))
