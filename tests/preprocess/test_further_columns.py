"""What is carried along beside text and label, and groups that stay in one split."""

import math

import polars as pl
import pytest

from hubtune.errors import QuarantineLimitExceeded
from schemas.handoff import SPLITS
from tests.preprocess.conftest import Row, Run, raw_table, sound_rows


def table(count: int = 200) -> pl.DataFrame:
    rows = raw_table([*sound_rows(count), ("", "0"), ("Is 3 a good number?", "1")])
    numbers = pl.int_range(pl.len())
    return rows.with_columns(
        numbers.cast(pl.String).alias("id"),
        pl.when(numbers % 7 > 0).then(pl.format("author {}", numbers % 7)).alias("group"),
        pl.when(numbers % 2 == 0).then(pl.lit("en")).alias("slice.text"),
    )


def test_ids_and_slices_reach_rows_and_quarantine(run: Run) -> None:
    outcome = run(table().drop("group"))
    assert outcome.split("train").columns == ["key", "id", "slice.text", "text", "label"]
    kept = {text: (name, part) for text, name, part in outcome.kept.select("text", "id", "slice.text").iter_rows()}
    # Of two copies the first is kept, with what it came with.
    assert kept["Is 3 a good number?"] == ("3", None)
    assert kept["Is 4 a good number?"] == ("4", "en")
    away = outcome.turned_away.select("reason", "id", "slice.text").rows()
    assert away == [("blank_text", "200", "en"), ("duplicate", "201", None)]


def test_rows_of_a_group_stay_together(run: Run) -> None:
    rows = table(2000).with_columns(
        pl.when(pl.col("group").is_not_null()).then(pl.format("{}{}", "group", pl.col("row") % 40))
    )
    kept = run(rows, validation_fraction=0.2, test_fraction=0.2).kept
    groups = rows.select("id", "group").join(kept.select("id", "split"), on="id").drop_nulls()
    assert groups.height > 1000
    assert (
        groups.group_by("group").agg(pl.col("split").n_unique())["split"].to_list() == [1] * groups["group"].n_unique()
    )
    assert groups["split"].n_unique() == 3
    # Rows without a group are split by their text, as if there were none.
    without = rows.filter(pl.col("group").is_null()).select("id")
    plain = run(rows.drop("group"), validation_fraction=0.2, test_fraction=0.2).kept
    assert set(without.join(kept, on="id").select("id", "split").iter_rows()) == set(
        without.join(plain, on="id").select("id", "split").iter_rows()
    )


def test_an_empty_group_is_none(run: Run) -> None:
    rows = table(300)
    none, empty, blank = (rows.with_columns(pl.lit(name, dtype=pl.String).alias("group")) for name in (None, "", " \t"))
    shares = {"validation_fraction": 0.2, "test_fraction": 0.2}
    assert run(none, **shares).contents() == run(empty, **shares).contents() == run(blank, **shares).contents()


def test_a_group_that_grows_moves_nothing(run: Run) -> None:
    few, many = table(150), table(300)
    before, after = (run(rows, validation_fraction=0.3, test_fraction=0.3).kept for rows in (few, many))
    was, now = (dict(kept.select("text", "split").iter_rows()) for kept in (before, after))
    assert was.items() <= now.items()


def test_weights_are_numbers_and_rows_without_one_are_turned_away(run: Run) -> None:
    given = ["1", " 2.5 ", "1e6", "1e-6", "0", "-1", "1000001", "nan", "inf", "-inf", "much", "", None, "1,5"]
    rows = raw_table(sound_rows(200 + len(given))).with_columns(pl.Series("weight", ["1"] * 200 + given))
    outcome = run(rows, max_quarantine=1)
    assert outcome.split("train").schema["weight"] == pl.Float64
    weights = dict(outcome.kept.select("text", "weight").iter_rows())
    assert [weights.get(text) for text in rows["text"][200:]] == [1.0, 2.5, 1e6, 1e-6, *[None] * 10]
    assert outcome.turned_away["weight"].to_list() == given[4:]
    assert outcome.away.reasons == {"weight_out_of_range": 10}
    assert outcome.report["weights"] == {"min": 1e-6, "mean": math.fsum(weights.values()) / 204, "max": 1e6}
    assert "| 1e-06 | 4,902.958333 | 1,000,000 |" in outcome.page
    assert "weight out of range: much" in outcome.page
    assert "weight out of range: (none)" in outcome.page


def test_bad_weights_are_shown_where_there_are_too_many(run: Run) -> None:
    rows = raw_table(sound_rows()).with_columns(weight=pl.lit("3,5"))
    with pytest.raises(QuarantineLimitExceeded, match=r"weight out of range\s+60 .*label 0, weight 3,5, text Is 0"):
        run(rows)


def test_rows_that_are_held_out_need_no_weight(run: Run) -> None:
    given: list[Row] = [(f"{split} {number}", str(number % 2), split) for split in SPLITS for number in range(20)]
    rows = raw_table(given).with_columns(weight=pl.when(pl.col("split") == "train").then(pl.lit("2")))
    outcome = run(rows, given=" ".join(SPLITS))
    assert outcome.split("train")["weight"].to_list() == [2.0] * 20
    assert outcome.split("test")["weight"].to_list() == [None] * 20
    assert outcome.report["weights"] == {"min": 2, "mean": 2, "max": 2}


def test_without_a_weight_column_there_are_no_weights(run: Run) -> None:
    outcome = run(sound_rows())
    assert "weight" not in outcome.kept.columns + outcome.turned_away.columns
    assert "weights" not in outcome.report
    assert "Weights" not in outcome.page


@pytest.mark.parametrize("column", ["id", "slice.text"])
def test_equal_rows_give_equal_files(run: Run, column: str) -> None:
    rows = table().drop("group")
    assert run(rows).contents() == run(rows).contents()
    assert run(rows).contents() != run(rows.with_columns(pl.lit("other").alias(column))).contents()
