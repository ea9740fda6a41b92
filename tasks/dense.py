"""Activations of a classifier's hidden layers, the same in training and in what is published."""

from typing import Any, Literal

from tasks.bert import gelu

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""
Activation = Literal["relu", "gelu", "tanh"]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Apply the activation of a hidden layer.

    Args:
        x: float32 of any shape.
        activation: its name.

    Returns:
        A tensor like x.
    """
    import tensorflow as tf

    if activation == "gelu":
        return gelu(x)
    return tf.nn.relu(x) if activation == "relu" else tf.tanh(x)
