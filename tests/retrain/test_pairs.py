"""Pairs of texts: what the encoder reads of them, and that it learns which of the two is which."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hubtune.errors import UnsupportedModel
from hubtune.inference.pairs import join_pair
from schemas.handoff import ModelFacts
from tasks.retrain.embed import embed
from tasks.retrain.embeddings import distinct_keys
from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import TokenIds, read_examples, restrict_vocabulary
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.tokenise import tokenise
from tests.retrain.runs import run_training
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, POSITIONS, WORDS, recipe, write_rows

TEXTS = ["{} !", "there was {} again", "{} and {}"]


@pytest.fixture(scope="module")
def paired(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two texts of different classes; the pair has the class of the second. Rows and tokens."""
    folder = tmp_path_factory.mktemp("paired")
    frames = itertools.cycle(itertools.product(TEXTS, TEXTS))
    rows = []
    for first, second in itertools.permutations(range(len(LABELS)), 2):
        for a, b in itertools.product(WORDS[LABELS[first]], WORDS[LABELS[second]]):
            one, other = next(frames)
            rows.append((join_pair(one.format(a, a), other.format(b, b)), second))
    shuffled = [rows[position] for position in np.random.default_rng(0).permutation(len(rows))]
    splits = {"train": shuffled[:140], "validation": shuffled[140:180], "test": shuffled[180:]}
    write_rows(folder / "rows", splits, LABELS)
    (folder / "tokens").mkdir()
    tokenise(model, folder / "rows", MAX_LENGTH, POSITIONS, folder / "tokens", print)
    return folder / "rows", folder / "tokens"


def test_the_second_text_is_the_second_segment(paired: tuple[Path, Path]) -> None:
    written = pl.read_parquet(paired[1] / "train.parquet")
    assert written.columns == ["key", "ids", "first", "label"]
    inputs = read_examples(paired[1], "train").inputs
    assert isinstance(inputs, TokenIds)
    rows = np.array([3, 0, 5])
    end = 3  # of the small vocabulary
    _, _, (renumbered,) = restrict_vocabulary(inputs, [])
    for tokens in (inputs, inputs.select(np.arange(6)), renumbered):
        batch = tokens.batch(rows)
        for ids, types, row in zip(written["ids"].gather(rows), batch["input_type_ids"].tolist(), rows, strict=True):
            first = ids.to_list().index(end) + 1
            assert written["first"][int(row)] == first
            assert types == [0] * first + [1] * (len(ids) - first) + [0] * (len(types) - len(ids))


def test_an_encoder_reads_segments_as_its_saved_model_does(model: Path, paired: tuple[Path, Path]) -> None:
    tf = start_tensorflow()
    features: Any = read_examples(paired[1], "test").inputs.batch(np.arange(8))
    expected = tf.saved_model.load(str(model / "encoder"))(features, training=False)["sequence_output"][:, 0]
    encoder = load_encoder(model, FACTS, recipe(pooling="cls"), Plan(0, None), pairs=True)
    found = encoder.text_vectors(features, None)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    one_segment = encoder.text_vectors(features | {"input_type_ids": features["input_type_ids"] * 0}, None)
    assert np.abs(found - one_segment).max() > 1e-2


def test_which_text_is_the_second_is_learned(model: Path, paired: tuple[Path, Path], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"mode": "fine_tuning", "epochs": 16, "learning_rate": 5e-3, "batch_size": 16}
    trained = run_training(model, *paired, tmp_path, **settings)
    assert trained.description["pairs"] is True
    answers = pl.read_parquet(tmp_path / "answers" / "test.parquet")
    right = (answers["logits"].list.arg_max() == answers["label"]).mean()
    # Whoever does not tell the texts apart is right in half of the pairs at best.
    assert isinstance(right, float)
    assert right > 0.8


def test_pairs_are_embedded_with_both_segments(model: Path, paired: tuple[Path, Path], tmp_path: Path) -> None:
    tokens = paired[1]
    embed(model, FACTS, tokens, distinct_keys(tokens), recipe(), tmp_path, print)
    examples = read_examples(tokens, "validation")
    encoder = load_encoder(model, FACTS, recipe(), Plan(0, None), pairs=True)
    (row,) = np.flatnonzero((np.load(tmp_path / "keys.npy") == examples.keys[7]).all(axis=1))
    expected = encoder.text_vectors(examples.inputs.batch(np.array([7])), None)[0]
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy")[row], expected, atol=1e-5)


def test_what_takes_single_texts_refuses_pairs(model: Path, paired: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="takes single ones") as refused:
        read_examples(paired[0], "train")
    assert "data.text_pair" in refused.value.remedy
    with pytest.raises(UnsupportedModel, match="takes single ones"):
        tokenise(model, paired[0], MAX_LENGTH, POSITIONS, tmp_path, print, takes_pairs=False)
    start_tensorflow()
    architecture = json.loads((model / "architecture.json").read_bytes())
    architecture["config"]["type_vocab_size"] = 1
    (tmp_path / "architecture.json").write_text(json.dumps(architecture), encoding="utf-8")
    (tmp_path / "encoder").symlink_to(model / "encoder")
    facts = ModelFacts.model_validate(FACTS)
    with pytest.raises(UnsupportedModel, match="no vector for a second segment"):
        load_encoder(tmp_path, facts, recipe(), Plan(0, None), pairs=True)
