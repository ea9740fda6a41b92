import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.jsonl_file import batches, check


def values(path: Path, most_rows: int = 1000, lists: bool = False) -> list[tuple[str | None, ...]]:
    return [row for batch in batches(path, recipe(path, lists), most_rows) for row in batch.rows()]


def recipe(path: Path, lists: bool = False) -> DataRecipe:
    return DataRecipe(source=str(path), label_separator="," if lists else None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def test_values_become_strings(path: Path) -> None:
    labels: list[Any] = ["a", " 1", 1, -2, 1.0, 0.5, 1e300, True, False, None, float("nan"), ""]
    path.write_text("".join(json.dumps({"text": "Why?", "label": label}) + "\n" for label in labels))
    expected = ["a", " 1", "1", "-2", "1", "0.5", "1e+300", "true", "false", None, None, ""]
    assert [label for _, label in values(path)] == expected


def test_blank_lines_are_no_rows_and_a_key_may_be_absent(path: Path) -> None:
    path.write_text('{"text": "a\\nb", "label": 0}\n\n{"label": 1}\n  \n{"text": "c"}')
    assert values(path, most_rows=2) == [("a\nb", "0"), (None, "1"), ("c", None)]


def test_half_a_surrogate_pair_is_shown_as_undecodable(path: Path) -> None:
    path.write_text('{"text": "So \\ud83d?", "label": 0}\n{"text": "\\ud83d\\ude00", "label": 0}\n')
    assert [text for text, _ in values(path)] == ["So \ufffd?", "\U0001f600"]


def test_a_list_of_labels_is_a_json_array_of_strings(path: Path) -> None:
    labels: list[Any] = [["b", "a"], [], [1, 2.0, True, None], ["é, ", "\ud83d"], "a,b", 3, None]
    path.write_text("".join(json.dumps({"text": "Why?", "label": label}) + "\n" for label in labels))
    expected = ['["b", "a"]', "[]", '["1", "2", "true", null]', '["é, ", "\ufffd"]', "a,b", "3", None]
    assert [label for _, label in values(path, lists=True)] == expected
    check(path, recipe(path, lists=True))
    with pytest.raises(InvalidData, match="'label' is nested"):
        values(path)
    with pytest.raises(InvalidData, match="'label' is nested"):
        check(path, recipe(path))


@pytest.mark.parametrize("content", ['{"text": "a", "label": [["b"]]}', '{"text": ["a"], "label": ["b"]}'])
def test_what_is_nested_deeper_is_refused(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidData, match=r"is nested[\s\S]*line 1"):
        values(path, lists=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a", "label": 0}\n\n{"text": "a", "label": 0\n', r"no JSON[\s\S]*line 3"),
        ("text,label\n", r"no JSON[\s\S]*line 1"),
        ("[1, 2]\n", r"a JSON list, not an object[\s\S]*line 1"),
        ('{"text": ["a"], "label": 0}\n', r"'text' is nested: \[\"a\"\][\s\S]*line 1"),
        ('{"text": "a", "label": {"name": "x"}}\n', r"'label' is nested[\s\S]*line 1"),
        ('{"text": "a", "lable": 0}\n', r"no column 'label'[\s\S]*Did you mean 'lable'"),
        ('{"text": ' + "[" * 100_000 + "\n", r"no JSON"),
        ('{"text": "a", "label": ' + "1" * 5000 + "}\n", r"no JSON"),
    ],
)
def test_refuses(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidData, match=message) as caught:
        values(path)
    assert "data.jsonl" in caught.value.where
    assert caught.value.remedy


@settings(deadline=None, max_examples=50)
@given(table=st.lists(st.tuples(st.text(max_size=20) | st.none(), st.text(max_size=5) | st.none()), min_size=1))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str | None, str | None]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for text, label in table:
            print(json.dumps({"text": text, "label": label}, ensure_ascii=False), file=file)
    assert values(path) == table
