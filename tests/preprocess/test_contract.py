"""Contracts that the recipe names: modules in files of their own, as a user writes them."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from pandera.config import config_context

from hubtune.errors import InvalidData, InvalidRecipe, QuarantineLimitExceeded
from schemas.recipe import PreprocessRecipe
from tasks.preprocess.contract import Contract
from tests.preprocess.conftest import Row, Run, judged, sound_rows

HEAD = """
import pandera.polars as pa
import polars as pl

"""
QUESTIONS = """
class Questions(pa.DataFrameModel):
    text: str = pa.Field(str_endswith="?")

    @pa.check("text", name="no shouting")
    def _calm(cls, data):
        text = pl.col(data.key)
        return data.lazyframe.select(text.str.to_uppercase() != text)
"""
Write = Callable[[str], str]
_numbers = itertools.count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into the working directory and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str) -> str:
        name = f"contract_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + content, encoding="utf-8")
        return name

    return write


def test_rows_that_break_it_are_quarantined_and_the_check_is_named(run: Run, write: Write) -> None:
    rows: list[Row] = [("", "0"), *sound_rows(), ("No question.", "1"), ("WHY?", "0"), ("WHY", "1"), ("Why? ", "1")]
    outcome = run(rows, contract=f"{write(QUESTIONS)}:Questions", max_quarantine=0.1)
    away = outcome.turned_away.select("row", "reason", "broken").rows()
    assert away == [
        (1, "blank_text", None),
        (62, "broken_contract", "text: str_endswith('?')"),
        (63, "broken_contract", "text: no shouting"),
        (64, "broken_contract", "text: str_endswith('?')"),
    ]
    assert outcome.away.reasons == {"blank_text": 1, "broken_contract": 3}
    assert outcome.away.rows_out == 61
    assert "broken contract (text: no shouting)" in outcome.page


def test_they_count_towards_the_limit(run: Run, write: Write) -> None:
    rows: list[Row] = [*sound_rows(), *[(f"No question {number}.", "1") for number in range(10)]]
    with pytest.raises(QuarantineLimitExceeded, match=r"broken contract +10 +14.3%"):
        run(rows, contract=f"{write(QUESTIONS)}:Questions")


def test_a_schema_sees_the_class_and_several_classes(write: Write) -> None:
    name = write(
        'one = pa.DataFrameSchema({"label": pa.Column(str, pa.Check.isin(["no"]))})\n'
        'several = pa.DataFrameSchema({"label": pa.Column(pl.List(pl.String))})\n'
    )
    labels = {"0": "no", "1": "yes"}
    rows: list[Row] = [("a", "0"), ("b", "1"), ("c", "0"), ("d", "9")]
    found = judged(rows, labels, contract=Contract(f"{name}:one"))["reason"].to_list()
    assert found == [None, "broken_contract", None, "unknown_label"]
    contract = Contract(f"{name}:several")
    assert judged([("a", "0,1")], labels, separator=",", contract=contract)["reason"].to_list() == [None]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('C = pa.DataFrameSchema({"stars": pa.Column(int)})', "stars"),
        ('C = pa.DataFrameSchema({"text": pa.Column(int)})', "as a whole"),
        (
            'C = pa.DataFrameSchema({"label": pa.Column(str, pa.Check.isin(["0"]))}, '
            'checks=pa.Check(lambda data: data.lazyframe.select(pl.len() > 9), name="ten rows"))',
            "as a whole.*ten rows",
        ),
        ("C = pa.DataFrameSchema(checks=pa.Check(lambda data: data.lazyframe.select(pl.len() > 9)))", "as a whole"),
        ('C = pa.DataFrameSchema({"text": pa.Column(str, pa.Check(lambda data: 1 / 0))})', "ZeroDivisionError"),
    ],
)
def test_what_is_wrong_with_the_rows_as_a_whole_is_told(write: Write, content: str, told: str) -> None:
    with pytest.raises(InvalidData, match=told) as caught:
        judged([("a", "0"), ("b", "1")], contract=Contract(f"{write(content)}:C"))
    assert caught.value.where == "preprocess.contract"


def test_no_row_is_left_for_it(write: Write) -> None:
    assert judged([("", "0")], contract=Contract(f"{write(QUESTIONS)}:Questions"))["reason"].to_list() == ["blank_text"]


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        ("import no_such_module_anywhere", "C", "ModuleNotFoundError"),
        ("raise RuntimeError('not today')", "C", "not today"),
        ("raise SystemExit(0)", "C", "SystemExit"),
        (QUESTIONS, "Question", "did you mean 'Questions'"),
        ("C = 3", "C", "it is a builtins.int"),
        ("C = pa.Column(str)", "C", "it is a pandera"),
        (QUESTIONS.replace("    text:", "    body:"), "Questions", "non-existing field 'text'"),
    ],
)
def test_what_is_no_contract_is_told(write: Write, content: str, name: str, told: str) -> None:
    with pytest.raises(InvalidRecipe, match=told):
        Contract(f"{write(content)}:{name}")


def test_a_module_that_is_not_there(write: Write) -> None:
    with pytest.raises(InvalidRecipe, match="No module named 'nowhere'") as caught:
        Contract("nowhere:Rows")
    assert "nowhere.py" in caught.value.remedy


@pytest.mark.parametrize("name", ["sys", "json"])
def test_a_module_of_python_that_is_none_is_left_alone(name: str) -> None:
    before = sys.modules[name]
    with pytest.raises(InvalidRecipe):
        Contract(f"{name}:Rows")
    assert sys.modules[name] is before


@pytest.mark.parametrize("name", ["Rows", "my module:Rows", "os;:x", "a:b:c", "/etc/x.py:Rows"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="contract"):
        PreprocessRecipe(contract=name)


def test_a_file_that_changes_is_read_again(write: Write, tmp_path: Path) -> None:
    name = write(QUESTIONS)
    rows: list[Row] = [("Why?", "0"), ("Why!", "1")]
    before = Contract(f"{name}:Questions")
    (tmp_path / f"{name}.py").write_text(HEAD + QUESTIONS.replace('"?"', '"!"'), encoding="utf-8")
    after = Contract(f"{name}:Questions")
    broken = [judged(rows, contract=contract)["broken"].is_not_null().to_list() for contract in (before, after)]
    assert broken == [[False, True], [True, False]]
    assert before.digest != after.digest


def test_every_row_is_found_however_short_the_table_of_failures(write: Write) -> None:
    name = write('C = pa.DataFrameSchema({"text": pa.Column(str, pa.Check.str_endswith("?", n_failure_cases=1))})')
    rows: list[Row] = [("a", "0"), ("b?", "0"), ("c", "1"), ("d", "1")]
    found = judged(rows, contract=Contract(f"{name}:C"))["reason"].to_list()
    assert found == ["broken_contract", None, "broken_contract", "broken_contract"]


def test_no_setting_switches_it_off(write: Write) -> None:
    contract = Contract(f"{write(QUESTIONS)}:Questions")
    with config_context(validation_enabled=False):
        assert judged([("Why", "0")], contract=contract)["reason"].to_list() == ["broken_contract"]


@pytest.mark.parametrize(
    "content",
    [
        'C = pa.DataFrameSchema({"text": pa.Column(str, pa.Check.str_endswith("?"))}, drop_invalid_rows=True)',
        'C = pa.DataFrameSchema({"text": pa.Column(str, pa.Check.str_endswith("?"), drop_invalid_rows=True)})',
    ],
)
def test_rows_are_not_dropped_in_silence(write: Write, content: str) -> None:
    with pytest.raises(InvalidRecipe, match="drops invalid rows"):
        Contract(f"{write(content)}:C")


def test_another_content_is_another_contract(write: Write) -> None:
    one, same, other = (Contract(f"{write(content)}:Questions") for content in (QUESTIONS, QUESTIONS, QUESTIONS + "#"))
    assert one.digest == same.digest != other.digest


def test_the_index_survives(write: Write) -> None:
    contract = Contract(f"{write(QUESTIONS)}:Questions")
    rows = pl.DataFrame({"index": pl.Series([7, 9], dtype=pl.UInt32), "text": ["Why", "Who?"], "label": ["a", "b"]})
    assert contract.broken(rows).rows() == [(7, "text: str_endswith('?')")]
