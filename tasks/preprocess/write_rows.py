"""Writes the clean rows of each split and the rows that are turned away, a shard at a time."""

from collections.abc import Sequence
from pathlib import Path

import pandera.errors
import pandera.polars as pa
import polars as pl

from hubtune.errors import InvalidData
from hubtune.inference.replacements import Replacement
from schemas.handoff import SLICE, SPLITS
from schemas.rows import Reason
from tasks.preprocess.changes import changes
from tasks.preprocess.listing import listing
from tasks.preprocess.shards import Shards, as_shown
from tasks.preprocess.texts import text_columns

# Of a group of rows in the files that are written: bytes of texts, and rows at most. Some are in memory at a time.
_GROUP_BYTES = 2**24
_GROUP_ROWS = 2**18


def write_rows(
    shards: Shards,
    judged: pl.DataFrame,
    kept: pl.DataFrame,
    listed: pl.Series,
    contract: pa.DataFrameSchema,
    replace: Sequence[Replacement],
    where: str,
    rows: Path,
    quarantine: Path,
    pieces: Path,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write `train.parquet`, `validation.parquet`, `test.parquet` and `quarantine.parquet`.

    Args:
        shards: the raw rows and their normalised texts.
        judged: all rows.
        kept: the clean ones, with their `assigned` split and `label_index`.
        listed: index of each row whose text a report shows.
        contract: what clean rows keep, each by itself.
        replace: what was replaced in the texts.
        where: the source, for messages.
        rows: folder for the splits.
        quarantine: folder for what is turned away.
        pieces: empty folder for what is not joined yet.

    Returns:
        `index` and `changes` of each clean row that normalising changed; `index` and `text` of the rows that a report
        shows.

    Raises:
        InvalidData: the rows break the contract.
    """
    splits = {split: _File(pieces / split) for split in SPLITS}
    others = _File(pieces / "others")
    verdict = ["assigned", "label_index", *(["counts"] if "counts" in kept.columns else [])]
    weights = [pl.col("counts").alias("weight")] if "counts" in kept.columns else []
    carried = [name for name in shards.columns if name == "id" or name.startswith(SLICE)]
    as_came = [name for name in (*text_columns(shards.columns), "label", "weight") if name in shards.columns]
    turned_away = pl.col("reason").is_not_null() & (pl.col("reason") != Reason.UNMAPPED_LABEL.value)
    texts: dict[int, str | None] = {}
    changed, first = [], 0
    for shard in shards.each():
        end = first + shard.height
        ours = kept[kept["index"].search_sorted(first) : kept["index"].search_sorted(end)]
        clean = pl.concat([shard[ours["index"] - first], ours.select(verdict)], how="horizontal")
        keep_contract(contract, clean.select(*weights, text="clean", label="label_index"), where)
        for split, file in splits.items():
            ours = clean.filter(pl.col("assigned") == split)
            file.add(ours.select("key", *carried, *weights, text="clean", label="label_index"))
        verdicts = judged[first:end].select(pl.col("reason", "broken").cast(pl.String))
        away = pl.concat([shard, verdicts], how="horizontal").filter(turned_away)
        others.add(away.select("row", "source", "reason", "broken", *as_came, *carried))
        found = changes(clean, replace)
        changed.append(found.drop("text"))
        kinds = found.with_columns(kind=pl.col("changes").list.join(", "))
        for told in (listing(kinds, "kind").shown, as_shown(shard.filter(pl.col("index").is_in(listed.implode())))):
            # Not as a table, which would keep all texts of the shard in memory.
            texts |= told.select("index", "text").iter_rows()
        first = end
    for split, file in splits.items():
        file.write(rows / f"{split}.parquet")
    others.write(quarantine / "quarantine.parquet")
    listed_texts = pl.DataFrame(list(texts.items()), schema={"index": pl.UInt32, "text": pl.String}, orient="row")
    return pl.concat(changed), listed_texts


def keep_contract(contract: pa.DataFrameSchema, rows: pl.DataFrame, where: str) -> None:
    """Prove that rows keep a contract that preprocess itself has to keep.

    Args:
        contract: what they keep.
        rows: with its columns.
        where: the source, for the message.

    Raises:
        InvalidData: they do not.
    """
    try:
        contract.validate(rows, lazy=True)
    except pandera.errors.SchemaErrors as error:
        breach = error.failure_cases.row(0, named=True)
        raise InvalidData(
            f"The clean rows break their contract ({breach['column']}: {breach['check']}): {breach['failure_case']!r}.",
            where=where,
            remedy="This is a fault of hubtune, not of the data; please report it with this message.",
        ) from error


class _File:
    """A file that is written piece by piece, and is the same however many pieces there are.

    Args:
        pieces: a folder for them, which is made.
    """

    def __init__(self, pieces: Path) -> None:
        pieces.mkdir()
        self._folder = pieces
        self._pieces: list[Path] = []
        self._rows = self._bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        self._pieces.append(self._folder / f"{len(self._pieces):05d}.parquet")
        self._rows += rows.height
        # As 64 bits: of long texts, a shard may hold more than 4 GiB.
        texts = pl.col(text_columns(rows.columns)).str.len_bytes().cast(pl.Int64)
        self._bytes += int(rows.select(pl.sum_horizontal(texts.sum())).item())
        rows.write_parquet(self._pieces[-1], compression="lz4")

    def write(self, file: Path) -> None:
        group = min(max(1, self._rows * _GROUP_BYTES // max(1, self._bytes)), _GROUP_ROWS)
        table = pl.scan_parquet(self._pieces, glob=False)
        table.sink_parquet(file, compression="zstd", row_group_size=group, maintain_order=True)
        for piece in self._pieces:
            piece.unlink()
