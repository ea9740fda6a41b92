"""Columns beside text and label: what tells rows apart, keeps them together, or makes them a slice."""

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from schemas.recipe import Recipe
from tasks.download_data.read import check_source, read

NAMES = ["number", "text", "label", "by", "row", "counts"]
ROWS: list[list[Any]] = [[7, "How tall is it?", 0, "ann", "a", 0.5], [8, "Who cares?", 1, None, None, 2.0]]
FURTHER = {"text_pair": "by", "id": "number", "weight": "counts", "group": "by", "slices": ["row", "number"]}


def write(folder: Path, kind: str) -> dict[str, Any]:
    """Write the rows as a file or database of that kind; what names them in a recipe."""
    path = folder / f"rows.{kind}"
    table = pl.DataFrame(ROWS, schema=NAMES, orient="row")
    match kind:
        case "csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([NAMES, *ROWS])
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dicts()), encoding="utf-8")
        case "parquet":
            table.write_parquet(path)
        case "db":
            connection = sqlite3.connect(path)
            connection.execute(
                'CREATE TABLE t (number INTEGER, text TEXT, label INTEGER, by TEXT, "row" TEXT, counts REAL)'
            )
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", ROWS)
            connection.commit()
            connection.close()
            return {"source": f"sqlite:///{path}", "query": "SELECT * FROM t"}
    return {"source": str(path)}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "db"])
def test_they_come_as_strings_under_names_of_their_own(tmp_path: Path, kind: str) -> None:
    read(DataRecipe.model_validate(write(tmp_path, kind) | FURTHER), tmp_path / "raw", print)
    table = pl.read_parquet(tmp_path / "raw" / "rows" / "*.parquet").drop("row", "source", "split")
    assert table.columns == ["text", "label", "text_pair", "id", "weight", "group", "slice.row", "slice.number"]
    # A CSV file has "2.0", where other kinds have the number.
    weights = table["weight"].cast(pl.Float64).to_list()
    assert sorted(table.drop("weight").rows()) == [
        ("How tall is it?", "0", "ann", "7", "ann", "a", "7"),
        ("Who cares?", "1", None, "8", None, None, "8"),
    ]
    assert sorted(weights) == [0.5, 2]


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("id", "numbre", "Did you mean 'number'? Set data.id"),
        ("group", "bye", "Did you mean 'by'? Set data.group"),
        ("slices", ["row", "lable"], "Did you mean 'label'? Set data.slices"),
    ],
)
def test_a_column_that_is_not_there(tmp_path: Path, field: str, value: Any, remedy: str) -> None:
    recipe = DataRecipe.model_validate(write(tmp_path, "csv") | {field: value})
    with pytest.raises(InvalidData, match="There is no column") as caught:
        check_source(recipe)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "text"}, "the text column is named again"),
        ({"group": "text"}, "the text column is named again"),
        ({"text_pair": "text"}, "text_pair names the text or label column again"),
        ({"text_pair": "label"}, "text_pair names the text or label column again"),
        ({"text_pair": "other", "slices": ["other"]}, "the text_pair column is named again"),
        ({"text_pair": "other", "group": "label"}, "the label column is named again"),
        ({"weight": "label"}, "the label column is named again"),
        ({"slices": ["region", "label"]}, "the label column is named again"),
        ({"slices": ["region", "region"]}, "names a column twice"),
        ({"slices": ["length"]}, "cannot be called length"),
        ({"source": None, "train": "a.csv", "validation": "b.csv", "test": "c.csv", "group": "by"}, "no meaning"),
    ],
)
def test_impossible_combinations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataRecipe.model_validate({"source": "a.csv"} | fields)


def test_bytes_in_another_encoding_are_seen_in_the_second_text_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"text,other,label\n" + "Why?,weil es schön ist,0\n".encode("windows-1252") * 9)
    recipe = DataRecipe.model_validate({"source": str(path), "text_pair": "other"})
    with pytest.raises(InvalidData, match="9 of 9 rows hold bytes"):
        read(recipe, tmp_path / "raw", print)


def test_groups_and_exact_shares_exclude_each_other() -> None:
    sections = {"name": "a", "data": {"source": "a.csv", "group": "by"}, "preprocess": {"exact_shares": True}}
    with pytest.raises(ValueError, match="groups cannot be cut"):
        Recipe.model_validate(sections)


def test_exact_shares_are_for_rows_of_one_class() -> None:
    sections = {"name": "a", "data": {"source": "a.csv"}, "preprocess": {"exact_shares": True}}
    with pytest.raises(ValueError, match="exact_shares has no meaning"):
        Recipe.model_validate(sections | {"train": {"task": "multilabel"}})


def test_columns_without_a_header_have_numbers() -> None:
    recipe = DataRecipe.model_validate({"source": "a.csv", "header": False, "id": 3, "slices": [4]})
    assert (recipe.id, recipe.slices) == ("3", ["4"])
