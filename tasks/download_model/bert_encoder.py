"""BERT's encoder (Devlin et al. 2019; Vaswani et al. 2017, section 3) as plain TensorFlow, with TF Hub's interface.

Plain variables and ops, no Keras: the saved graph is what every training step runs, and what is converted to ONNX.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

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


def build_encoder(config: BertConfig, weights: Mapping[str, Any]) -> Any:
    """Build the encoder: input_word_ids, input_mask, input_type_ids (int32[n, length]) -> its outputs (float32).

    The outputs are `pooled_output` and `default` [n, width], `sequence_output` [n, length, width] and
    `encoder_outputs`, a list with the sequence output of each layer.

    Args:
        config: the architecture.
        weights: arrays under the names that Hugging Face's `BertModel` gives them.

    Returns:
        A trackable object with `variables`, `trainable_variables` and `regularization_losses`, to be saved with
        `tf.saved_model.save`.
    """
    import numpy as np
    import tensorflow as tf

    variables: list[Any] = []
    width, heads = config.hidden_size, config.num_attention_heads
    head_width = width // heads

    def variable(name: str, value: Any) -> Any:
        made = tf.Variable(np.ascontiguousarray(value, np.float32), name=name, trainable=True)
        variables.append(made)
        return made

    def dense(name: str, *sources: str) -> Any:
        # PyTorch keeps [out, in]. Several sources become one matrix: one large product is faster than three.
        kernel = variable(f"{name}/kernel", np.concatenate([weights[f"{source}.weight"].T for source in sources], 1))
        bias = variable(f"{name}/bias", np.concatenate([weights[f"{source}.bias"] for source in sources]))
        return lambda x: tf.nn.bias_add(tf.matmul(x, kernel), bias)

    def layer_norm(name: str, source: str) -> Any:
        gamma = variable(f"{name}/gamma", weights[f"{source}.weight"])
        beta = variable(f"{name}/beta", weights[f"{source}.bias"])

        def apply(x: Any) -> Any:
            centred = x - tf.reduce_mean(x, -1, keepdims=True)
            variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
            return centred * (tf.math.rsqrt(variance + config.layer_norm_eps) * gamma) + beta

        return apply

    words = variable("embeddings/word_embeddings", weights["embeddings.word_embeddings.weight"])
    positions = variable("embeddings/position_embeddings", weights["embeddings.position_embeddings.weight"])
    types = variable("embeddings/type_embeddings", weights["embeddings.token_type_embeddings.weight"])
    embeddings_norm = layer_norm("embeddings/layer_norm", "embeddings.LayerNorm")
    layers = []
    for number in range(config.num_hidden_layers):
        ours, theirs = f"layer_{number}", f"encoder.layer.{number}"
        attention = f"{theirs}.attention"
        projections = [f"{attention}.self.{part}" for part in ("query", "key", "value")]
        layers.append(
            (
                dense(f"{ours}/self_attention/query_key_value", *projections),
                dense(f"{ours}/self_attention/output", f"{attention}.output.dense"),
                layer_norm(f"{ours}/self_attention_layer_norm", f"{attention}.output.LayerNorm"),
                dense(f"{ours}/intermediate", f"{theirs}.intermediate.dense"),
                dense(f"{ours}/output", f"{theirs}.output.dense"),
                layer_norm(f"{ours}/output_layer_norm", f"{theirs}.output.LayerNorm"),
            )
        )
    pooler = dense("pooler", "pooler.dense")

    @tf.function(autograph=False)
    def encode(inputs: Mapping[str, Any], training: bool = False, mask: None = None) -> dict[str, Any]:
        del mask  # Keras passes one; the inputs bring their own.
        seeds = iter(range(1, 10_000))

        def dropout(x: Any, rate: float) -> Any:
            # A fixed seed for each op, so that training in a new process repeats. A saved op without one never does.
            return tf.nn.dropout(x, rate, seed=next(seeds)) if training and rate else x

        word_ids, type_ids = inputs["input_word_ids"], inputs["input_type_ids"]
        batch, length = tf.unstack(tf.shape(word_ids))

        def attend(qkv: Any, padding: Any) -> Any:
            split = tf.reshape(qkv, [batch, length, 3, heads, head_width])
            query, key, value = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4]))
            scores = tf.matmul(query * head_width**-0.5, key, transpose_b=True) + padding
            share = dropout(tf.nn.softmax(scores), config.attention_probs_dropout_prob)
            return tf.reshape(tf.transpose(tf.matmul(share, value), [0, 2, 1, 3]), [batch * length, width])

        # A product instead of a look-up: its gradient is one too, where a look-up's is a row for each token.
        type_vectors = tf.matmul(tf.one_hot(tf.reshape(type_ids, [-1]), config.type_vocab_size), types)
        x = tf.gather(words, word_ids) + positions[:length] + tf.reshape(type_vectors, [batch, length, width])
        x = dropout(embeddings_norm(tf.reshape(x, [batch * length, width])), config.hidden_dropout_prob)
        padding = (1.0 - tf.cast(inputs["input_mask"], tf.float32))[:, tf.newaxis, tf.newaxis, :] * _MASKED
        outputs = []
        for project, attention_output, attention_norm, intermediate, output, output_norm in layers:
            attended = attention_output(attend(project(x), padding))
            x = attention_norm(x + dropout(attended, config.hidden_dropout_prob))
            transformed = output(_gelu(intermediate(x)))
            x = output_norm(x + dropout(transformed, config.hidden_dropout_prob))
            outputs.append(tf.reshape(x, [batch, length, width]))
        pooled = tf.tanh(pooler(outputs[-1][:, 0]))
        return {
            "default": pooled,
            "pooled_output": pooled,
            "sequence_output": outputs[-1],
            "encoder_outputs": outputs,
        }

    names = ("input_word_ids", "input_mask", "input_type_ids")
    for training in (False, True):
        encode.get_concrete_function(
            {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in names}, training=training, mask=None
        )
    encoder = tf.train.Checkpoint()
    encoder.__call__ = encode
    encoder.variables = variables
    encoder.trainable_variables = list(variables)
    encoder.regularization_losses = []
    return encoder


def _gelu(x: Any) -> Any:
    # Hendrycks & Gimpel 2016, exact. tf.nn.gelu computes the same through Erfc, which has no ONNX counterpart.
    import tensorflow as tf

    return 0.5 * x * (1.0 + tf.math.erf(x * 0.5**0.5))
