"""A BERT encoder whose layers are computed one by one: only as many as needed, frozen ones without dropout."""

from collections.abc import Sequence
from typing import Any

from schemas.train_recipe import Pooling
from tasks.bert import Bert
from tasks.pooling import pool_tokens, vector_width
from tasks.retrain.dropout import StepDropout, keep_all
from tasks.retrain.precision import Precision, product_in
from tasks.retrain.short_gradients import use_short_gradients
from tasks.retrain.tensorflow_setup import Tensor

WORD_VECTORS = "word_vectors"
"""A feature in place of the table of word vectors, where it is given: rows of it. Word ids count among these then."""


class LayeredEncoder:
    """Token ids in, text vectors out.

    Args:
        bert: the encoder, with the layers that are needed.
        pooling: how token vectors become a text vector.
        layers: numbers of the layers whose vectors are taken, counted from 1; None: the last one.
        frozen_groups: how many groups (the embeddings, then the layers) are not trained. They have no dropout: what
            they give for a text while training is always the same.
        seed: of dropout.
        precision: what the layers are computed in while training.
        products_only: whether it is their dense layers' products alone that are computed in it (see
            `tasks.retrain.precision`).
        pairs: whether texts are pairs. Single ones are one segment, whose vector need not be looked up token by token.
    """

    def __init__(
        self,
        bert: Bert,
        pooling: Pooling,
        layers: Sequence[int] | None,
        frozen_groups: int,
        seed: int,
        precision: Precision = "float32",
        *,
        products_only: bool = False,
        pairs: bool = False,
    ) -> None:
        import tensorflow as tf

        use_short_gradients(bert)
        self.bert, self.frozen_groups = bert, frozen_groups
        self._pooling: Pooling = pooling
        self._precision, self._pairs = precision, pairs
        self._layers, self._seed = list(layers) if layers else [bert.layers], seed
        self._multiply = product_in(precision) if products_only else None
        # Frozen kernels stay as they are, so that one cast serves all steps. An accelerator casts them in no time, and
        # several would need a copy each.
        frozen_layers = max(frozen_groups - 1, 0)
        rounds = products_only and precision != "float32" and frozen_layers
        self._frozen = bert.rounded(frozen_layers, precision) if rounds else bert
        self.in_lanes = True
        self.width = vector_width(bert.config.hidden_size, pooling, self._layers)
        ids = tf.TensorSpec([None, None], tf.int32)
        self.signature = {"input_word_ids": ids, "input_mask": ids, "input_type_ids": ids}

    @property
    def words(self) -> Any:
        """See `Encoder`."""
        return self.bert.words

    @property
    def groups(self) -> list[list[Any]]:
        """See `Encoder`. The pooler belongs to it only where it is used."""
        return self.bert.groups(pooler=self._pooling == "pooled")

    def text_vectors(self, features: Tensor, step: Tensor | None) -> Tensor:
        """See `Encoder`."""
        return self.upper(self.lower(features, step), features["input_mask"], step)

    def lower(self, features: Tensor, step: Tensor | None) -> Tensor:
        """The embeddings and the frozen layers.

        Returns:
            [n * length, width]: float32; within a step, in the 16 bits that whole layers are computed in there.
        """
        drop = StepDropout(self._seed, step) if step is not None and not self.frozen_groups else keep_all
        types = features["input_type_ids"] if self._pairs else None
        x = self.bert.embed(features["input_word_ids"], types, drop, features.get(WORD_VECTORS))
        padding = self.bert.padding(features["input_mask"])
        bert, multiply = (self.bert, None) if step is None else (self._frozen, self._multiply)
        x = self._as_trained(x, step)
        for number in range(self.frozen_groups - 1):
            x = bert.layer(number, x, padding, keep_all, multiply)
        return x

    def upper(self, x: Tensor, mask: Tensor, step: Tensor | None) -> Tensor:
        """The layers above the frozen ones, and pooling: float32[n, width]."""
        import tensorflow as tf

        drop = StepDropout(self._seed + 1, step) if step is not None else keep_all
        padding = self.bert.padding(mask)
        shape = tf.concat([tf.shape(mask), [self.bert.config.hidden_size]], 0)
        multiply = None if step is None else self._multiply
        x = self._as_trained(x, step)
        first = max(self.frozen_groups - 1, 0)
        taken = [tf.reshape(x, shape)] if first in self._layers else []
        for number in range(first, max(self._layers)):
            first_only = number + 1 == max(self._layers) and self._pooling in ("cls", "pooled")
            x = self.bert.layer(number, x, padding, drop, multiply, first_only=first_only)
            if number + 1 in self._layers:
                taken.append(x[:, tf.newaxis] if first_only else tf.reshape(x, shape))
        taken = [tf.cast(tokens, tf.float32) for tokens in taken]
        if self._pooling == "pooled":
            return self.bert.pool(taken[0][:, 0])
        vectors = [pool_tokens(tokens, mask, self._pooling) for tokens in taken]
        return vectors[0] if len(vectors) == 1 else tf.concat(vectors, axis=1)

    def _as_trained(self, x: Tensor, step: Tensor | None) -> Tensor:
        """In 16 bits where whole layers are computed in them."""
        import tensorflow as tf

        return x if step is None or self._multiply is not None else tf.cast(x, self._precision)


class UpperLayers:
    """The part of an encoder above its frozen layers: what these gave for a text goes in, text vectors come out.

    Args:
        encoder: with at least one frozen group.
    """

    def __init__(self, encoder: LayeredEncoder) -> None:
        import tensorflow as tf

        self._encoder = encoder
        self.in_lanes, self.words = True, None
        self.width = encoder.width
        self.groups: list[list[Any]] = encoder.groups
        self.signature = {
            "hidden": tf.TensorSpec([None, encoder.bert.config.hidden_size], tf.float32),
            "input_mask": tf.TensorSpec([None, None], tf.int32),
        }

    def text_vectors(self, features: Tensor, step: Tensor | None) -> Tensor:
        """See `Encoder`."""
        return self._encoder.upper(features["hidden"], features["input_mask"], step)
