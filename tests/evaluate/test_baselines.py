"""Baselines fitted on tiny written sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.handoff import Split
from tasks.evaluate import baselines
from tasks.evaluate.baselines import Texts, bag_of_words, majority_class

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"

TRAIN = [("good bread", 0), ("very good train", 0), ("good", 0), ("bad maps", 1), ("a bad ferry", 1)]
TEST = [("good tables", 0), ("bad tables", 1)]


def texts(rows: Sequence[tuple[str, int]]) -> Texts:
    return Texts([text for text, _ in rows], np.array([label for _, label in rows], np.int32))


def test_the_majority_class_is_that_of_training() -> None:
    baseline = majority_class(texts(TRAIN), {"validation": texts(TEST), "test": texts(TEST[1:])}, 3)
    assert {split: part.shape for split, part in baseline.log_probabilities.items()} == {
        "validation": (2, 3),
        "test": (1, 3),
    }
    # One row more of each class: (3 + 1, 2 + 1, 0 + 1) of 5 + 3.
    assert np.exp(baseline.log_probabilities["test"][0]).tolist() == pytest.approx([0.5, 0.375, 0.125])


def test_words_are_weighed() -> None:
    baseline = bag_of_words(texts(TRAIN), {"validation": texts(TEST), "test": texts(TEST)}, 2)
    assert baseline.log_probabilities["test"].argmax(axis=1).tolist() == [0, 1]
    assert np.exp(baseline.log_probabilities["test"]).sum(axis=1) == pytest.approx([1, 1])
    assert "5 of 5 training rows" in baseline.description


def test_a_class_without_training_rows_is_never_likely() -> None:
    held_out: dict[Split, Texts] = {"validation": texts(TEST), "test": texts([*TEST, ("bad", 2)])}
    answered = bag_of_words(texts(TRAIN), held_out, 3).log_probabilities["test"]
    assert answered.shape == (3, 3)
    assert np.isfinite(answered).all()
    assert set(answered.argmax(axis=1)) == {0, 1}


def test_texts_without_words_get_the_shares_of_the_classes() -> None:
    train, test = texts([("!!", 0), ("?", 1), ("...", 1)]), texts([("!", 0)])
    baseline = bag_of_words(train, {"validation": test, "test": test}, 2)
    assert baseline.log_probabilities["test"].argmax(axis=1).tolist() == [1]
    assert "no words" in baseline.description


def test_limits_hold_and_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "ROWS", 4)
    monkeypatch.setattr(baselines, "CHARACTERS", 5)
    monkeypatch.setattr(baselines, "FEATURES", 2)
    baseline = bag_of_words(texts(TRAIN), {"validation": texts(TEST), "test": texts(TEST)}, 2)
    assert baseline.description.startswith(
        "Fitted on 4 of 5 training rows, the first 5 characters of each text; 2 words"
    )


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize(("name", "accuracy"), [("trec6", 0.86), ("sst2", 0.79)])
def test_real_questions_and_reviews(name: str, accuracy: float) -> None:
    splits = {}
    for split in ("train", "validation", "test"):
        table = pl.read_csv(DATA / name / f"{split}.csv", schema_overrides={"text": pl.String, "label": pl.Int32})
        splits[split] = Texts(table["text"].to_list(), table["label"].to_numpy())
    held_out: dict[Split, Texts] = {"validation": splits["validation"], "test": splits["test"]}
    answered = bag_of_words(splits["train"], held_out, 1 + int(splits["train"].labels.max()))
    assert (answered.log_probabilities["test"].argmax(axis=1) == splits["test"].labels).mean() > accuracy
