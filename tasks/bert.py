"""BERT's encoder (Devlin et al. 2019; Vaswani et al. 2017, section 3) as plain TensorFlow, layer by layer.

Plain variables and ops, no Keras. Block 1 saves it as a SavedModel with TF Hub's interface; block 4 builds it again
from that SavedModel's variables where it needs the layers one by one: to leave the upper ones out, to compute the
frozen ones once, to draw dropout from the step's number.
"""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""
Dropout = Callable[[Tensor, float], Tensor]
"""Drops units of a tensor at a rate, or does nothing outside of training."""
Product = Callable[[Tensor, Tensor], Tensor]
"""The matrix product of a dense layer: vectors, kernel."""

ARCHITECTURE = "architecture.json"
"""Name of the file in a `model` artifact that tells how its encoder was built by this module."""
WORDS = "embeddings/word_embeddings"
"""Name of the table of word vectors, float32[vocabulary, width]."""

# Added to the attention scores of padding; small enough to make its weight exactly 0 in float32.
_MASKED = -1e9


class BertConfig(BaseModel):
    """The fields of a Hugging Face `config.json` that decide what is computed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: str
    hidden_act: str
    position_embedding_type: str = "absolute"
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float


class Bert:
    """The encoder's variables and what is computed from them.

    Within it, the vectors of all tokens of a batch stand one below the other: float32[n * length, width]. A layer that
    is given vectors in 16 bits computes in 16 bits, but for softmax and normalisation; the variables stay float32.

    Args:
        config: the architecture.
        arrays: the weights one by one, by the names and in the order of `weights_from_hugging_face`.
        layers: how many layers are built; the ones above are left out, and so is the pooler then.
    """

    def __init__(
        self, config: BertConfig, arrays: Iterable[tuple[str, npt.NDArray[np.float32]]], layers: int | None = None
    ) -> None:
        import tensorflow as tf

        self.config = config
        # Block 4 puts in forms with shorter gradients.
        self.gelu: Callable[[Tensor], Tensor] = gelu
        self.normalise: Callable[[Tensor, Tensor, Tensor, float], Tensor] = layer_norm
        self.layers = config.num_hidden_layers if layers is None else layers
        whole = self.layers == config.num_hidden_layers
        self._by_name = {
            name: tf.Variable(np.ascontiguousarray(value, np.float32), name=name)
            for name, value in arrays
            if _group(name) <= self.layers or (whole and name.startswith("pooler/"))
        }
        self._other_words: Any = None

    @property
    def variables(self) -> list[Any]:
        """All variables, from the input to the output."""
        return list(self._by_name.values())

    @property
    def words(self) -> Any:
        """The table of word vectors, a variable."""
        return self._by_name[WORDS]

    def groups(self, *, pooler: bool) -> list[list[Any]]:
        """The variables of the embeddings, then of each layer, the pooler's with the last one's, or left out."""
        groups: list[list[Any]] = [[] for _ in range(self.layers + 1)]
        for name, variable in self._by_name.items():
            if _group(name) <= self.layers or pooler:
                groups[min(_group(name), self.layers)].append(variable)
        return groups

    def restrict_words(self, used: npt.NDArray[np.int32], others: npt.NDArray[np.int32]) -> None:
        """Keep only some rows of the table of word vectors; from then on word ids count among these.

        Args:
            used: int32, ids of the words that stay in the table, in order.
            others: int32, ids of words that are only looked up: they count on from there, and are no variable.
        """
        import tensorflow as tf

        table = self._by_name[WORDS].numpy()
        self._by_name[WORDS] = tf.Variable(table[used], name=WORDS)
        self._other_words = tf.constant(table[others]) if len(others) else None

    def rounded(self, layers: int, dtype: str) -> "Bert":
        """The same encoder with the kernels of its lowest layers cast once, for layers that are not trained.

        Args:
            layers: how many of the lowest layers.
            dtype: what their kernels are in: a type of 16 bits.

        Returns:
            An encoder with the same variables but for these kernels.
        """
        import tensorflow as tf

        def is_cast(name: str) -> bool:
            return 0 < _group(name) <= layers and name.endswith("/kernel")

        view = copy.copy(self)
        view._by_name = {
            name: tf.cast(variable, dtype) if is_cast(name) else variable for name, variable in self._by_name.items()
        }
        return view

    def embed(
        self, word_ids: Tensor, type_ids: Tensor | None, drop: Dropout, word_vectors: Tensor | None = None
    ) -> Tensor:
        """Words, positions and segments to vectors.

        Args:
            word_ids: int32[n, length].
            type_ids: int32[n, length]; None where every text is one segment.
            drop: dropout.
            word_vectors: float32[words, width], what the ids count among; None: the encoder's own table.

        Returns:
            float32[n * length, width].
        """
        import tensorflow as tf

        batch, length = tf.unstack(tf.shape(word_ids))
        width = self.config.hidden_size
        types = self._by_name["embeddings/type_embeddings"]
        if type_ids is None:
            type_vectors = types[0]
        else:
            # A product instead of a look-up: its gradient is one too, where a look-up's is a row for each token.
            one_hot = tf.one_hot(tf.reshape(type_ids, [-1]), self.config.type_vocab_size)
            type_vectors = tf.reshape(tf.matmul(one_hot, types), [batch, length, width])
        words = self._look_up(word_ids) if word_vectors is None else tf.gather(word_vectors, word_ids)
        x = words + self._by_name["embeddings/position_embeddings"][:length] + type_vectors
        x = self._layer_norm("embeddings/layer_norm", tf.reshape(x, [batch * length, width]))
        return drop(x, self.config.hidden_dropout_prob)

    def padding(self, mask: Tensor) -> Tensor:
        """What is added to the attention scores: 0 for tokens, a large negative number for padding.

        Args:
            mask: int32[n, length], 1 for tokens and 0 for padding.

        Returns:
            float32[n, 1, 1, length].
        """
        import tensorflow as tf

        return (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * _MASKED

    def layer(
        self,
        number: int,
        x: Tensor,
        padding: Tensor,
        drop: Dropout,
        multiply: Product | None = None,
        *,
        first_only: bool = False,
    ) -> Tensor:
        """One layer: self-attention and the two dense layers, each with its residual connection.

        Args:
            number: of the layer, from 0.
            x: [n * length, width], float32 or a type of 16 bits.
            padding: of the batch, from `padding`.
            drop: dropout.
            multiply: how the dense layers multiply; None: in the type of x.
            first_only: whether nothing but the first token's vector is wanted: all tokens are attended to, and what
                is computed for each of them after that, five sixths of a layer, is computed for the first alone.

        Returns:
            A tensor like x; with `first_only` [n, width].
        """
        import tensorflow as tf

        config, name = self.config, f"layer_{number}"
        width, heads = config.hidden_size, config.num_attention_heads
        head_width = width // heads
        shape = tf.shape(padding)
        batch, length = shape[0], shape[3]

        dense = functools.partial(self._dense, multiply=multiply or _product)
        projection = f"{name}/self_attention/query_key_value"
        if first_only:
            projected = dense(projection, x, columns=slice(width, None))
            split = tf.reshape(projected, [batch, length, 2, heads, head_width])
            key, value = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
            x = tf.reshape(x, [batch, length, width])[:, 0]
            query = dense(projection, x, columns=slice(None, width))
            query = tf.transpose(tf.reshape(query, [batch, 1, heads, head_width]), [0, 2, 1, 3])
            length = 1
        else:
            split = tf.reshape(dense(projection, x), [batch, length, 3, heads, head_width])
            query, key, value = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
        scores = tf.cast(tf.matmul(query * head_width**-0.5, key, transpose_b=True), tf.float32) + padding
        share = drop(tf.cast(tf.nn.softmax(scores), x.dtype), config.attention_probs_dropout_prob)
        attended = tf.reshape(tf.transpose(tf.matmul(share, value), [0, 2, 1, 3]), [batch * length, width])
        attended = dense(f"{name}/self_attention/output", attended)
        x = self._layer_norm(f"{name}/self_attention_layer_norm", x + drop(attended, config.hidden_dropout_prob))
        transformed = dense(f"{name}/output", self.gelu(dense(f"{name}/intermediate", x)))
        return self._layer_norm(f"{name}/output_layer_norm", x + drop(transformed, config.hidden_dropout_prob))

    def _look_up(self, word_ids: Tensor) -> Tensor:
        import tensorflow as tf

        table = self._by_name[WORDS]
        if self._other_words is None:
            return tf.gather(table, word_ids)
        in_table = word_ids < table.shape[0]
        words = tf.gather(table, tf.where(in_table, word_ids, 0))
        others = tf.gather(self._other_words, tf.where(in_table, 0, word_ids - table.shape[0]))
        return tf.where(in_table[:, :, tf.newaxis], words, others)

    def pool(self, first: Tensor) -> Tensor:
        """The pooled output: a dense layer with tanh over the first token's vector, float32[n, width]."""
        import tensorflow as tf

        return tf.tanh(self._dense("pooler", first, _product))

    def _dense(self, name: str, x: Tensor, multiply: Product, columns: slice = slice(None)) -> Tensor:
        import tensorflow as tf

        kernel, bias = self._by_name[f"{name}/kernel"], tf.cast(self._by_name[f"{name}/bias"], x.dtype)
        if columns != slice(None):
            kernel, bias = kernel[:, columns], bias[columns]
        return tf.nn.bias_add(multiply(x, kernel), bias)

    def _layer_norm(self, name: str, x: Tensor) -> Tensor:
        import tensorflow as tf

        gamma, beta = (tf.convert_to_tensor(self._by_name[f"{name}/{part}"]) for part in ("gamma", "beta"))
        normal = self.normalise(tf.cast(x, tf.float32), gamma, beta, self.config.layer_norm_eps)
        return tf.cast(normal, x.dtype)


def weights_from_hugging_face(
    config: BertConfig, weights: Mapping[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """The weights under this module's names.

    Args:
        config: the architecture.
        weights: arrays under the names that Hugging Face's `BertModel` gives them.

    Returns:
        Arrays by name, from the input to the output.
    """
    named: dict[str, npt.NDArray[np.float32]] = {
        WORDS: weights["embeddings.word_embeddings.weight"],
        "embeddings/position_embeddings": weights["embeddings.position_embeddings.weight"],
        "embeddings/type_embeddings": weights["embeddings.token_type_embeddings.weight"],
    }

    def dense(name: str, *sources: str) -> None:
        # PyTorch keeps [out, in]. Several sources become one matrix: one large product is faster than three.
        named[f"{name}/kernel"] = np.concatenate([weights[f"{source}.weight"].T for source in sources], 1)
        named[f"{name}/bias"] = np.concatenate([weights[f"{source}.bias"] for source in sources])

    def layer_norm(name: str, source: str) -> None:
        named[f"{name}/gamma"] = weights[f"{source}.weight"]
        named[f"{name}/beta"] = weights[f"{source}.bias"]

    layer_norm("embeddings/layer_norm", "embeddings.LayerNorm")
    for number in range(config.num_hidden_layers):
        ours, theirs = f"layer_{number}", f"encoder.layer.{number}"
        attention = f"{theirs}.attention"
        projections = [f"{attention}.self.{part}" for part in ("query", "key", "value")]
        dense(f"{ours}/self_attention/query_key_value", *projections)
        dense(f"{ours}/self_attention/output", f"{attention}.output.dense")
        layer_norm(f"{ours}/self_attention_layer_norm", f"{attention}.output.LayerNorm")
        dense(f"{ours}/intermediate", f"{theirs}.intermediate.dense")
        dense(f"{ours}/output", f"{theirs}.output.dense")
        layer_norm(f"{ours}/output_layer_norm", f"{theirs}.output.LayerNorm")
    dense("pooler", "pooler.dense")
    return named


class Architecture(BaseModel):
    """`architecture.json`: what is needed to build the encoder from its SavedModel's variables.

    Args:
        config: the architecture.
        variables: the names of the variables, in the order in which the SavedModel lists them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: BertConfig
    variables: list[str]


def read_weights(model: Path) -> tuple[BertConfig, Iterator[tuple[str, npt.NDArray[np.float32]]]] | None:
    """Read the architecture and the weights of an encoder that was saved from a `Bert`.

    Args:
        model: a `model` artifact's folder.

    Returns:
        Its configuration, and names with arrays, each of which is read when it is asked for; None for an encoder that
        arrived as a SavedModel, whose layers cannot be told apart.
    """
    if not (model / ARCHITECTURE).exists():
        return None
    import tensorflow as tf

    architecture = Architecture.model_validate_json((model / ARCHITECTURE).read_bytes())
    checkpoint = tf.train.load_checkpoint(str(model / "encoder" / "variables" / "variables"))
    return architecture.config, (
        (name, checkpoint.get_tensor(f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE"))
        for number, name in enumerate(architecture.variables)
    )


def _group(name: str) -> int:
    """0 for the embeddings, 1 for the first layer, and so on; more than there can be layers for the pooler."""
    part = name.partition("/")[0]
    if part == "embeddings":
        return 0
    return int(part.removeprefix("layer_")) + 1 if part.startswith("layer_") else 10**6


def _product(x: Tensor, kernel: Tensor) -> Tensor:
    import tensorflow as tf

    return tf.matmul(x, tf.cast(kernel, x.dtype))


def layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """Layer normalisation (Ba et al. 2016) over the last dimension."""
    import tensorflow as tf

    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    return centred * (tf.math.rsqrt(variance + epsilon) * gamma) + beta


def gelu(x: Tensor) -> Tensor:
    """The exact GELU (Hendrycks & Gimpel 2016). tf.nn.gelu is the same through Erfc, which ONNX does not have."""
    import tensorflow as tf

    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))
