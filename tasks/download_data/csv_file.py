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
    import polars as pl

# More than any text; a cell that is longer has swallowed rows, because its quote is never closed.
_LONGEST_CELL = 10_000_000

_Records = Generator[tuple[int, list[str]], None, None]


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
        positions = [header.index(name) for name in recipe.wanted.values()]
        width = len(header)
        columns: list[list[str | None]] = [[] for _ in positions]
        for line, record in records:
            if len(record) != width:
                raise _ragged(len(record), width, path, line, recipe)
            for column, position in zip(columns, positions, strict=True):
                column.append(record[position] or None)
            if len(columns[0]) == most_rows:
                yield pl.DataFrame(dict(zip(recipe.wanted, columns, strict=True)), schema=schema)
                columns = [[] for _ in positions]
        if columns[0]:
            yield pl.DataFrame(dict(zip(recipe.wanted, columns, strict=True)), schema=schema)


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
def _opened(path: Path, recipe: DataRecipe) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """The names of the columns, and the rows."""
    with open_text(path, recipe.encoding) as file, closing(_records(file, path, recipe)) as records:
        first = next(records, (0, []))
        rows: Iterator[tuple[int, list[str]]] = records
        header = first[1]
        if not recipe.header:
            header = [str(number + 1) for number in range(len(first[1]))]
            rows = itertools.chain([first], records)
        check_columns(header, recipe.wanted, str(path))
        yield header, rows


def _records(file: TextIO, path: Path, recipe: DataRecipe) -> _Records:
    usual = csv.field_size_limit(_LONGEST_CELL)
    delimiter = _delimiter(path, recipe)
    if recipe.quotes:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
    else:
        reader = csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    last = 0
    try:
        while True:
            last = reader.line_num
            record = next(reader, None)
            if record is None:
                return
            if record:
                yield last + 1, record
    except csv.Error as error:
        raise InvalidData(
            f"The file is no well-formed CSV: {error}.",
            where=f"{path}, row that begins at line {last + 1}",
            remedy="Close each quote, and double the quotes within a quoted cell; or set data.quotes to false, if "
            "quotes are part of the text.",
        ) from error
    finally:
        csv.field_size_limit(usual)


def _delimiter(path: Path, recipe: DataRecipe) -> str:
    return recipe.delimiter or ("\t" if plain_name(path.name).lower().endswith(".tsv") else ",")


def _ragged(cells: int, width: int, path: Path, line: int, recipe: DataRecipe) -> InvalidData:
    delimiter = _delimiter(path, recipe)
    first = "the header" if recipe.header else "the first row"
    remedy = "Put cells that hold the delimiter, quotes or line breaks in quotes, and double the quotes within."
    if not recipe.quotes:
        remedy = f"Take {json.dumps(delimiter)} out of the texts, or set data.quotes to true, if it stands in quotes."
    return InvalidData(
        f"A row has {cells} cells where {first} has {width}.", where=f"{path}, line {line}", remedy=remedy
    )
