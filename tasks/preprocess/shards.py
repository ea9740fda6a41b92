"""Raw rows and their normalised texts, on disk: they are in memory for a shard at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from hubtune.inference.pairs import BETWEEN
from tasks.preprocess.buckets import CLEAN, TEXTS_FILE
from tasks.preprocess.texts import text_columns

# Rows that are worked on together, if shards are smaller: each of many small files is a shard.
_TOGETHER = 5_000


class Shards:
    """All rows in their order.

    Args:
        raw: the shards of a `raw` artifact.
        read: folder of each with what `write_shard` wrote of it.
    """

    def __init__(self, raw: Sequence[Path], read: Sequence[Path]) -> None:
        self._files = list(zip(raw, (folder / TEXTS_FILE for folder in read), strict=True))
        self.columns = list(pl.read_parquet_schema(raw[0]))
        """Of the raw rows."""

    def each(self) -> Iterator[pl.DataFrame]:
        """The shards, small ones together: the raw rows with their `index`, `clean` text and `key`."""
        tables: list[pl.DataFrame] = []
        start = waiting = 0
        for raw, texts in self._files:
            told = pl.read_parquet(texts, glob=False)
            rows = pl.read_parquet(raw, glob=False)
            tables.append(pl.concat([rows.with_row_index("index", start), told], how="horizontal"))
            start, waiting = start + rows.height, waiting + rows.height
            if waiting >= _TOGETHER:
                yield pl.concat(tables)
                tables, waiting = [], 0
        if tables:
            yield pl.concat(tables)

    def clean(self, rows: pl.DataFrame) -> pl.Series:
        """The normalised texts of some rows, all in memory.

        Args:
            rows: with their `index`.

        Returns:
            `clean`, of each row.
        """
        texts = pl.concat(pl.read_parquet(texts, columns=[CLEAN], glob=False) for _, texts in self._files)
        return texts[CLEAN].gather(rows["index"])

    def clean_columns(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The normalised texts of some rows, all in memory.

        Args:
            rows: with their `index`.

        Returns:
            The rows with `text` and, of pairs, `text_pair`.
        """
        clean = self.clean(rows)
        names = text_columns(self.columns)
        if len(names) == 1:
            return rows.with_columns(clean.alias(names[0]))
        both = clean.str.split_exact(BETWEEN, 1).struct.rename_fields(names).struct.unnest()
        return pl.concat([rows, both], how="horizontal")

    def as_they_came(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Some rows as a message or a report shows them.

        Args:
            rows: few of them, with their `index`.

        Returns:
            The rows with `text`: as it came, of a pair both texts.
        """
        found = pl.concat(as_shown(shard.join(rows.select("index"), on="index", how="semi")) for shard in self.each())
        return rows.join(found, on="index", how="left", maintain_order="left")


def as_shown(rows: pl.DataFrame) -> pl.DataFrame:
    """`index` and `text` of raw rows: as it came, of a pair both texts."""
    names = text_columns(rows.columns)
    if len(names) == 1:
        return rows.select("index", *names)
    return rows.select("index", text=pl.concat_str(pl.col(*names).fill_null("(none)"), separator=BETWEEN))
