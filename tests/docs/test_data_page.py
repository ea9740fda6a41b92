"""What docs/data.md shows of recipes is what a recipe takes."""

import re
from pathlib import Path

import pytest
import yaml

from schemas.data_recipe import DataRecipe
from schemas.drift_recipe import DriftRecipe
from schemas.recipe import PreprocessRecipe
from tasks.download_data.source_file import kind_of
from tasks.preprocess.contract import Contract
from tests.preprocess.conftest import judged

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HANDLES = re.findall(r"`([^`]+)`", PAGE.partition("| handle |")[2].partition("## ")[0])


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_recipe_is_valid(snippet: str) -> None:
    sections = yaml.safe_load(snippet)
    DataRecipe.model_validate(sections["data"])
    PreprocessRecipe.model_validate(sections.get("preprocess", {}))
    DriftRecipe.model_validate(sections.get("drift", {}))


def test_the_contract_does_what_its_checks_are_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (name,) = re.findall(r"contract: (\w+):Reviews", PAGE)
    (content,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / f"{name}.py").write_text(content, encoding="utf-8")
    found = judged([("See https://example.org", "0"), ("See there", "1")], contract=Contract(f"{name}:Reviews"))
    assert found["broken"].to_list() == ["text: no link", None]


@pytest.mark.parametrize("handle", [handle for handle in HANDLES if not handle.startswith("data.")])
def test_each_handle_is_one(handle: str) -> None:
    query = "SELECT 1" if "sql" in handle else None
    if handle != "source":
        recipe = DataRecipe(source=handle, query=query)
        if re.search(r"\.(csv|jsonl|parquet)", handle):
            kind_of(handle, recipe, "data.source")


def test_there_is_something_to_test() -> None:
    assert len(SNIPPETS) == 6
    assert len(HANDLES) > 8
