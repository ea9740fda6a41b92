"""Data source: a CSV file (RFC 4180: commas, a header, quotes doubled within quotes; line breaks within quotes).

The parser is the standard library's: Polars' is faster (0.07 s against 0.4 s for 300,000 short rows) but gives up the
whole file over one stray quote within an unquoted cell, pads rows that are too short, and cannot say which line is
broken.
"""

import csv
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from hubtune.errors import InvalidData
from tasks.download_data.columns import check_columns
from tasks.download_data.text_file import open_text

if TYPE_CHECKING:
    import polars as pl

# More than any text; a cell that is longer has swallowed rows, because its quote is never closed.
_LONGEST_CELL = 10_000_000


def batches(path: Path, text: str, label: str, most_rows: int, lists: bool = False) -> Iterator["pl.DataFrame"]:
    """Read the text and label columns. Blank lines are no rows; an empty cell is no value.

    Args:
        path: the file.
        text: name of the text column.
        label: name of the label column.
        most_rows: the most rows of one batch.
        lists: without meaning here: a cell is one string, whatever it holds.

    Yields:
        Frames with the string columns `text` and `label`.

    Raises:
        InvalidData: the file is no UTF-8 CSV with these columns; the message names the line.
    """
    import polars as pl

    del lists
    schema = {"text": pl.String, "label": pl.String}
    texts: list[str | None] = []
    labels: list[str | None] = []
    with open_text(path) as file, closing(_records(file, path)) as records:
        _, header = next(records, (0, []))
        check_columns(header, text, label, str(path))
        text_at, label_at, width = header.index(text), header.index(label), len(header)
        for line, record in records:
            if len(record) != width:
                raise InvalidData(
                    f"A row has {len(record)} cells where the header has {width}.",
                    where=f"{path}, line {line}",
                    remedy="Put cells that hold commas, quotes or line breaks in quotes, and double the quotes within.",
                )
            texts.append(record[text_at] or None)
            labels.append(record[label_at] or None)
            if len(texts) == most_rows:
                yield pl.DataFrame({"text": texts, "label": labels}, schema=schema)
                texts, labels = [], []
    if texts:
        yield pl.DataFrame({"text": texts, "label": labels}, schema=schema)


def check(path: Path, text: str, label: str, lists: bool = False) -> None:
    """Look at the header only.

    Args:
        path: the file.
        text: name of the text column.
        label: name of the label column.
        lists: without meaning here.

    Raises:
        InvalidData: what `batches` would raise before its first row.
    """
    del lists
    with open_text(path) as file, closing(_records(file, path)) as records:
        _, header = next(records, (0, []))
        check_columns(header, text, label, str(path))


def _records(file: TextIO, path: Path) -> Generator[tuple[int, list[str]], None, None]:
    usual = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(file, strict=True)
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
            remedy="Close each quote, and double the quotes within a quoted cell.",
        ) from error
    finally:
        csv.field_size_limit(usual)
