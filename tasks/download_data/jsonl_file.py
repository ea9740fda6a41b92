"""Data source: a JSON Lines file, one object in each line."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hubtune.errors import InvalidData
from tasks.download_data.columns import as_label, as_string, check_columns
from tasks.download_data.text_file import open_text

if TYPE_CHECKING:
    import polars as pl


def batches(path: Path, text: str, label: str, most_rows: int, lists: bool = False) -> Iterator["pl.DataFrame"]:
    """Read the text and label of each object. Blank lines are no rows; an object may lack either.

    Args:
        path: the file.
        text: key of the text.
        label: key of the label.
        most_rows: the most rows of one batch.
        lists: whether a label may be a list, which is then given as a JSON array.

    Yields:
        Frames with the string columns `text` and `label`.

    Raises:
        InvalidData: a line is no JSON object, a value is nested, or no object has such a key; the message names the
            line.
    """
    import polars as pl

    schema = {"text": pl.String, "label": pl.String}
    texts: list[str | None] = []
    labels: list[str | None] = []
    keys: dict[str, None] = {}
    with open_text(path) as file:
        for row, of_text, of_label in _rows(file, path, text, label, lists):
            keys |= dict.fromkeys(row)
            texts.append(of_text)
            labels.append(of_label)
            if len(texts) == most_rows:
                yield pl.DataFrame({"text": texts, "label": labels}, schema=schema)
                texts, labels = [], []
    check_columns(list(keys), text, label, str(path))
    if texts:
        yield pl.DataFrame({"text": texts, "label": labels}, schema=schema)


def check(path: Path, text: str, label: str, lists: bool = False) -> None:
    """Look at the first objects only: as many as it takes until both keys were there.

    That is nearly always one. An object may lack a key, so only the whole file can tell that none has it.

    Args:
        path: the file.
        text: key of the text.
        label: key of the label.
        lists: whether a label may be a list.

    Raises:
        InvalidData: what `batches` would raise for these objects.
    """
    keys: dict[str, None] = {}
    with open_text(path) as file:
        for row, _, _ in _rows(file, path, text, label, lists):
            keys |= dict.fromkeys(row)
            if text in keys and label in keys:
                return
    check_columns(list(keys), text, label, str(path))


def _rows(
    file: TextIO, path: Path, text: str, label: str, lists: bool
) -> Iterator[tuple[dict[str, Any], str | None, str | None]]:
    label_of = partial(as_label, lists=lists)
    for line, content in enumerate(file, start=1):
        if content.strip():
            row = _object(content, path, line)
            yield row, _value(row, text, as_string, path, line), _value(row, label, label_of, path, line)


def _object(content: str, path: Path, line: int) -> dict[str, Any]:
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidData(
            f"A line is no JSON: {error}.",
            where=f"{path}, line {line}",
            remedy='Write one JSON object per line, for instance {"text": "How?", "label": "0"}.',
        ) from error
    if not isinstance(row, dict):
        raise InvalidData(
            f"A line holds a JSON {type(row).__name__}, not an object.",
            where=f"{path}, line {line}",
            remedy='Write one JSON object per line, for instance {"text": "How?", "label": "0"}.',
        )
    return row


def _value(row: dict[str, Any], key: str, convert: Callable[[Any], str | None], path: Path, line: int) -> str | None:
    value = row.get(key)
    try:
        return convert(value)
    except TypeError as error:
        raise InvalidData(
            f"The value of {key!r} is nested: {json.dumps(value)[:80]}.",
            where=f"{path}, line {line}",
            remedy=f"Make {key!r} a single string or number in each line, or name another key in the recipe.",
        ) from error
