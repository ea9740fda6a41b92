"""What docs/data.md shows of recipes is what a recipe takes."""

import re
from pathlib import Path

import pytest
import yaml

from schemas.data_recipe import DataRecipe
from tasks.download_data.source_file import kind_of

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HANDLES = re.findall(r"`([^`]+)`", PAGE.partition("| handle |")[2].partition("## ")[0])


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_recipe_is_valid(snippet: str) -> None:
    DataRecipe.model_validate(yaml.safe_load(snippet)["data"])


@pytest.mark.parametrize("handle", [handle for handle in HANDLES if not handle.startswith("data.")])
def test_each_handle_is_one(handle: str) -> None:
    query = "SELECT 1" if "sql" in handle else None
    if handle != "source":
        recipe = DataRecipe(source=handle, query=query)
        if re.search(r"\.(csv|jsonl|parquet)", handle):
            kind_of(handle, recipe, "data.source")


def test_there_is_something_to_test() -> None:
    assert len(SNIPPETS) == 2
    assert len(HANDLES) > 8
