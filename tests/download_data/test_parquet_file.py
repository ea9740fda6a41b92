import datetime
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.parquet_file import batches


def labels(path: Path, values: list[Any], kind: Any = None, lists: bool = False) -> list[str | None]:
    pl.DataFrame({"text": ["Why?"] * len(values), "label": pl.Series(values, dtype=kind)}).write_parquet(path)
    return [
        label
        for batch in batches(path, DataRecipe(source=str(path), label_separator="," if lists else None), 2)
        for label in batch["label"]
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.parquet"


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", None, ""], pl.String, ["a", None, ""]),
        (["b", "a", None], pl.Categorical, ["b", "a", None]),
        ([1, -2, None], pl.Int8, ["1", "-2", None]),
        ([1.0, 0.5, None, float("nan"), 1e300], pl.Float64, ["1", "0.5", None, None, "1e+300"]),
        ([True, False, None], pl.Boolean, ["true", "false", None]),
        ([b"a", b"\xff", None], pl.Binary, ["a", "\ufffd", None]),
        ([None, None], pl.Null, [None, None]),
        ([datetime.date(2024, 2, 29)], pl.Date, ["2024-02-29"]),
    ],
)
def test_labels_of_any_type_become_strings(path: Path, values: list[Any], kind: Any, expected: list[str]) -> None:
    assert labels(path, values, kind) == expected


@pytest.mark.parametrize("values", [[["a"]], [{"name": "a"}]])
def test_nested_columns_are_refused(path: Path, values: list[Any]) -> None:
    with pytest.raises(InvalidData, match="'label' is nested"):
        labels(path, values)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([["b", "a"], [], None, ["é", None]], pl.List(pl.String), ['["b", "a"]', "[]", None, '["é", null]']),
        ([[1, -2], [], None], pl.List(pl.Int8), ['["1", "-2"]', "[]", None]),
        ([[1.0, 0.5, float("nan")]], pl.List(pl.Float64), ['["1", "0.5", null]']),
        ([[1, 2], [3, 4]], pl.Array(pl.Int64, 2), ['["1", "2"]', '["3", "4"]']),
        ([[b"a", b"\xff"]], pl.List(pl.Binary), ['["a", "\ufffd"]']),
        ([[], None], pl.List(pl.Null), ["[]", None]),
        (["a,b", None], pl.String, ["a,b", None]),
    ],
)
def test_lists_of_any_type_become_json_arrays(path: Path, values: list[Any], kind: Any, expected: list[str]) -> None:
    assert labels(path, values, kind, lists=True) == expected


@pytest.mark.parametrize("values", [[[["a"]]], [[{"name": "a"}]], [{"name": "a"}]])
def test_what_is_nested_deeper_is_refused(path: Path, values: list[Any]) -> None:
    with pytest.raises(InvalidData, match="'label' is nested"):
        labels(path, values, lists=True)


def test_missing_column(path: Path) -> None:
    pl.DataFrame({"question": ["a"], "label": [0]}).write_parquet(path)
    with pytest.raises(InvalidData, match=r"no column 'text'; the columns are: 'question', 'label'"):
        list(batches(path, DataRecipe(source=str(path)), 10))


def test_damaged_files_are_refused_or_read(path: Path) -> None:
    pl.DataFrame({"text": [f"Question {row}?" for row in range(50)], "label": [0, 1] * 25}).write_parquet(path)
    whole = path.read_bytes()
    chance = random.Random(7)
    for _ in range(60):
        path.write_bytes(whole[: chance.randrange(1, len(whole))])
        with pytest.raises(InvalidData, match="cannot be read as Parquet"):
            list(batches(path, DataRecipe(source=str(path)), 10))
    path.write_bytes(b"text,label\nWhy?,0\n")
    with pytest.raises(InvalidData, match="cannot be read as Parquet"):
        list(batches(path, DataRecipe(source=str(path)), 10))
