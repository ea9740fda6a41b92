"""What the store remembers a preprocessing by."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.storage import Artifact, Store
from hubtune.storage.artifact import Producer
from schemas.data_recipe import DataRecipe
from schemas.handoff import RawFacts
from schemas.recipe import PreprocessRecipe
from tasks import execution
from tasks.preprocess import task
from tests.preprocess.conftest import raw_table

LOGGER = logging.getLogger("test")


@pytest.fixture(autouse=True)
def _outside_of_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(execution, "get_run_logger", lambda: LOGGER)
    # The page of a run: there is neither here.
    monkeypatch.setattr(task, "show_report", lambda *_: None)


def pairs() -> Artifact:
    """Raw rows of pairs, each first and each second text in several of them."""
    rows = raw_table([(f"Is {number % 20} even?", str((number + number // 20) % 2)) for number in range(400)])
    seconds = pl.format("{} is what it is.", pl.col("row") // 20)
    store = Store.open()
    with store.scratch() as folder:
        (folder / "rows").mkdir()
        rows.with_columns(seconds.alias("text_pair")).write_parquet(folder / "rows" / "00000.parquet")
        producer = Producer(task="test", version=1, parameters={}, software={})
        return store.put(
            "raw", folder, producer=producer, inputs=[], facts=RawFacts(rows=400, files=1, given_splits=False)
        )


def split_of(result: execution.Outputs, place: int) -> list[int]:
    """Into how many splits each first (0) or second (1) text went."""
    folder = Store.open().checkout(result["rows"])
    kept = pl.concat(
        pl.read_parquet(folder / f"{name}.parquet").with_columns(split=pl.lit(name))
        for name in ("train", "validation", "test")
    )
    texts = pl.col("text").str.split(" ｜ ").list.get(place).alias("side")
    return kept.group_by(texts).agg(pl.col("split").n_unique())["split"].unique().sort().to_list()


def test_a_bucket_is_judged_again_where_its_verdicts_depend_on_what_has_changed() -> None:
    raw, data = pairs(), {"source": "pairs.csv", "text": "question", "text_pair": "answer"}
    store = Store.open().root
    told = task.read_shard.fn(raw, "00000.parquet", 0, 2, [], None, store)
    texts = [execution.outputs_of(told)["texts"]]

    def judged(bucket: int = 0, changes: Mapping[str, Any] | None = None, **recipe: Any) -> bool:
        """Whether there was something to do."""
        wanted = DataRecipe.model_validate({**data, **(changes or {})})
        return isinstance(
            task.judge_bucket.fn(texts, bucket, PreprocessRecipe.model_validate(recipe), wanted, store), dict
        )

    assert judged()
    # Limits and what is done with all rows are for whoever asks.
    assert not judged(max_quarantine=0.5, near_duplicates=0.9, replace=["urls"])
    assert judged(bucket=1)
    shares: list[dict[str, Any]] = [{"test_fraction": 0.2}, {"validation_fraction": 0.2}, {"exact_shares": True}]
    for changed in (*shares, {"min_characters": 2}, {"max_characters": 99}):
        assert judged(**changed)
    labels = {"0": "even", "1": "odd"}
    orders: list[dict[str, Any]] = [
        {"labels": labels},
        {"labels": labels, "unmapped": "drop"},
        {"label_separator": ","},
    ]
    for changed in (*orders, {"source": None, "train": "train.csv", "test": "test.csv"}):
        assert judged(changes=changed)


def test_another_column_that_keeps_rows_together_is_another_result() -> None:
    raw, recipe = pairs(), PreprocessRecipe(validation_fraction=0.2, test_fraction=0.2)
    columns = {"source": "pairs.csv", "text": "question", "text_pair": "answer"}

    def by(group: str | None) -> execution.Outputs:
        return execution.outputs_of(
            task.preprocess_rows.fn(raw, recipe, DataRecipe.model_validate(columns | {"group": group}), "pairs")
        )

    none, first, second = by(None), by("question"), by("answer")
    assert split_of(first, 0) == [1]
    assert split_of(second, 1) == [1]
    assert len({each["rows"].digest for each in (none, first, second)}) == 3
    assert by("question") == first


@pytest.mark.parametrize(
    ("shards", "rows", "buckets"),
    [(6, 1_300_000, 6), (200, 20_000, 1), (3, 0, 1), (20, 1_000_000, 4), (2_000, 500_000_000, 64)],
    ids=["as many as shards", "many small shards", "no rows", "small shards", "very many"],
)
def test_buckets_are_as_large_as_shards_and_not_too_many(shards: int, rows: int, buckets: int) -> None:
    assert task.count_buckets(shards, rows) == buckets
