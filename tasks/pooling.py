"""How the token vectors of a BERT-like encoder become one text vector."""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.train_recipe import Pooling

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""


def text_vector(
    outputs: Mapping[str, Tensor], mask: Tensor, pooling: Pooling, layers: Sequence[int] | None = None
) -> Tensor:
    """Pool an encoder's outputs.

    Args:
        outputs: `sequence_output` float32[n, length, width], `pooled_output` float32[n, width], and, where layers are
            named, `encoder_outputs`, a list with the sequence output of each layer.
        mask: int32[n, length], 1 for tokens and 0 for padding.
        pooling: how; `pooled` is the encoder's own pooled output.
        layers: numbers of the layers whose vectors are taken, counted from 1; None: the last one.

    Returns:
        float32[n, `vector_width`].
    """
    import tensorflow as tf

    if layers is not None:
        return tf.concat([pool_tokens(outputs["encoder_outputs"][layer - 1], mask, pooling) for layer in layers], 1)
    if pooling == "pooled":
        return outputs["pooled_output"]
    return pool_tokens(outputs["sequence_output"], mask, pooling)


def pool_tokens(tokens: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool the token vectors of one layer.

    Args:
        tokens: float32[n, length, width].
        mask: int32[n, length], 1 for tokens and 0 for padding.
        pooling: `mean` and `max` over the tokens that are not padding, `mean_max` both side by side, `cls` the first
            token's vector.

    Returns:
        float32[n, width], or float32[n, 2 * width] for `mean_max`.

    Raises:
        ValueError: `pooled`, which is computed from the encoder's last layer alone.
    """
    import tensorflow as tf

    if pooling == "pooled":
        raise ValueError("a layer's token vectors have no pooled output")
    if pooling == "cls":
        return tokens[:, 0]
    parts = []
    weights = tf.cast(mask, tokens.dtype)[:, :, tf.newaxis]
    if pooling in ("mean", "mean_max"):
        # A text always has its special tokens; the guard is for rows that are padding as a whole.
        parts.append(tf.reduce_sum(tokens * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0))
    if pooling in ("max", "mean_max"):
        parts.append(tf.reduce_max(tf.where(weights > 0, tokens, tokens.dtype.min), axis=1))
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)


def vector_width(width: int, pooling: Pooling | None, layers: Sequence[int] | None = None) -> int:
    """Width of the text vectors.

    Args:
        width: of the encoder's token vectors.
        pooling: how they are pooled; None for a model that gives one vector itself.
        layers: the layers whose vectors are put side by side; None: one.

    Returns:
        The width.
    """
    return width * (2 if pooling == "mean_max" else 1) * (len(layers) if layers else 1)
