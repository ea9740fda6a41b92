"""The contract of clean rows, broken in each way."""

from typing import Any

import pandera.errors
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.inference.normalise import normalise
from schemas.rows import NORMALISED_ALREADY, clean_keys, clean_rows, clean_splits
from schemas.train_recipe import Task

WORDS = [f"Is {number} a number?" for number in range(6)]
KEYS = [f"{number:032x}" for number in range(6)]
GIVEN = ["train", "train", "validation", "validation", "test", "test"]


def clean(**changes: list[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {"text": WORDS, "label": [0, 1] * 3}
    return pl.DataFrame(columns | changes, schema_overrides={"label": pl.Int32})


def splits(**changes: list[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {"label": [0, 1] * 3, "split": GIVEN}
    return pl.DataFrame(columns | changes, schema_overrides={"label": pl.Int32})


def test_clean_rows_pass() -> None:
    clean_rows(["a", "b"]).validate(clean(), lazy=True)
    clean_rows(["a", "b"]).validate(clean().head(1), lazy=True)
    clean_keys().validate(pl.DataFrame({"key": KEYS}), lazy=True)
    clean_splits(["a", "b"]).validate(splits(), lazy=True)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"text": ["", *WORDS[1:]]}, "str_length"),
        ({"text": [None, *WORDS[1:]]}, "not_nullable"),
        ({"text": ["a ", *WORDS[1:]]}, "text is normalised"),
        ({"text": ["ﬁve", *WORDS[1:]]}, "text is normalised"),
        ({"label": [0, 2, 0, 1, 0, 1]}, "in_range"),
    ],
)
def test_each_breach_of_a_row_is_found(changes: dict[str, list[Any]], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_rows(["a", "b"]).validate(clean(**changes), lazy=True)
    assert any(check in str(found) for found in caught.value.failure_cases["check"])


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"split": ["tset", *GIVEN[1:]]}, "isin"),
        ({"label": [0, 1, 0, 1, 0, 0]}, "each split has rows of each class"),
    ],
)
def test_each_breach_of_the_splits_is_found(changes: dict[str, list[Any]], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_splits(["a", "b"]).validate(splits(**changes), lazy=True)
    assert any(check in str(found) for found in caught.value.failure_cases["check"])


@pytest.mark.parametrize(("wrong", "check"), [(KEYS[1], "field_uniqueness"), ("0", "str_length")])
def test_each_breach_of_the_keys_is_found(wrong: str, check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_keys().validate(pl.DataFrame({"key": [wrong, *KEYS[1:]]}), lazy=True)
    assert any(check in str(found) for found in caught.value.failure_cases["check"])


def test_weights_are_in_range_and_only_there_when_they_are_expected() -> None:
    weights = [1.0, 1e-6, 1e6, 0.5, None, None]
    clean_rows(["a", "b"], weighted=True).validate(clean(weight=weights), lazy=True)
    refused = [(clean(weight=weights), False), (clean(), True)]
    refused += [(clean(weight=[wrong, *weights[1:]]), True) for wrong in (0.0, -1.0, 1e7, float("nan"))]
    for frame, weighted in refused:
        with pytest.raises(pandera.errors.SchemaErrors):
            clean_rows(["a", "b"], weighted=weighted).validate(frame, lazy=True)


def test_other_columns_and_types_are_refused() -> None:
    wrong_type = pl.col("label").cast(pl.Int64)
    for frame in (clean(more=[1] * 6), clean().with_columns(wrong_type), clean().drop("label")):
        with pytest.raises(pandera.errors.SchemaErrors):
            clean_rows(["a", "b"]).validate(frame, lazy=True)
    for frame in (splits(more=[1] * 6), splits().with_columns(wrong_type), splits().drop("split")):
        with pytest.raises(pandera.errors.SchemaErrors):
            clean_splits(["a", "b"]).validate(frame, lazy=True)


SEVERAL = [[0, 1], [], [0], [1], [1], [0, 1]]


def several(frame: pl.DataFrame, labels: list[Any] = SEVERAL) -> pl.DataFrame:
    return frame.with_columns(pl.Series("label", labels, dtype=pl.List(pl.Int32)))


def test_rows_with_several_classes_pass() -> None:
    clean_rows(["a", "b"], "multilabel").validate(several(clean()), lazy=True)
    clean_splits(["a", "b"], "multilabel").validate(several(splits()), lazy=True)


@pytest.mark.parametrize(
    ("labels", "check"),
    [
        ([[0, 1], [], [0], [2], [1], [0, 1]], "each label is a class"),
        ([[0, 1], [], [0], [-1], [1], [0, 1]], "each label is a class"),
        ([[0, 1], [], [0], [1, None], [1], [0, 1]], "each label is a class"),
        ([[1, 0], [], [0], [1], [1], [0, 1]], "labels are distinct and ascend"),
        ([[0, 1, 1], [], [0], [1], [1], [0, 1]], "labels are distinct and ascend"),
        ([[0, 1], None, [0], [1], [1], [0, 1]], "not_nullable"),
    ],
)
def test_each_breach_of_several_classes_is_found(labels: list[Any], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_rows(["a", "b"], "multilabel").validate(several(clean(), labels), lazy=True)
    assert any(check in str(found) for found in caught.value.failure_cases["check"])


def test_of_several_classes_each_split_has_rows_of_each() -> None:
    labels = [[0, 1], [], [0], [], [1], [0, 1]]
    with pytest.raises(pandera.errors.SchemaErrors, match="each split has rows of each class"):
        clean_splits(["a", "b"], "multilabel").validate(several(splits(), labels), lazy=True)


def test_each_task_has_its_own_type_of_label() -> None:
    mixed_up: list[tuple[Task, pl.DataFrame, pl.DataFrame]] = [
        ("multiclass", several(clean()), several(splits())),
        ("multilabel", clean(), splits()),
    ]
    for task, rows, together in mixed_up:
        for contract, frame in ((clean_rows, rows), (clean_splits, together)):
            with pytest.raises(pandera.errors.SchemaErrors):
                contract(["a", "b"], task).validate(frame, lazy=True)


@settings(deadline=None)
@given(st.lists(st.text("aB3!~ \t\n\x7f\x00é…" + "\u00a0") | st.text(), min_size=1))
def test_what_is_taken_for_normalised_is(texts: list[str]) -> None:
    taken = pl.Series(texts, dtype=pl.String).str.contains(NORMALISED_ALREADY)
    for text, is_taken in zip(texts, taken, strict=True):
        assert is_taken == (text.isascii() and text.isprintable() and text == normalise(text) != "")
