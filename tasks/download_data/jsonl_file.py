"""Data in a JSON Lines file, one object in each line."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.columns import as_label, as_string, check_columns
from tasks.download_data.text_file import open_text

if TYPE_CHECKING:
    import polars as pl


def batches(path: Path, recipe: DataRecipe, most_rows: int) -> Iterator["pl.DataFrame"]:
    """Read the wanted values of each object. Blank lines are no rows; an object may lack some.

    Args:
        path: the file.
        recipe: the keys, and whether a label may be a list, which is then given as a JSON array.
        most_rows: the most rows of one batch.

    Yields:
        Frames of strings, with a column for each wanted value.

    Raises:
        InvalidData: a line is no JSON object, a value is nested, or no object has such a key; the message names the
            line.
    """
    import polars as pl

    schema = dict.fromkeys(recipe.wanted, pl.String)
    rows: list[list[str | None]] = []
    keys: dict[str, None] = {}
    with open_text(path, recipe.encoding) as file:
        for row, values in _rows(file, path, recipe):
            keys |= dict.fromkeys(row)
            rows.append(values)
            if len(rows) == most_rows:
                yield pl.DataFrame(rows, schema=schema, orient="row")
                rows = []
    check_columns(list(keys), recipe.wanted, str(path))
    if rows:
        yield pl.DataFrame(rows, schema=schema, orient="row")


def check(path: Path, recipe: DataRecipe) -> None:
    """Look at the first objects only: as many as it takes until all keys were there.

    That is nearly always one. An object may lack a key, so only the whole file can tell that none has it.

    Args:
        path: the file.
        recipe: as for `batches`.

    Raises:
        InvalidData: what `batches` would raise for these objects.
    """
    keys: dict[str, None] = {}
    with open_text(path, recipe.encoding) as file:
        for row, _ in _rows(file, path, recipe):
            keys |= dict.fromkeys(row)
            if keys.keys() >= set(recipe.wanted.values()):
                return
    check_columns(list(keys), recipe.wanted, str(path))


def _rows(file: TextIO, path: Path, recipe: DataRecipe) -> Iterator[tuple[dict[str, Any], list[str | None]]]:
    label_of = partial(as_label, lists=recipe.lists)
    wanted = [(key, label_of if field == "label" else as_string) for field, key in recipe.wanted.items()]
    for line, content in enumerate(file, start=1):
        if content.strip():
            row = _object(content, path, line)
            yield row, [_value(row, key, convert, path, line) for key, convert in wanted]


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
