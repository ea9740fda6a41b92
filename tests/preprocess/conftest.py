"""Runs preprocess on rows that a test writes down, and reads back all that it wrote."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from schemas.data_recipe import DataRecipe
from schemas.handoff import SPLITS, QuarantineFacts, RowsFacts
from schemas.recipe import PreprocessRecipe
from tasks.preprocess.buckets import first_rows, read_bucket, write_shard, write_verdicts
from tasks.preprocess.clean import preprocess
from tasks.preprocess.contract import Contract
from tasks.preprocess.judge import judge, judge_by_contract, judge_copies
from tasks.preprocess.labels import listed_names
from tasks.preprocess.settle import settle
from tasks.preprocess.texts import raw_shards, read_texts

RAW_SCHEMA = {"row": pl.Int64, "source": pl.String, "split": pl.String, "text": pl.String, "label": pl.String}


@dataclass(frozen=True)
class Outcome:
    facts: RowsFacts
    away: QuarantineFacts
    rows: Path
    quarantine: Path

    def split(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.rows / f"{name}.parquet")

    @property
    def kept(self) -> pl.DataFrame:
        return pl.concat(self.split(name).with_columns(pl.lit(name).alias("split")) for name in SPLITS)

    @property
    def turned_away(self) -> pl.DataFrame:
        return pl.read_parquet(self.quarantine / "quarantine.parquet")

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.quarantine / "report.json").read_text(encoding="utf-8"))
        return report

    @property
    def page(self) -> str:
        return (self.quarantine / "report.md").read_text(encoding="utf-8")

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for folder in (self.rows, self.quarantine) for path in folder.iterdir()}


Row = tuple[str | None, str | None] | tuple[str | None, str | None, str]
Run = Callable[..., Outcome]


def raw_table(rows: Sequence[Row]) -> pl.DataFrame:
    """Rows (text, label) of one source, or (text, label, split) of files that are splits."""
    numbers: dict[str, int] = {}
    records = []
    for text, label, *given in rows:
        split = given[0] if given else None
        source = f"{split or 'data'}.csv"
        numbers[source] = numbers.get(source, 0) + 1
        records.append((numbers[source], source, split, text, label))
    return pl.DataFrame(records, schema=RAW_SCHEMA, orient="row")


def judged(
    rows: Sequence[Row],
    labels: dict[str, str] | None = None,
    separator: str | None = None,
    unmapped: str = "quarantine",
    contract: Contract | None = None,
    **recipe: Any,
) -> pl.DataFrame:
    """What is said of rows: of each, by the contract, and of copies; `classes` as lists."""
    data = {"source": "data.csv", "labels": labels, "label_separator": separator, "unmapped": unmapped}
    wanted = PreprocessRecipe(**recipe)
    raw = raw_table(rows)
    told, recipe_of_data = read_texts(raw, wanted.replace, None), DataRecipe.model_validate(data)
    judged_by = pl.concat([raw.drop("text"), told.drop("clean")], how="horizontal").with_row_index("index")
    found = judge(judged_by, wanted, recipe_of_data)

    def texts(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(told["clean"].gather(rows["index"]).alias("text"))

    outcome = judge_copies(judge_by_contract(found, contract, texts, recipe_of_data))
    names = listed_names(outcome["classes"])
    lists = [None if value is None else names[value] for value in outcome["classes"].to_list()]
    return outcome.with_columns(pl.Series("classes", lists, dtype=pl.List(pl.String)))


def in_buckets(
    raw: Sequence[Path], buckets: int, recipe: PreprocessRecipe, data: DataRecipe, folder: Path
) -> tuple[list[Path], list[Path]]:
    """What a cluster makes of shards: what is told of the texts of each, and what became of the rows of each bucket."""
    read, verdicts = list[Path](), list[Path]()
    for shard, first in zip(raw, first_rows(raw), strict=True):
        read.append(folder / f"read {shard.stem}")
        read[-1].mkdir()
        write_shard(shard, first, buckets, recipe.replace, data.kept_together, read[-1], "zstd")
    for bucket in range(buckets):
        verdicts.append(folder / f"verdicts {bucket}.parquet")
        write_verdicts(settle(judge(read_bucket(read, bucket), recipe, data), recipe, data), verdicts[-1])
    return read, verdicts


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def run(
        rows: Sequence[Row] | pl.DataFrame,
        labels: dict[str, str] | None = None,
        given: str = "",
        separator: str | None = None,
        unmapped: str = "quarantine",
        columns: dict[str, str] | None = None,
        **recipe: Any,
    ) -> Outcome:
        wanted = PreprocessRecipe(**recipe)
        folder = tmp_path_factory.mktemp("preprocess")
        for name in ("raw/rows", "rows", "quarantine"):
            (folder / name).mkdir(parents=True)
        table = rows if isinstance(rows, pl.DataFrame) else raw_table(rows)
        # In two shards, so that no test can do without the rows of another one.
        half = math.ceil(table.height / 2)
        table.head(half).write_parquet(folder / "raw" / "rows" / "00000.parquet")
        table.slice(half).write_parquet(folder / "raw" / "rows" / "00001.parquet")
        files = {name: f"{name}.csv" for name in given.split()} or {"source": "data.csv"}
        grouped = {"group": "group"} if "group" in table.columns else {}
        facts, away = preprocess(
            raw_shards(folder / "raw"),
            wanted,
            DataRecipe.model_validate(
                files
                | {"labels": labels, "label_separator": separator, "unmapped": unmapped}
                | grouped
                | (columns or {})
            ),
            Contract(wanted.contract) if wanted.contract else None,
            folder / "rows",
            folder / "quarantine",
            lambda line: None,
        )
        return Outcome(facts, away, folder / "rows", folder / "quarantine")

    return run


def sound_rows(count: int = 60) -> list[Row]:
    """Rows that are fine: enough that each split has rows of both labels, "0" and "1"."""
    return [(f"Is {number} a good number?", str(number % 2)) for number in range(count)]
