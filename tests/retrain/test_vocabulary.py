"""Words that do not occur need no row in the table that is trained, and keep the one that they have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import TokenIds, restrict_vocabulary
from tasks.retrain.layered_encoder import LayeredEncoder
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.tokenise import tokenise
from tests.retrain.runs import Run, pretrained, run_training, with_effect
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, POSITIONS, WIDTH, recipe, topics, write_rows

TABLE = "embeddings/word_embeddings:0"
IDS = st.lists(st.lists(st.integers(0, 30_000), max_size=12), min_size=1, max_size=8)


@given(st.lists(IDS, min_size=1, max_size=3))
def test_numbers_stand_for_the_words_that_they_replace(splits: list[list[list[int]]]) -> None:
    texts = [TokenIds.of(split) for split in splits]
    used, others, renumbered = restrict_vocabulary(texts[0], texts[1:])
    occurring, in_training = (
        {word for split in part for text in split for word in text} for part in (splits, splits[:1])
    )
    assert used.tolist() == sorted(in_training | {0})
    assert used[0] == 0, "what stands in padding stays what it is"
    assert others.tolist() == sorted(occurring - in_training - {0})
    assert len(renumbered) == len(texts)
    both = np.concatenate([used, others])
    for given_ids, numbers in zip(texts, renumbered, strict=True):
        assert both[numbers.values].tolist() == given_ids.values.tolist()
        assert numbers.offsets.tolist() == given_ids.offsets.tolist()
        assert numbers.values.dtype == np.int32


def test_an_encoder_gives_the_same_with_fewer_words(model: Path) -> None:
    start_tensorflow()
    whole, restricted = (load_encoder(model, FACTS, recipe(), Plan(0, None)) for _ in range(2))
    assert isinstance(restricted, LayeredEncoder)
    texts = [TokenIds.of([[2, 9, 40, 3], [2, 17, 3], [2, 9, 9, 9, 31, 3]]), TokenIds.of([[2, 9, 8, 3], [2, 41, 8, 3]])]
    used, others, numbers = restrict_vocabulary(texts[0], texts[1:])
    restricted.bert.restrict_words(used, others)
    assert restricted.groups[0][0].name == TABLE
    assert restricted.groups[0][0].shape == (7, WIDTH)
    assert sum(len(group) for group in restricted.groups) == sum(len(group) for group in whole.groups)
    for split, numbered in zip(texts, numbers, strict=True):
        rows = np.arange(len(split.lengths))
        batches = ((whole, split), (restricted, numbered))
        vectors = [encoder.text_vectors(ids.batch(rows), None) for encoder, ids in batches]
        assert np.array_equal(*vectors)


@pytest.fixture(scope="module")
def few_words(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Rows and tokens in which no word of the third class occurs in training."""
    texts = [row for row in topics() if row[1] != 2]
    shuffled = [texts[place] for place in np.random.default_rng(0).permutation(len(texts))]
    foreign = [(row[0], 0) for row in topics() if row[1] == 2][:6]
    splits = {"train": shuffled[:96], "validation": [*shuffled[96:120], *foreign], "test": shuffled[120:144]}
    rows = write_rows(tmp_path_factory.mktemp("few_words"), splits, LABELS)
    tokens = tmp_path_factory.mktemp("few_tokens")
    tokenise(model, rows, MAX_LENGTH, POSITIONS, tokens, print)
    return rows, tokens


def test_training_is_the_same_with_the_words_that_occur(
    model: Path, few_words: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> Run:
        (tmp_path / name).mkdir()
        settings: dict[str, Any] = {"mode": "fine_tuning", "epochs": 2, "learning_rate": 1e-3, "weight_decay": 0.0}
        return run_training(model, *few_words, tmp_path / name, **settings)

    restricted = run("restricted")
    # There is no option for it: nobody wants the slow way.
    monkeypatch.setattr(
        "tasks.retrain.train.restrict_vocabulary",
        lambda train, held_out: (np.arange(FACTS.vocabulary or 0), np.empty(0, np.int32), [train, *held_out]),
    )
    whole = run("whole")
    assert restricted.steps["loss"].to_list() == pytest.approx(whole.steps["loss"].to_list(), abs=1e-5)
    # Words of validation that are not trained are looked up all the same.
    for found, expected in zip(restricted.history, whole.history, strict=True):
        assert found["validation"]["loss"] == pytest.approx(expected["validation"]["loss"], abs=1e-5)
    for weights, others in ((restricted.encoder, whole.encoder), (restricted.head, whole.head)):
        other = with_effect(others)
        for name, value in with_effect(weights).items():
            np.testing.assert_allclose(value, other[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_words_that_do_not_occur_keep_their_vectors(
    weight_decay: float, model: Path, few_words: tuple[Path, Path], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"mode": "fine_tuning", "epochs": 1, "learning_rate": 1e-2, "weight_decay": weight_decay}
    run = run_training(model, *few_words, tmp_path, **settings)
    before, after = pretrained(model)[TABLE], run.encoder[TABLE]
    vocabulary = (model / "tokenizer" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    moved = {vocabulary[row] for row in np.flatnonzero((before != after).any(axis=1))}
    words = {word for text, label in topics() for word in text.split() if label != 2}
    never = {word for text, label in topics() for word in text.split() if label == 2} - words
    assert len(never) == 6
    assert {"[CLS]", "[SEP]"} | words >= moved - {"[PAD]"}
    assert moved >= {"[CLS]", "[SEP]", "rain", "bread", "and"}
    assert not moved & (never | {"[UNK]"})
