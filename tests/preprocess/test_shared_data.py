"""Real data that is not part of the project: four clean sets with given splits, three dirty files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.read import read
from tests.preprocess.conftest import Outcome, Run

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")

Load = Callable[..., Outcome]


@pytest.fixture
def load(run: Run, tmp_path: Path) -> Load:
    import polars as pl

    def load(recipe: dict[str, Any], **preprocess: Any) -> Outcome:
        data = DataRecipe.model_validate(recipe)
        read(data, tmp_path / "raw", lambda line: None)
        given = "train validation test" if data.train else ""
        return run(pl.read_parquet(tmp_path / "raw" / "rows"), labels=data.labels, given=given, **preprocess)

    return load


@pytest.mark.parametrize(
    ("name", "duplicates", "leaks", "conflicts", "test_rows"),
    [
        ("quora_insincere", 0, 0, 0, 2081),
        ("tweeteval_sentiment", 0, 0, 2, 2353),
        ("trec6", 81, 10, 0, 500),
        ("sst2", 11, 3, 0, 1821),
    ],
)
def test_given_splits(load: Load, name: str, duplicates: int, leaks: int, conflicts: int, test_rows: int) -> None:
    folder = DATA / name
    files = {split: str(folder / f"{split}.csv") for split in ("train", "validation", "test")}
    labels = json.loads((folder / "labels.json").read_text())
    outcome = load(files | {"labels": labels})
    assert outcome.facts.labels == list(labels.values())
    assert outcome.facts.test == test_rows
    assert outcome.away.duplicates == duplicates
    assert outcome.away.reasons == ({"conflicting_labels": conflicts} if conflicts else {})
    found = {leak["kept_in"]: leak["rows"] for leak in outcome.report["duplicates"]["leakage"]}
    assert found.get("test", 0) == leaks


def test_comments_with_line_breaks_and_rare_class(load: Load) -> None:
    outcome = load(
        {
            "source": str(DATA / "dirty" / "jigsaw_toxic_comments.csv"),
            "text": "comment_text",
            "label": "toxic",
            "labels": {"0": "fine", "1": "toxic"},
        }
    )
    assert outcome.facts.labels == ["fine", "toxic"]
    assert outcome.report["normalised"]["changes"]["line breaks"] > 100
    assert outcome.away.rows_in == outcome.away.rows_out + outcome.away.quarantined + outcome.away.duplicates


def test_latin_1_bytes_are_quarantined(load: Load, tmp_path: Path) -> None:
    lines = (DATA / "dirty" / "TREC.train").read_bytes().splitlines()
    path = tmp_path / "trec.csv"
    with path.open("wb") as file:
        file.write(b"label,text\n")
        for line in lines:
            label, text = line.split(b":", 1)
            file.write(label + b',"' + text.split(b" ", 1)[1].replace(b'"', b'""') + b'"\n')
    bad = sum(1 for line in lines if not is_utf8(line))
    assert bad > 0
    outcome = load({"source": str(path)})
    assert outcome.facts.labels == ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    assert outcome.away.reasons["undecodable_bytes"] == bad
    assert outcome.away.rows_in == len(lines)


def test_tab_separated_texts_with_many_copies(load: Load, tmp_path: Path) -> None:
    source = DATA / "dirty" / "amazon_cells_labelled_contaminated.txt"
    with pytest.raises(InvalidData):
        read(DataRecipe(source=str(source)), tmp_path / "refused", lambda line: None)
    rows = [line.rpartition("\t") for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
    path = tmp_path / "amazon.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((text, label) for text, _, label in rows)
    outcome = load({"source": str(path), "labels": {"0": "negative", "1": "positive"}})
    assert outcome.away.rows_in == len(rows)
    assert outcome.away.rows_out == outcome.kept["text"].n_unique()


def is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
