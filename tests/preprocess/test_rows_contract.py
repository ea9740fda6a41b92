"""The contract of clean rows, broken in each way."""

from typing import Any

import pandera.errors
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.inference.normalise import normalise
from schemas.rows import NORMALISED_ALREADY, clean_rows
from schemas.train_recipe import Task


def clean(**changes: list[Any]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {
        "key": [f"{number:032x}" for number in range(6)],
        "text": [f"Is {number} a number?" for number in range(6)],
        "label": [0, 1] * 3,
        "split": ["train", "train", "validation", "validation", "test", "test"],
    }
    return pl.DataFrame(columns | changes, schema_overrides={"label": pl.Int32})


def test_clean_rows_pass() -> None:
    clean_rows(["a", "b"]).validate(clean(), lazy=True)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"key": ["0" * 32] * 2 + [f"{number:032x}" for number in range(2, 6)]}, "field_uniqueness"),
        ({"key": ["0", *(f"{number:032x}" for number in range(1, 6))]}, "str_length"),
        ({"text": ["", "b", "c", "d", "e", "f"]}, "str_length"),
        ({"text": [None, "b", "c", "d", "e", "f"]}, "not_nullable"),
        ({"text": ["a ", "b", "c", "d", "e", "f"]}, "text is normalised"),
        ({"text": ["ﬁve", "b", "c", "d", "e", "f"]}, "text is normalised"),
        ({"label": [0, 2, 0, 1, 0, 1]}, "in_range"),
        ({"split": ["train", "train", "validation", "validation", "tset", "test"]}, "isin"),
        ({"label": [0, 1, 0, 1, 0, 0]}, "each split has rows of each class"),
    ],
)
def test_each_breach_is_found(changes: dict[str, list[Any]], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_rows(["a", "b"]).validate(clean(**changes), lazy=True)
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
    for frame in (clean(more=[1] * 6), clean().cast({"label": pl.Int64}), clean().drop("split")):
        with pytest.raises(pandera.errors.SchemaErrors):
            clean_rows(["a", "b"]).validate(frame, lazy=True)


def several(**changes: list[Any]) -> pl.DataFrame:
    labels = {"label": [[0, 1], [], [0], [1], [1], [0, 1]]}
    return clean().with_columns(pl.Series("label", (labels | changes)["label"], dtype=pl.List(pl.Int32)))


def test_rows_with_several_classes_pass() -> None:
    clean_rows(["a", "b"], "multilabel").validate(several(), lazy=True)


@pytest.mark.parametrize(
    ("labels", "check"),
    [
        ([[0, 1], [], [0], [2], [1], [0, 1]], "each label is a class"),
        ([[0, 1], [], [0], [-1], [1], [0, 1]], "each label is a class"),
        ([[0, 1], [], [0], [1, None], [1], [0, 1]], "each label is a class"),
        ([[1, 0], [], [0], [1], [1], [0, 1]], "labels are distinct and ascend"),
        ([[0, 1, 1], [], [0], [1], [1], [0, 1]], "labels are distinct and ascend"),
        ([[0, 1], None, [0], [1], [1], [0, 1]], "not_nullable"),
        ([[0, 1], [], [0], [], [1], [0, 1]], "each split has rows of each class"),
    ],
)
def test_each_breach_of_several_classes_is_found(labels: list[Any], check: str) -> None:
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        clean_rows(["a", "b"], "multilabel").validate(several(label=labels), lazy=True)
    assert any(check in str(found) for found in caught.value.failure_cases["check"])


def test_each_task_has_its_own_type_of_label() -> None:
    mixed_up: list[tuple[pl.DataFrame, Task]] = [(several(), "multiclass"), (clean(), "multilabel")]
    for frame, task in mixed_up:
        with pytest.raises(pandera.errors.SchemaErrors):
            clean_rows(["a", "b"], task).validate(frame, lazy=True)


@settings(deadline=None)
@given(st.lists(st.text("aB3!~ \t\n\x7f\x00é…" + "\u00a0") | st.text(), min_size=1))
def test_what_is_taken_for_normalised_is(texts: list[str]) -> None:
    taken = pl.Series(texts, dtype=pl.String).str.contains(NORMALISED_ALREADY)
    for text, is_taken in zip(texts, taken, strict=True):
        assert is_taken == (text.isascii() and text.isprintable() and text == normalise(text) != "")
