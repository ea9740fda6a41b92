"""Reads the source that a recipe names into Parquet shards, row by row as it came: nothing is judged or changed here.

Consumes: a `DataRecipe`. Emits: the files of a `raw` artifact (see `schemas.handoff.RawFacts`). The same bytes under
the same file name give the same artifact, wherever the file lies and whenever it was written.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtune.errors import InvalidData, SourceNotFound
from hubtune.progress import Progress, Say
from schemas.handoff import RawFacts, Split
from schemas.recipe import DataRecipe
from tasks.download_data import csv_file, jsonl_file, parquet_file, sample

if TYPE_CHECKING:
    import polars as pl

# Rows in memory at a time, and in a shard: some 30 to 100 MB of short texts.
SHARD_ROWS = 250_000

REPLACEMENT_CHARACTER = "\ufffd"
# Above this share of rows with undecodable bytes, the file is not dirty but in another encoding.
OTHER_ENCODING_SHARE = 0.5

Batches = Callable[[Path, str, str, int, bool], Iterator["pl.DataFrame"]]
"""What a source file's module offers: (path, text column, label column, most rows per batch, whether labels may be
lists) -> batches with the string columns `text` and `label`, null where the source has no value."""

Check = Callable[[Path, str, str, bool], None]
"""And its cheap part: (path, text column, label column, whether labels may be lists); raises what `Batches` would raise
before the first row."""


@dataclass(frozen=True)
class _Format:
    batches: Batches
    check: Check


# A new format is one entry here, and a module with these two functions.
_FORMATS = {
    ".csv": _Format(csv_file.batches, csv_file.check),
    ".jsonl": _Format(jsonl_file.batches, jsonl_file.check),
    ".ndjson": _Format(jsonl_file.batches, jsonl_file.check),
    ".parquet": _Format(parquet_file.batches, parquet_file.check),
}


def read(recipe: DataRecipe, folder: Path, say: Say) -> RawFacts:
    """Read the rows of the source, or of each file that is a split, into Parquet shards.

    Args:
        recipe: the source and the names of its columns.
        folder: an empty folder; the files of a `raw` artifact are written into it.
        say: takes lines of progress.

    Returns:
        How many rows and files there were, and whether the files are splits.

    Raises:
        SourceNotFound: a file does not exist.
        InvalidData: a file cannot be read as what its name says, lacks a column, or holds no rows.
    """
    import polars as pl

    shards = folder / "rows"
    shards.mkdir(parents=True)
    total = shard = 0
    sources = _sources(recipe)
    for source in sources:
        progress = Progress(say, f"Reading {source.path.name}", None, "rows")
        rows = undecodable = 0
        for batch in source.format.batches(source.path, recipe.text, recipe.label, SHARD_ROWS, _has_lists(recipe)):
            batch.select(
                pl.int_range(rows + 1, rows + 1 + pl.len(), dtype=pl.Int64).alias("row"),
                pl.lit(source.path.name).alias("source"),
                pl.lit(source.split, dtype=pl.String).alias("split"),
                "text",
                "label",
            ).write_parquet(shards / f"{shard:05d}.parquet", compression="zstd")
            rows += batch.height
            undecodable += int(batch["text"].str.contains(REPLACEMENT_CHARACTER, literal=True).sum())
            shard += 1
            progress.advance(batch.height)
        progress.finish()
        _check_rows(source, rows, undecodable)
        total += rows
    return RawFacts(rows=total, files=len(sources), given_splits=recipe.train is not None)


def check_source(recipe: DataRecipe) -> None:
    """Everything that can be told of the source without reading its rows; what it raises, `read` would raise too.

    Only headers, first objects and Parquet schemas are read, and Polars is imported for Parquet alone, so a command
    line can ask this before it starts anything, however large the files are.

    Args:
        recipe: the source and the names of its columns.

    Raises:
        SourceNotFound: a file does not exist.
        InvalidData: a file is not what its name says, may not be read, or lacks the text or the label column.
    """
    for source in _sources(recipe):
        source.format.check(source.path, recipe.text, recipe.label, _has_lists(recipe))


def source_fingerprint(recipe: DataRecipe) -> dict[str, Any]:
    """What identifies the source's content, without reading its rows: the name and sha256 of each file.

    Args:
        recipe: the source.

    Returns:
        JSON values: for each file its split (or None), name and sha256; neither folder nor time of change.

    Raises:
        SourceNotFound: a file does not exist.
        InvalidData: a file is of a kind that is not read here, or may not be read.
    """
    files = []
    for source in _sources(recipe):
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append({"split": source.split, "name": source.path.name, "sha256": digest})
    return {"files": files}


def _has_lists(recipe: DataRecipe) -> bool:
    # A complete recipe has a separator where, and only where, a row may have several labels.
    return recipe.label_separator is not None


@dataclass(frozen=True)
class _Source:
    split: Split | None
    path: Path
    field: str
    format: _Format


def _sources(recipe: DataRecipe) -> list[_Source]:
    if recipe.source == "sample":
        return [_local(None, str(sample.PATH), "data.source")]
    if recipe.source is not None:
        return [_local(None, recipe.source, "data.source")]
    given: list[tuple[Split, str | None]] = [
        ("train", recipe.train),
        ("validation", recipe.validation),
        ("test", recipe.test),
    ]
    return [_local(split, handle, f"data.{split}") for split, handle in given if handle is not None]


def _local(split: Split | None, handle: str, field: str) -> _Source:
    where = f"{field}: {handle}"
    if "://" in handle and not handle.startswith("file://"):
        raise InvalidData(
            f"Data is read from local files only, not from {handle.split('://')[0]}:// addresses.",
            where=where,
            remedy="Download the file first and name the local copy.",
        )
    path = Path(handle.removeprefix("file://"))
    try:
        path = path.expanduser()
        found = path.exists()
    except (OSError, RuntimeError):  # a path longer than any can be; `~somebody` who is no user here
        found = False
    if not found:
        raise SourceNotFound(
            f"The data file {path} does not exist.",
            where=where,
            remedy=f"Correct the path (relative paths start at {Path.cwd()}), or name `sample`.",
        )
    if path.is_dir():
        raise InvalidData("The data source is a folder.", where=where, remedy=f"Name {_known_kinds()} in it.")
    known = _FORMATS.get(path.suffix.lower())
    if known is None:
        suffix = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise InvalidData(
            f"The data file has {suffix}, which says not how to read it.", where=where, remedy=f"Name {_known_kinds()}."
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidData(
            f"The data file cannot be opened: {error.strerror or error}.",
            where=where,
            remedy="Make it readable, or name a copy.",
        ) from error
    return _Source(split, path, field, known)


def _known_kinds() -> str:
    *first, last = sorted(_FORMATS)
    return f"a {', '.join(first)} or {last} file"


def _check_rows(source: _Source, rows: int, undecodable: int) -> None:
    where = f"{source.field}: {source.path}"
    if not rows:
        raise InvalidData("The data file holds no rows.", where=where, remedy="Name a file with at least some rows.")
    if undecodable > rows * OTHER_ENCODING_SHARE:
        raise InvalidData(
            f"{undecodable:,} of {rows:,} rows hold bytes that are not UTF-8: the file is in another encoding.",
            where=where,
            remedy=f"Convert it, for instance: iconv -f WINDOWS-1252 -t UTF-8 {source.path.name} > utf8.csv",
        )
