"""BERT's encoder with TF Hub's interface: what every later block loads, and what is converted to ONNX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.bert import ARCHITECTURE, Architecture, Bert
from tasks.saved_model_bytes import save_reproducibly

_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")


def save_encoder(bert: Bert, folder: Path) -> None:
    """Save an encoder: input_word_ids, input_mask, input_type_ids (int32[n, length]) -> its outputs (float32).

    The outputs are `pooled_output` and `default` [n, width], `sequence_output` [n, length, width] and
    `encoder_outputs`, a list with the sequence output of each layer. The loaded object has `variables`,
    `trainable_variables` and `regularization_losses`.

    Args:
        bert: the encoder, with all its layers.
        folder: a `model` artifact's folder; `encoder/` and `architecture.json` are written.
    """
    import tensorflow as tf

    config = bert.config

    @tf.function(autograph=False)
    def encode(inputs: Mapping[str, Any], training: bool = False, mask: None = None) -> dict[str, Any]:
        del mask  # Keras passes one; the inputs bring their own.
        seeds = iter(range(1, 10_000))

        def drop(x: Any, rate: float) -> Any:
            # A fixed seed for each op, so that training in a new process repeats. A saved op without one never does.
            return tf.nn.dropout(x, rate, seed=next(seeds)) if training and rate else x

        word_ids, padding = inputs["input_word_ids"], bert.padding(inputs["input_mask"])
        shape = tf.concat([tf.shape(word_ids), [config.hidden_size]], 0)
        x = bert.embed(word_ids, inputs["input_type_ids"], drop)
        outputs = []
        for number in range(config.num_hidden_layers):
            x = bert.layer(number, x, padding, drop)
            outputs.append(tf.reshape(x, shape))
        pooled = bert.pool(outputs[-1][:, 0])
        return {
            "default": pooled,
            "pooled_output": pooled,
            "sequence_output": outputs[-1],
            "encoder_outputs": outputs,
        }

    for training in (False, True):
        encode.get_concrete_function(
            {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in _INPUTS}, training=training, mask=None
        )
    encoder = tf.train.Checkpoint()
    encoder.__call__ = encode
    encoder.variables = bert.variables
    encoder.trainable_variables = bert.variables
    encoder.regularization_losses = []
    save_reproducibly(encoder, folder / "encoder")
    names = [variable.name.split(":")[0] for variable in bert.variables]
    architecture = Architecture(config=config, variables=names)
    (folder / ARCHITECTURE).write_text(architecture.model_dump_json(indent=1) + "\n", encoding="utf-8")
