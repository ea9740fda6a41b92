"""Baselines fitted on tiny written sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.handoff import Split
from tasks.evaluate import baselines
from tasks.evaluate.baselines import Texts, bag_of_words, bag_of_words_each, majority_answer, majority_class
from tasks.evaluate.reading import decide_each, sigmoid

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"

TRAIN = [("good bread", 0), ("very good train", 0), ("good", 0), ("bad maps", 1), ("a bad ferry", 1)]
TEST = [("good tables", 0), ("bad tables", 1)]


def texts(rows: Sequence[tuple[str, int]]) -> Texts:
    return Texts([text for text, _ in rows], np.array([label for _, label in rows], np.int32))


def test_the_majority_class_is_that_of_training() -> None:
    baseline = majority_class(texts(TRAIN), {"validation": texts(TEST), "test": texts(TEST[1:])}, 3)
    assert {split: part.shape for split, part in baseline.logits.items()} == {
        "validation": (2, 3),
        "test": (1, 3),
    }
    # One row more of each class: (3 + 1, 2 + 1, 0 + 1) of 5 + 3.
    assert np.exp(baseline.logits["test"][0]).tolist() == pytest.approx([0.5, 0.375, 0.125])


def test_words_are_weighed() -> None:
    baseline = bag_of_words(texts(TRAIN), {"validation": texts(TEST), "test": texts(TEST)}, 2)
    assert baseline.logits["test"].argmax(axis=1).tolist() == [0, 1]
    assert np.exp(baseline.logits["test"]).sum(axis=1) == pytest.approx([1, 1])
    assert "5 of 5 training rows" in baseline.description


def test_a_class_without_training_rows_is_never_likely() -> None:
    held_out: dict[Split, Texts] = {"validation": texts(TEST), "test": texts([*TEST, ("bad", 2)])}
    answered = bag_of_words(texts(TRAIN), held_out, 3).logits["test"]
    assert answered.shape == (3, 3)
    assert np.isfinite(answered).all()
    assert set(answered.argmax(axis=1)) == {0, 1}


def test_texts_without_words_get_the_shares_of_the_classes() -> None:
    train, test = texts([("!!", 0), ("?", 1), ("...", 1)]), texts([("!", 0)])
    baseline = bag_of_words(train, {"validation": test, "test": test}, 2)
    assert baseline.logits["test"].argmax(axis=1).tolist() == [1]
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
    assert (answered.logits["test"].argmax(axis=1) == splits["test"].labels).mean() > accuracy


OF_EACH = [
    ("good bread", [1, 0]),
    ("bread and maps", [1, 1]),
    ("old bread", [1, 0]),
    ("maps", [0, 1]),
    ("rivers", [0, 0]),
]


def texts_of_each(rows: Sequence[tuple[str, Sequence[int]]]) -> Texts:
    return Texts([text for text, _ in rows], np.array([belongs for _, belongs in rows], np.bool_))


def test_the_majority_answer_names_what_at_least_half_of_the_training_rows_belong_to() -> None:
    train = Texts(["a"] * 4, np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [1, 0, 1]], np.bool_))
    held_out = Texts(["b", "c"], np.zeros((2, 3), np.bool_))
    logits = majority_answer(train, {"validation": held_out, "test": held_out}).logits["test"]
    assert logits.shape == (2, 3)
    # One row more on both sides: 5 of 6, 3 of 6, 2 of 6.
    assert sigmoid(logits[0]).tolist() == pytest.approx([5 / 6, 3 / 6, 2 / 6])
    assert decide_each(logits).tolist() == [[True, True, False]] * 2


def test_words_are_weighed_for_each_class_as_scikit_learn_does_one_by_one() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train = texts_of_each(OF_EACH)
    test = texts_of_each([("bread", [1, 0]), ("maps of bread", [1, 1]), ("stars", [0, 0])])
    baseline = bag_of_words_each(train, {"validation": test, "test": test})
    assert "5 of 5 training rows" in baseline.description
    strength = float(baseline.description.split("C = ")[1].split(",")[0])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
    features = vectorizer.fit_transform(train.texts)
    for index in range(2):
        model = LogisticRegression(C=strength).fit(features, train.labels[:, index])
        expected = model.predict_proba(vectorizer.transform(test.texts))[:, 1]
        assert sigmoid(baseline.logits["test"][:, index]).tolist() == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_class_with_all_training_rows_on_one_side_gets_a_sure_answer() -> None:
    train = texts_of_each([("bread", [1, 0]), ("maps", [1, 0]), ("rivers", [1, 0])])
    test = texts_of_each([("bread", [1, 1]), ("stars", [0, 0])])
    logits = bag_of_words_each(train, {"validation": test, "test": test}).logits["test"]
    assert np.isfinite(logits).all()
    assert decide_each(logits).tolist() == [[True, False]] * 2


def test_texts_without_words_get_the_shares_of_each_class() -> None:
    train, test = texts_of_each([("!!", [1, 0]), ("?", [1, 1]), ("...", [1, 0])]), texts_of_each([("!", [0, 0])])
    baseline = bag_of_words_each(train, {"validation": test, "test": test})
    assert sigmoid(baseline.logits["test"]).tolist() == [pytest.approx([4 / 5, 2 / 5])]
    assert "no words" in baseline.description
