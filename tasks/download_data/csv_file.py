"""Data in a CSV or TSV file (RFC 4180: a header, quotes doubled within quotes, line breaks within quotes).

The parser is the standard library's: Polars' is faster (0.07 s against 0.4 s for 300,000 short rows) but gives up the
whole file over one stray quote within an unquoted cell, pads rows that are too short, and cannot say which line is
broken.
"""

import csv
import itertools
import json
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.columns import check_columns
from tasks.download_data.compression import plain_name
from tasks.download_data.text_file import open_text

if TYPE_CHECKING:
    from _csv import Reader

    import polars as pl

# More than any text; a cell that is longer has swallowed rows, because its quote is never closed.
_LONGEST_CELL = 10_000_000
_AT_ONCE = 10_000


def batches(path: Path, recipe: DataRecipe, most_rows: int) -> Iterator["pl.DataFrame"]:
    """Read the wanted columns. Blank lines are no rows; an empty cell is no value.

    Args:
        path: the file.
        recipe: the columns, and how cells are told apart. A cell is one string, also where a row may have several
            labels.
        most_rows: the most rows of one batch.

    Yields:
        Frames of strings, with a column for each wanted one.

    Raises:
        InvalidData: the file is no CSV with these columns; the message names the line.
    """
    import polars as pl

    with _opened(path, recipe) as (header, records):
        schema = dict.fromkeys(recipe.wanted, pl.String)
        positions = {field: header.index(name) for field, name in recipe.wanted.items()}
        regular = {0, len(header)}
        cells: dict[str, list[str | None]] = {field: [] for field in positions}
        done = 0
        # Many rows at a time: what is done for each of them in Python is most of what reading takes.
        while part := list(itertools.islice(records, min(_AT_ONCE, most_rows - done))):
            if not regular.issuperset(map(len, part)):
                raise _first_fault(path, recipe)
            for field, at in positions.items():
                cells[field].extend([record[at] or None for record in part if record])
            done = len(cells["text"])
            if done == most_rows:
                yield pl.DataFrame(cells, schema=schema)
                cells, done = {field: [] for field in positions}, 0
        if done:
            yield pl.DataFrame(cells, schema=schema)


def check(path: Path, recipe: DataRecipe) -> None:
    """Look at the header only.

    Args:
        path: the file.
        recipe: as for `batches`.

    Raises:
        InvalidData: what `batches` would raise before its first row.
    """
    with _opened(path, recipe):
        pass


@contextmanager
def _opened(path: Path, recipe: DataRecipe) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The names of the columns, and the rows; a blank line is an empty one."""
    with open_text(path, recipe.encoding) as file, closing(_records(file, path, recipe)) as records:
        first = next((record for record in records if record), [])
        rows: Iterator[list[str]] = records
        header = first
        if not recipe.header:
            header = [str(number + 1) for number in range(len(first))]
            rows = itertools.chain([first], records)
        check_columns(header, recipe.wanted, str(path))
        yield header, rows


def _records(file: TextIO, path: Path, recipe: DataRecipe) -> Generator[list[str], None, None]:
    usual = csv.field_size_limit(_LONGEST_CELL)
    reader = _reader(file, path, recipe)
    try:
        yield from reader
    except csv.Error as error:
        raise _first_fault(path, recipe) from error
    finally:
        csv.field_size_limit(usual)


def _reader(file: TextIO, path: Path, recipe: DataRecipe) -> "Reader":
    delimiter = _delimiter(path, recipe)
    if recipe.quotes:
        return csv.reader(file, delimiter=delimiter, strict=True)
    return csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)


def _first_fault(path: Path, recipe: DataRecipe) -> InvalidData:
    """Read once more, row by row, up to the first row that has another number of cells or cannot be read."""
    usual = csv.field_size_limit(_LONGEST_CELL)
    width = 0
    try:
        with open_text(path, recipe.encoding) as file:
            reader = _reader(file, path, recipe)
            while True:
                line = reader.line_num + 1
                record = next(reader, None)
                if record is None:
                    return InvalidData(
                        "The file changed while it was read.",
                        where=str(path),
                        remedy="Start the run when the export is complete.",
                    )
                width = width or len(record)
                if record and len(record) != width:
                    return _ragged(len(record), width, path, line, recipe)
    except csv.Error as error:
        return InvalidData(
            f"The file is no well-formed CSV: {error}.",
            where=f"{path}, row that begins at line {line}",
            remedy="Close each quote, and double the quotes within a quoted cell; or set data.quotes to false, if "
            "quotes are part of the text.",
        )
    finally:
        csv.field_size_limit(usual)


def _delimiter(path: Path, recipe: DataRecipe) -> str:
    return recipe.delimiter or ("\t" if plain_name(path.name).lower().endswith(".tsv") else ",")


def _ragged(cells: int, width: int, path: Path, line: int, recipe: DataRecipe) -> InvalidData:
    remedy = "Put cells that hold the delimiter, quotes or line breaks in quotes, and double the quotes within."
    if not recipe.quotes:
        delimiter = json.dumps(_delimiter(path, recipe))
        remedy = f"Take {delimiter} out of the texts, or set data.quotes to true, if it stands in quotes."
    first = "the header" if recipe.header else "the first row"
    return InvalidData(
        f"A row has {cells} cells where {first} has {width}.", where=f"{path}, line {line}", remedy=remedy
    )
