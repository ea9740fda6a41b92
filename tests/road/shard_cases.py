"""What is preprocessed in shards, with a contract of one's own."""

from typing import Any

import pandera.polars as pa
import polars as pl

_LABELS = {"labels": {"0": "even", "1": "odd"}, "unmapped": "drop"}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {"source": "data.csv"}),
    "exact": ({"exact_shares": True, "near_duplicates": 0.9}, {"source": "data.csv"}),
    "contract": ({"contract": "tests.road.shard_cases:NoThirteen"}, {"source": "data.csv"}),
    "given": ({}, {"train": "train.csv", "test": "test.csv", "weight": "weight"} | _LABELS),
    "pairs": ({}, {"train": "a.csv", "validation": "b.csv", "test": "c.csv", "text_pair": "text_pair"}),
    "groups": ({}, {"source": "data.csv", "group": "group", "label_separator": ","}),
}
"""The sections of the recipe of each case. Its raw rows are in a folder of its name, or in `plain`."""


class NoThirteen(pa.DataFrameModel):
    text: str

    @pa.check("text", name="no thirteen")
    def _no_thirteen(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805  (pandera makes it a class method)
        return data.lazyframe.select(pl.col(data.key).str.contains("13", literal=True).not_())
