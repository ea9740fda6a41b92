"""Dropout inside a SavedModel, which carries no seed (as TF Hub's encoders) or the same one for ever."""

from pathlib import Path
from typing import Any

import pytest

from tasks.retrain.seeded_model import load_seeded
from tasks.retrain.tensorflow_setup import start_tensorflow


@pytest.mark.parametrize("seed_in_file", [0, 5], ids=["none in the file", "a fixed one"])
def test_what_is_dropped_follows_from_the_seed(tmp_path: Path, seed_in_file: int) -> None:
    tf = start_tensorflow()
    _save(tmp_path / "model", seed_in_file)
    before = sorted(tmp_path.rglob("*"))

    def draws(seed: int) -> list[Any]:
        model = load_seeded(tmp_path / "model", seed)
        return [model(tf.ones([200])).numpy().tolist() for _ in range(3)]

    first, again, other = draws(1), draws(1), draws(2)
    assert first == again
    assert first != other
    assert first[0] != first[1], "each step drops other units"
    one, two = load_seeded(tmp_path / "model", 1).two(tf.ones([200]))
    assert one.numpy().tolist() != two.numpy().tolist(), "each op drops other units"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_random_ops_is_loaded_as_it_is(tmp_path: Path) -> None:
    tf = start_tensorflow()
    plain = tf.train.Checkpoint(weight=tf.Variable(3.0))
    plain.__call__ = tf.function(lambda x: plain.weight * x, input_signature=[tf.TensorSpec([])])
    tf.saved_model.save(plain, str(tmp_path))
    assert load_seeded(tmp_path, 1)(tf.constant(2.0)).numpy() == 6


def _save(folder: Path, seed: int) -> None:
    import tensorflow as tf

    def dropped(x: Any) -> Any:
        # As dropout is saved. The raw op, since TensorFlow itself refuses to trace one without a seed by now.
        drawn = tf.raw_ops.RandomUniform(shape=tf.shape(x), dtype=tf.float32, seed=seed, seed2=seed)
        return tf.where(drawn < 0.5, 0.0, 2 * x)

    saved = tf.train.Checkpoint()
    vector = [tf.TensorSpec([None])]
    saved.__call__ = tf.function(dropped, input_signature=vector)
    saved.two = tf.function(lambda x: (dropped(x), dropped(x)), input_signature=vector)
    tf.saved_model.save(saved, str(folder))
