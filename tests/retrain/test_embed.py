"""Text vectors: independent of the batch, and computed once."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hubtune.errors import TrainingFailed
from schemas.handoff import ModelFacts
from tasks.retrain.embed import embed
from tasks.retrain.embeddings import Embeddings, distinct_keys
from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import read_examples
from tasks.retrain.plan import Plan
from tasks.retrain.tokenise import tokenise
from tests.retrain.small_inputs import FACTS, MAX_LENGTH, POSITIONS, recipe, topics, write_rows

MODULE = Path(__file__).parents[2] / ".." / "shared" / "models" / "w2v_googlenews_8k_dim300"
Embed = Callable[..., tuple[Path, list[str]]]


@pytest.fixture
def embedding(model: Path, tmp_path: Path) -> Embed:
    def run(texts: Path, known: list[Path], name: str) -> tuple[Path, list[str]]:
        folder, lines = tmp_path / name, list[str]()
        folder.mkdir()
        keys = distinct_keys(texts)
        facts = embed(model, FACTS, texts, keys[Embeddings(known).unknown(keys)], recipe(), folder, lines.append)
        assert facts.texts == len(np.load(folder / "keys.npy"))
        return folder, lines

    return run


def test_a_vector_does_not_depend_on_its_batch(embedding: Embed, model: Path, tokens: Path) -> None:
    folder, _ = embedding(tokens, [], "all")
    examples = read_examples(tokens, "test")
    encoder = load_encoder(model, FACTS, recipe(), Plan(0, None))
    alone = [
        encoder.text_vectors(examples.inputs.batch(np.array([row])), None).numpy()[0] for row in range(len(examples))
    ]
    together = Embeddings([folder]).look_up(examples.keys)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert together.std(axis=0).min() > 0.01


def test_only_new_texts_are_embedded(embedding: Embed, model: Path, rows: Path, tokens: Path, tmp_path: Path) -> None:
    first, lines = embedding(tokens, [], "first")
    assert lines[-1].startswith("Embedding: 360 texts done in ")

    # Ten new rows, two of them the same text, and one that is known in another split.
    known = pl.read_parquet(rows / "train.parquet")["text"][0]
    new = [(f"{text} indeed", label) for text, label in topics()[:9]] + [(f"{topics()[0][0]} indeed", 0), (known, 1)]
    more = tmp_path / "more"
    shutil.copytree(rows, more)
    write_rows(more, {"test": new}, ["weather", "food", "music"])
    more_tokens = tmp_path / "more_tokens"
    more_tokens.mkdir()
    tokenise(model, more, MAX_LENGTH, POSITIONS, more_tokens, print)
    second, lines = embedding(more_tokens, [first], "second")
    assert lines[-1].startswith("Embedding: 9 texts done in ")
    test = read_examples(more_tokens, "test")
    both = Embeddings([first, second])
    assert len(both.unknown(test.keys)) == 0
    everything, _ = embedding(more_tokens, [], "everything")
    np.testing.assert_allclose(both.look_up(test.keys), Embeddings([everything]).look_up(test.keys), atol=1e-5)


def test_equal_inputs_give_equal_bytes(embedding: Embed, tokens: Path) -> None:
    (first, _), (again, _) = embedding(tokens, [], "first"), embedding(tokens, [], "again")
    for name in ("keys.npy", "vectors.npy"):
        assert (first / name).read_bytes() == (again / name).read_bytes()


@pytest.mark.skipif(not MODULE.is_dir(), reason="../shared/models is not here")
def test_text_embedding_modules_take_the_rows_themselves(rows: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "module").symlink_to(MODULE.resolve())
    facts = ModelFacts(interface="text_embedding", width=300, parameters=2_400_300, trainable=True)
    folder = tmp_path / "embeddings"
    folder.mkdir()
    embed(tmp_path / "model", facts, rows, distinct_keys(rows), recipe(), folder, print)
    texts = pl.read_parquet(rows / "test.parquet")["text"].to_list()
    expected = tf.saved_model.load(str(MODULE))(tf.constant(texts)).numpy()
    vectors = Embeddings([folder]).look_up(read_examples(rows, "test").keys)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_vectors_that_are_not_numbers_are_refused(model: Path, tokens: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    broken = tf.saved_model.load(str(model / "encoder"))
    broken.trainable_variables[-4].assign(broken.trainable_variables[-4] * np.nan)
    tf.saved_model.save(broken, str(tmp_path / "model" / "encoder"))
    with pytest.raises(TrainingFailed, match="not finite for 360 texts"):
        embed(tmp_path / "model", FACTS, tokens, distinct_keys(tokens), recipe(), tmp_path, print)
