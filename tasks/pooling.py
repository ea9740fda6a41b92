"""How the token vectors of a BERT-like encoder become one text vector."""

from collections.abc import Mapping
from typing import Any

from schemas.recipe import Pooling

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""


def text_vector(outputs: Mapping[str, Tensor], mask: Tensor, pooling: Pooling) -> Tensor:
    """Pool an encoder's outputs.

    Args:
        outputs: `sequence_output` float32[n, length, width] and `pooled_output` float32[n, width].
        mask: int32[n, length], 1 for tokens and 0 for padding.
        pooling: `mean` and `max` over the tokens that are not padding, `cls` the first token's vector, `pooled` the
            encoder's own pooled output.

    Returns:
        float32[n, width].
    """
    import tensorflow as tf

    if pooling == "pooled":
        return outputs["pooled_output"]
    tokens = outputs["sequence_output"]
    if pooling == "cls":
        return tokens[:, 0]
    weights = tf.cast(mask, tokens.dtype)[:, :, tf.newaxis]
    if pooling == "max":
        return tf.reduce_max(tf.where(weights > 0, tokens, tokens.dtype.min), axis=1)
    # A text always has its special tokens; the guard is for rows that are padding as a whole.
    return tf.reduce_sum(tokens * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
