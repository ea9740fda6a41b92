"""The converted encoder, compared with the reference implementation's own outputs (make_reference.py)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.download_model.conftest import Fetched

pytestmark = pytest.mark.slow

REFERENCE = np.load(Path(__file__).parent / "reference_minilm.npz", allow_pickle=False)
NAMES = sorted({key.split("/")[0] for key in REFERENCE})
MOST_DIFFERENCE = 1e-4


@pytest.fixture(scope="module")
def encoder(starter_model: Fetched) -> Any:
    import tensorflow as tf

    return tf.saved_model.load(str(starter_model.folder / "encoder"))


def inputs(*rows: np.ndarray[Any, Any], length: int | None = None) -> dict[str, Any]:
    import tensorflow as tf

    length = length or max(len(row) for row in rows)
    ids = np.stack([np.pad(row, (0, length - len(row))) for row in rows])
    mask = np.stack([np.arange(length) < len(row) for row in rows])
    constants = {"input_word_ids": ids, "input_mask": mask, "input_type_ids": np.zeros_like(ids)}
    return {name: tf.constant(value, tf.int32) for name, value in constants.items()}


def differences(name: str, outputs: dict[str, Any], row: int = 0) -> dict[str, float]:
    ids = REFERENCE[f"{name}/ids"]
    sequence = outputs["sequence_output"].numpy()[row, : len(ids)]
    kept = REFERENCE[f"{name}/sequence"]
    layers = [layer.numpy()[row, : len(ids)] for layer in outputs["encoder_outputs"]]
    return {
        "sequence": np.abs(sequence[:, : kept.shape[1]] - kept).max(),
        "mean": np.abs(sequence.mean(0) - REFERENCE[f"{name}/mean"]).max(),
        "pooled": np.abs(outputs["pooled_output"].numpy()[row] - REFERENCE[f"{name}/pooled"]).max(),
        "norms": np.abs(np.linalg.norm(layers, axis=-1) - REFERENCE[f"{name}/norms"]).max(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_the_reference_gives(name: str, encoder: Any) -> None:
    found = differences(name, encoder(inputs(REFERENCE[f"{name}/ids"])))
    assert max(found.values()) < MOST_DIFFERENCE, found


def test_padding_and_neighbours_change_nothing(encoder: Any) -> None:
    short = [name for name in NAMES if len(REFERENCE[f"{name}/ids"]) <= 64]
    outputs = encoder(inputs(*(REFERENCE[f"{name}/ids"] for name in short), length=70))
    worst = max(value for row, name in enumerate(short) for value in differences(name, outputs, row).values())
    assert worst < MOST_DIFFERENCE


def test_its_outputs_are_those_of_tf_hub(encoder: Any) -> None:
    outputs = encoder(inputs(REFERENCE["plain/ids"]))
    assert sorted(outputs) == ["default", "encoder_outputs", "pooled_output", "sequence_output"]
    assert len(outputs["encoder_outputs"]) == 6
    assert np.array_equal(outputs["encoder_outputs"][-1], outputs["sequence_output"])
    assert np.array_equal(outputs["default"], outputs["pooled_output"])
    assert len(encoder.variables) == len(encoder.trainable_variables) == 79
    assert list(encoder.regularization_losses) == []
    assert encoder.trainable_variables[5].name == "layer_0/self_attention/query_key_value/kernel:0"


def test_segments_are_told_apart(encoder: Any) -> None:
    import tensorflow as tf

    given = inputs(REFERENCE["plain/ids"])
    other = given | {"input_type_ids": tf.ones_like(given["input_type_ids"])}
    assert not np.allclose(encoder(given)["pooled_output"], encoder(other)["pooled_output"], atol=1e-3)


def test_dropout_falls_only_while_training(encoder: Any) -> None:
    given = inputs(REFERENCE["plain/ids"])
    still = encoder(given, training=False)["sequence_output"].numpy()
    assert np.array_equal(encoder(given)["sequence_output"], still)
    one, two = (encoder(given, training=True)["sequence_output"].numpy() for _ in range(2))
    assert not np.allclose(one, still, atol=0.01)
    assert not np.allclose(one, two, atol=0.01)


def test_every_variable_can_be_trained(encoder: Any) -> None:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = encoder(inputs(REFERENCE["plain/ids"]), training=True)
        loss = tf.reduce_sum(outputs["sequence_output"][..., 0]) + tf.reduce_sum(outputs["pooled_output"])
    gradients = tape.gradient(loss, encoder.trainable_variables)
    names = [v.name for v, g in zip(encoder.trainable_variables, gradients, strict=True) if g is None]
    assert names == []


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")
def test_it_is_a_layer_of_keras_as_every_hub_model(starter_model: Fetched) -> None:
    import tensorflow as tf
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401

    preprocess = hub.KerasLayer(str(starter_model.folder / "preprocessor"))
    encode = hub.KerasLayer(str(starter_model.folder / "encoder"), trainable=True)
    with tf.GradientTape() as tape:
        outputs = encode(preprocess(tf.constant(["What is it?", "A stone."])), training=True)
        loss = tf.reduce_sum(outputs["pooled_output"])
    assert outputs["sequence_output"].shape == [2, 128, 384]
    assert len(encode.trainable_variables) == 79
    assert all(gradient is not None for gradient in tape.gradient(loss, encode.trainable_variables))
