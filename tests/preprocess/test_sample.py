"""The built-in sample, from the file to the report: each of its dirty rows is named, and no good one is lost."""

import csv
import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from hubtune.inference.normalise import normalise
from schemas.data_recipe import SAMPLE_LABELS, DataRecipe
from tasks.download_data import sample
from tasks.download_data.read import read
from tests.preprocess.conftest import Outcome, Run

# What is in the file on purpose; see examples/README.md.
DIRT = {
    "undecodable_bytes": 5,
    "null_text": 4,
    "blank_text": 5,
    "too_long": 3,
    "unknown_label": 6,
    "missing_label": 3,
    "conflicting_labels": 6,
}
DUPLICATES = 10
LINE_BREAKS = 5
SPACES_AROUND_LABEL = 2


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("sample")
    read(DataRecipe.model_validate({}), folder, lambda line: None)
    return pl.read_parquet(folder / "rows" / "00000.parquet")


@pytest.fixture
def outcome(raw: pl.DataFrame, run: Run) -> Outcome:
    return run(raw, labels=SAMPLE_LABELS)


def test_the_file_looks_like_an_export() -> None:
    content = sample.PATH.read_bytes()
    with pytest.raises(UnicodeDecodeError):
        content.decode()
    assert len(content) < 300_000
    with sample.PATH.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "label"]
    assert [row["id"] for row in rows] == [f"q{number:04d}" for number in range(1, len(rows) + 1)]


def test_counts(outcome: Outcome) -> None:
    assert outcome.away.reasons == DIRT
    assert outcome.away.duplicates == DUPLICATES
    assert outcome.away.rows_out >= 1200
    assert outcome.away.quarantined / outcome.away.rows_in < 0.05
    assert outcome.facts.labels == ["sincere", "insincere"]
    assert outcome.kept["label"].mean() == pytest.approx(0.3, abs=0.02)
    for name in ("train", "validation", "test"):
        assert outcome.split(name)["label"].mean() == pytest.approx(0.3, abs=0.08)
    assert 100 < outcome.facts.validation < 160
    assert 100 < outcome.facts.test < 160


def test_the_report_names_each_dirty_row(raw: pl.DataFrame, outcome: Outcome) -> None:
    report = outcome.report
    quarantined, duplicates = report["quarantined"], report["duplicates"]
    assert Counter(row["reason"] for row in quarantined["listed"]) == DIRT
    assert len(duplicates["listed"]) == DUPLICATES
    changed = [row for row in report["normalised"]["listed"] if "line breaks" in row["changes"]]
    assert len(changed) == LINE_BREAKS
    around = [row for row in report["normalised"]["listed"] if "spaces around the label" in row["changes"]]
    assert len(around) == SPACES_AROUND_LABEL
    for row in [*quarantined["listed"], *duplicates["listed"], *changed, *around]:
        assert row["source"] == "questions.csv"
        assert re.search(rf"\| questions\.csv \| {row['row']} \|", outcome.page)
    named = {row["row"] for row in quarantined["listed"] + duplicates["listed"]}
    assert named == set(outcome.turned_away["row"])


def test_rows_are_turned_away_for_what_is_wrong_with_them(raw: pl.DataFrame, outcome: Outcome) -> None:
    texts = Counter(normalise(text) for text in raw["text"].drop_nulls() if "\ufffd" not in text)
    for reason, text, label in outcome.turned_away.select("reason", "text", "label").iter_rows():
        match reason:
            case "undecodable_bytes":
                assert "\ufffd" in text
            case "null_text":
                assert text is None
            case "blank_text":
                assert normalise(text) == ""
            case "too_long":
                assert len(text) > 10_000
            case "unknown_label":
                assert label.strip() not in ("0", "1")
            case "missing_label":
                assert not (label or "").strip()
            case _:
                assert texts[normalise(text)] > 1


def test_no_good_row_is_lost(raw: pl.DataFrame, outcome: Outcome) -> None:
    labels: dict[str, set[str]] = {}
    for text, label in raw.select("text", "label").iter_rows():
        if text and label and label.strip() in SAMPLE_LABELS and "\ufffd" not in text:
            labels.setdefault(normalise(text), set()).add(label.strip())
    good = {text: label for text, (label, *others) in labels.items() if not others and 0 < len(text) <= 10_000}
    kept = {text: str(label) for text, label in outcome.kept.select("text", "label").iter_rows()}
    assert kept == good


def test_texts_with_line_breaks_are_kept(raw: pl.DataFrame, outcome: Outcome) -> None:
    breaks = raw.filter(pl.col("text").str.contains("\n") & (pl.col("text").str.len_chars() < 10_000))["text"]
    assert breaks.len() == LINE_BREAKS
    assert {normalise(text) for text in breaks} <= set(outcome.kept["text"])


def test_the_readme_tells_the_same_counts() -> None:
    readme = (Path(sample.PATH).parent / "README.md").read_text(encoding="utf-8")
    for reason, count in DIRT.items():
        assert re.search(rf"\| {reason.replace('_', ' ')} \| {count} \|", readme)
    assert f"| duplicate | {DUPLICATES} |" in readme
