"""Reads the source that a recipe names into Parquet shards, row by row as it came: nothing is judged or changed here.

Consumes: a `DataRecipe`. Emits: the files of a `raw` artifact (see `schemas.handoff.RawFacts`). The same bytes under
the same file name give the same artifact, wherever the file lies and whenever it was written.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtune.errors import InvalidData
from hubtune.progress import Progress, Say
from schemas.data_recipe import DATABASES, TFDS, DataRecipe, HandleField
from schemas.handoff import TEXTS, RawFacts, Split
from tasks import http
from tasks.download_data import bucket_files, local_files, sample, tfds_dataset
from tasks.download_data.http_file import HttpFile
from tasks.download_data.source_file import PARQUET, Place, SourceFile, kind_of
from tasks.download_data.sql_query import SqlQuery, sqlite_file
from tasks.download_data.text_file import likely_encoding

if TYPE_CHECKING:
    import polars as pl

# Rows in memory at a time, and in a shard: some 30 to 100 MB of short texts.
SHARD_ROWS = 250_000

REPLACEMENT_CHARACTER = "\ufffd"
# Above this share of rows with undecodable bytes, the file is not dirty but in another encoding.
OTHER_ENCODING_SHARE = 0.5


def read(recipe: DataRecipe, folder: Path, say: Say, password: str | None = None) -> RawFacts:
    """Read the rows of the source, or of each file that is a split, into Parquet shards.

    Args:
        recipe: the source and the names of its columns.
        folder: an empty folder; the files of a `raw` artifact are written into it.
        say: takes lines of progress.
        password: of the database that is asked.

    Returns:
        How many rows and files there were, and whether the files are splits.

    Raises:
        SourceNotFound: a file does not exist.
        SourceUnavailable: a server or bucket did not answer, or broke off.
        InvalidData: a file cannot be read as what its name says, lacks a column, or holds no rows.
    """
    import polars as pl

    shards = folder / "rows"
    shards.mkdir(parents=True)
    total = shard = 0
    sources = _sources(recipe, say, password)
    for source in sources:
        with tempfile.TemporaryDirectory(prefix=".arriving-", dir=folder) as arriving:
            path = source.place.fetch(Path(arriving), say)
            progress = Progress(say, f"Reading {source.name}", None, "rows")
            rows = undecodable = 0
            for batch in _batches(source, path, recipe):
                batch.select(
                    pl.int_range(rows + 1, rows + 1 + pl.len(), dtype=pl.Int64).alias("row"),
                    pl.lit(source.name).alias("source"),
                    pl.lit(source.split, dtype=pl.String).alias("split"),
                    *recipe.wanted,
                ).write_parquet(shards / f"{shard:05d}.parquet", compression="zstd")
                rows += batch.height
                texts = pl.col([name for name in TEXTS if name in batch.columns])
                found = texts.str.contains(REPLACEMENT_CHARACTER, literal=True)
                undecodable += int(batch.select(pl.any_horizontal(found).sum()).item())
                shard += 1
                progress.advance(batch.height)
            progress.finish()
            _check_rows(source, path, rows, undecodable)
        total += rows
    return RawFacts(rows=total, files=len(sources), given_splits=recipe.train is not None)


def check_source(recipe: DataRecipe) -> None:
    """Everything that can be told of the source without reading its rows or asking a server.

    What it raises, `read` would raise too. Only headers, first objects and Parquet schemas are read, and Polars is
    imported for Parquet alone, so a command line can ask this before it starts anything, however large the files are.

    Args:
        recipe: the source and the names of its columns.

    Raises:
        SourceNotFound: a file does not exist.
        InvalidData: a file is not what its name says, may not be read, or lacks a wanted column.
    """
    for field, handle in recipe.handles.items():
        where = _where(field, handle)
        if handle.startswith("sqlite://"):
            sqlite_file(handle, where)
        elif handle.startswith(TFDS):
            tfds_dataset.check(handle, recipe.data_dir, recipe.download, where)
        elif not _is_remote(handle, where):
            for source in _find(recipe, field, handle, _nothing):
                source.kind.check(source.place.fetch(Path(), _nothing), recipe)
        elif http.is_address(handle):
            kind_of(HttpFile(handle).name, recipe, where)
        elif recipe.query is None:
            bucket_files.check(handle, recipe, where)


def _nothing(line: str) -> None:
    """Says nothing: what is asked takes no time."""


def source_fingerprint(recipe: DataRecipe, say: Say = _nothing) -> dict[str, Any] | None:
    """What identifies the source's content, without reading its rows.

    Args:
        recipe: the source.
        say: takes a line whenever a server has to be asked again.

    Returns:
        JSON values: for each file its split (or None), its name, and a checksum of its content or what a server says
        of it; neither folder nor time of change of local files. None where a server says nothing that would tell.

    Raises:
        SourceNotFound: a file does not exist.
        SourceUnavailable: a server or bucket did not answer.
        InvalidData: a file is of a kind that is not read here, or may not be read.
    """
    files = []
    for source in _sources(recipe, say):
        content = source.place.fingerprint(say)
        if content is None:
            return None
        files.append({"split": source.split, "name": source.name, **content})
    return {"files": files}


# What the rows of each field's files are given for; None: they are split here.
_SPLITS: Mapping[HandleField, Split | None] = {
    "source": None,
    "train": "train",
    "validation": "validation",
    "test": "test",
}


def _sources(recipe: DataRecipe, say: Say, password: str | None = None) -> list[SourceFile]:
    handles = recipe.handles.items()
    return [source for field, handle in handles for source in _find(recipe, field, handle, say, password)]


def _find(
    recipe: DataRecipe, field: HandleField, handle: str, say: Say, password: str | None = None
) -> list[SourceFile]:
    where = _where(field, handle)
    if recipe.query is not None:
        asked = SqlQuery(handle, recipe, password, where)
        return [SourceFile("query", asked, where, None, PARQUET)]
    if handle.startswith(TFDS):
        split = _SPLITS[field] or recipe.split or "train"
        prepared = tfds_dataset.find(handle, split, recipe.data_dir, recipe.download, where, say)
        return [SourceFile(handle, prepared, where, _SPLITS[field], PARQUET)]
    places: Mapping[str, Place]
    if recipe.source == "sample":
        places = local_files.find(str(sample.PATH), where)
    elif not _is_remote(handle, where):
        places = local_files.find(handle, where)
    elif http.is_address(handle):
        places = {HttpFile(handle).name: HttpFile(handle)}
    else:
        places = bucket_files.find(handle, where)
    return [
        SourceFile(name, place, _where(field, place.address), _SPLITS[field], kind_of(name, recipe, where))
        for name, place in places.items()
    ]


def _where(field: str, handle: str) -> str:
    return f"data.{field}: {http.shown(handle, patterns=True)}"


def _is_remote(handle: str, where: str) -> bool:
    scheme, found, _ = handle.partition("://")
    scheme = scheme.lower()
    if not found or scheme == "file":
        return False
    if scheme not in ("http", "https", "gs", *DATABASES):
        raise InvalidData(
            f"Data cannot be fetched from {scheme}:// addresses.",
            where=where,
            remedy="Name a path, an http(s) or gs:// address, or a database; or download the file and name the copy.",
        )
    return True


def _batches(source: SourceFile, path: Path, recipe: DataRecipe) -> Iterator["pl.DataFrame"]:
    try:
        yield from source.kind.batches(path, recipe, SHARD_ROWS)
    except InvalidData as error:
        # A copy that was fetched is gone when the message is read.
        where = error.where.replace(str(path), source.place.address)
        raise InvalidData(error.what, where=where, remedy=error.remedy) from error


def _check_rows(source: SourceFile, path: Path, rows: int, undecodable: int) -> None:
    if not rows:
        raise InvalidData(
            "The data file holds no rows.", where=source.where, remedy="Name a file with at least some rows."
        )
    if undecodable > rows * OTHER_ENCODING_SHARE and source.kind is PARQUET:
        raise InvalidData(
            f"{undecodable:,} of {rows:,} rows hold bytes that are no UTF-8.",
            where=source.where,
            remedy="Write texts as strings, not as bytes in another encoding.",
        )
    if undecodable > rows * OTHER_ENCODING_SHARE:
        likely = likely_encoding(path)
        raise InvalidData(
            f"{undecodable:,} of {rows:,} rows hold bytes that are no text in this encoding: the file is in another one"
            f"{f' (perhaps {likely})' if likely else ''}.",
            where=source.where,
            remedy=f"Set data.encoding{f', for instance to {likely}, and look at the texts' if likely else ''}.",
        )
