"""Rows that are judged bucket by bucket: whatever the shards and the buckets, it is what becomes of them together."""

import itertools
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from tasks.preprocess.buckets import read_bucket, read_verdicts
from tasks.preprocess.judge import judge
from tasks.preprocess.settle import settle
from tests.preprocess.conftest import in_buckets, raw_table, sound_rows
from tests.preprocess.test_properties import few, labels, texts

rows = st.lists(
    st.tuples(
        # Copies often, of one label as of two.
        few | texts,
        st.sampled_from(["0", "0", "1"]) | labels | st.sampled_from(["0,1", "1, 0", "0,2", ",", '["0", "1"]']),
        st.sampled_from(["train", "train", "validation", "test"]),
        st.sampled_from([None, "", "Or not?", "Ｏr not?"]),
        st.sampled_from(["1", " 2.5", "0", "much", None]),
        st.sampled_from([None, "", "a", "b"]),
    ),
    min_size=20,
    max_size=40,
)
GIVEN = [("source",), ("train", "test"), ("train", "validation", "test")]
FURTHER = {"text_pair": 3, "weight": 4, "group": 5}


def write(table: pl.DataFrame, cuts: list[int], folder: Path) -> list[Path]:
    """Shards that end where the table is cut."""
    folder.mkdir(parents=True)
    ends, raw = sorted(min(cut, table.height) for cut in cuts), []
    for number, (start, end) in enumerate(itertools.pairwise([0, *ends, table.height])):
        raw.append(folder / f"{number}.parquet")
        table[start:end].write_parquet(raw[-1])
    return raw


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    dirty=rows,
    cuts=st.lists(st.integers(0, 40), max_size=3),
    buckets=st.integers(1, 5),
    handles=st.sampled_from(GIVEN),
    further=st.sets(st.sampled_from(sorted(FURTHER))),
    mapped=st.booleans(),
    unmapped=st.sampled_from(["quarantine", "drop"]),
    separator=st.sampled_from([None, None, ","]),
    exact=st.booleans(),
)
@example([], [], 3, ("source",), set(), False, "quarantine", None, False)
@example([("Why?", "0", "train", None, None, None)], [0, 1], 7, ("train", "test"), {"weight"}, True, "drop", ",", True)
def test_buckets_change_nothing(
    dirty: list[tuple[Any, ...]],
    cuts: list[int],
    buckets: int,
    handles: tuple[str, ...],
    further: set[str],
    mapped: bool,
    unmapped: str,
    separator: str | None,
    exact: bool,
) -> None:
    table = raw_table([(row[0], row[1], row[2]) for row in dirty])
    if handles == ("source",):
        table = table.with_columns(pl.lit(None, dtype=pl.String).alias("split"))
    more = (pl.Series(name, [row[FURTHER[name]] for row in dirty], dtype=pl.String) for name in sorted(further))
    table = table.with_columns(*more)
    # Where all splits are given, a group has no meaning.
    further -= {"group"} if len(handles) == 3 else set()
    columns: dict[str, Any] = {name: f"{name}.csv" for name in handles} | {name: name for name in further}
    columns |= {"label_separator": separator} if separator else {}
    columns |= {"labels": {"0": "no", "1": "yes", "0.0": "no"}, "unmapped": unmapped} if mapped else {}
    data = DataRecipe.model_validate(columns)
    recipe = PreprocessRecipe(
        min_characters=2, max_characters=50, replace=["urls"], exact_shares=exact, test_fraction=0.3
    )
    with tempfile.TemporaryDirectory() as folder:
        together, apart = (Path(folder) / name for name in ("together", "apart"))
        (all_rows,), _ = in_buckets(write(table, [], together), 1, recipe, data, together)
        expected = settle(judge(read_bucket([all_rows], 0), recipe, data), recipe, data)
        _, verdicts = in_buckets(write(table, cuts, apart), buckets, recipe, data, apart)
        assert_frame_equal(read_verdicts(verdicts), expected, check_exact=True)
    assert ("position" if exact else "assigned") in expected.columns


def test_copies_meet_in_one_bucket_and_others_are_spread(tmp_path: Path) -> None:
    table = raw_table([*sound_rows(300), *sound_rows(300), *[(None, "0")] * 3])
    raw = write(table, [200, 450], tmp_path / "raw")
    read, _ = in_buckets(raw, 4, PreprocessRecipe(), DataRecipe(source="data.csv"), tmp_path)
    found = [read_bucket(read, bucket) for bucket in range(4)]
    assert pl.concat(found)["index"].sort().to_list() == list(range(603))
    for bucket in found:
        assert bucket["index"].is_sorted()
        assert bucket.drop_nulls("key").group_by("key").len()["len"].unique().to_list() == [2]
        assert bucket.height > 60
    # What has no key is no copy of anything.
    assert sorted(bucket["key"].null_count() for bucket in found) == [0, 1, 1, 1]
