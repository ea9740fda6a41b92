"""Rows on their way from shards to buckets, and back: copies of a text, of whatever shards, meet in one bucket.

Of each shard this much is written: the normalised texts, which are read shard by shard when the clean rows are written;
and without texts, in a file for each bucket, what rows are judged by. On a cluster there are as many buckets as shards,
and each is judged by itself; elsewhere there is one.
"""

from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import polars as pl

from hubtune.inference.replacements import Replacement
from schemas.handoff import SPLITS
from tasks.preprocess.texts import read_texts

TEXTS_FILE = "texts.parquet"
"""The file of a shard with `clean` and `key`, as `read_texts` gives them."""
CLEAN = "clean"
"""The column of normalised texts in it."""
VERDICTS_FILE = "verdicts.parquet"
"""The file with what became of the rows of a bucket."""

# Of the raw rows, what they are judged by.
_JUDGED_BY = ("row", "source", "split", "label", "weight")
# What takes a few values, again and again.
_FEW = ("source", "label", "classes", "unknown", "broken")


def bucket_file(bucket: int) -> str:
    """The file of a shard with what its rows in a bucket are judged by."""
    return f"buckets/{bucket:05d}.parquet"


def first_rows(raw: Sequence[Path]) -> list[int]:
    """Index of the first row of each shard among all rows; the shards are not read for it."""
    heights = (pl.scan_parquet(shard, glob=False).select(pl.len()).collect().item() for shard in raw)
    return list(accumulate(heights, initial=0))[:-1]


def write_shard(
    raw: Path,
    first: int,
    buckets: int,
    replace: Collection[Replacement],
    together: str | None,
    folder: Path,
    compression: Literal["zstd", "uncompressed"],
) -> int:
    """Read the texts of a shard, and write what is told of them.

    Args:
        raw: the shard of a `raw` artifact.
        first: index of its first row among all rows.
        buckets: how many there are. The result of preprocess does not depend on it.
        replace: what is replaced in the texts.
        together: the column whose equal values are kept in one split, if any is.
        folder: empty folder for the files.
        compression: of the files.

    Returns:
        How many rows there are.
    """
    rows = pl.read_parquet(raw, glob=False)
    told = read_texts(rows, replace, together)
    told.select(CLEAN, "key").write_parquet(folder / TEXTS_FILE, compression=compression)
    came = rows.select(name for name in _JUDGED_BY if name in rows.columns).cast({"split": pl.Enum(SPLITS)})
    judged_by = pl.concat([came, told.drop(CLEAN)], how="horizontal").with_row_index("index", first)
    # A text that cannot be read is no copy of anything: such rows are spread, however many there are.
    hashed = pl.col("key").bin.head(4).bin.reinterpret(dtype=pl.UInt32, endianness="big")
    number = hashed.fill_null(pl.int_range(pl.len(), dtype=pl.UInt32)) % buckets
    of_each = told.select(number.alias("bucket"))["bucket"]
    (folder / bucket_file(0)).parent.mkdir()
    for bucket in range(buckets):
        ours = judged_by if buckets == 1 else judged_by.filter(of_each == bucket)
        ours.write_parquet(folder / bucket_file(bucket), compression=compression)
    return rows.height


def read_bucket(folders: Sequence[Path], bucket: int) -> pl.DataFrame:
    """What the rows of a bucket are judged by.

    Args:
        folders: what `write_shard` wrote of each shard, in the order of the rows.
        bucket: its number.

    Returns:
        The rows in their order, with their `index` among all rows.
    """
    return pl.concat(_read(folder / bucket_file(bucket)) for folder in folders)


def write_verdicts(verdicts: pl.DataFrame, file: Path) -> None:
    """Write what became of the rows of a bucket.

    Args:
        verdicts: what `settle` gave.
        file: where to.
    """
    # As strings: categories are numbered by what a process has seen, and a file is to depend on its rows alone.
    verdicts.with_columns(pl.col(_FEW).cast(pl.String)).write_parquet(file, compression="zstd")


def read_verdicts(files: Sequence[Path]) -> pl.DataFrame:
    """What became of the rows of all buckets.

    Args:
        files: what `write_verdicts` wrote of each bucket.

    Returns:
        All rows in their order.
    """

    # Column by column: to sort them all at once takes several times the memory of the table.
    def column(name: str) -> pl.Series:
        return pl.concat(_read(file, [name]) for file in files)[name]

    order = column("index").arg_sort()
    return pl.DataFrame([column(name).gather(order) for name in pl.read_parquet_schema(files[0])])


def _read(file: Path, columns: list[str] | None = None) -> pl.DataFrame:
    table = pl.read_parquet(file, columns=columns, glob=False)
    return table.with_columns(pl.col(name).cast(pl.Categorical) for name in _FEW if name in table.columns)
