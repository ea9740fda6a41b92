"""What all kinds of files have in common: the columns that are wanted, and values as strings."""

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hubtune.errors import InvalidData
from schemas.handoff import SLICE

# Column names that an error message lists; a wide table must not flood it.
_LISTED = 20
# Up to here every integer has a float of its own.
_EXACT_INTEGERS = 2**53


def check_columns(present: Sequence[str], wanted: Mapping[str, str], where: str) -> None:
    """Refuse a file that lacks a wanted column, or has it twice.

    Args:
        present: the names of the columns that exist.
        wanted: for each field of the recipe's data section, the name of its column.
        where: the file.

    Raises:
        InvalidData: with the columns that exist, and the nearest name.
    """
    for field, name in wanted.items():
        if present.count(name) > 1:
            raise InvalidData(
                f"There are {present.count(name)} columns named {name!r}.",
                where=where,
                remedy="Give each column a name of its own.",
            )
        if name not in present:
            raise InvalidData(
                f"There is no column {name!r}; the columns are: {_listed(present)}.",
                where=where,
                remedy=_remedy(present, f"data.{'slices' if field.startswith(SLICE) else field}", name),
            )


def as_string(value: Any) -> str | None:
    """A single value as the string that a CSV export of it would hold.

    Integers that came as floats lose their ".0" (a column of integers with gaps becomes floats in most tools), truth
    values become "true" and "false", and "not a number" is no value.

    Args:
        value: None, a string, number or truth value.

    Returns:
        The string, or None for no value.

    Raises:
        TypeError: the value is nested.
    """
    match value:
        case None:
            return None
        case str():
            # Halves of surrogate pairs ("\ud83d" in JSON) are no text; they are shown as undecodable.
            return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            if math.isnan(value):
                return None
            return str(int(value)) if value.is_integer() and abs(value) < _EXACT_INTEGERS else str(value)
        case _:
            raise TypeError(f"a {type(value).__name__} is no single value")


def as_label(value: Any, lists: bool) -> str | None:
    """A label as a string: a single value as `as_string` gives it, a list as a JSON array of such strings.

    Args:
        value: what stands in the label column.
        lists: whether it may be a list.

    Returns:
        The string, or None for no value.

    Raises:
        TypeError: the value is nested, or is a list of nested ones.
    """
    if lists and isinstance(value, list):
        return json_array([as_string(each) for each in value])
    return as_string(value)


def json_array(labels: Sequence[str | None]) -> str:
    """The labels of one row as a string, which is how they lie in a `raw` artifact."""
    return json.dumps(list(labels), ensure_ascii=False)


def _remedy(present: Sequence[str], field: str, name: str) -> str:
    if len(present) == 1:
        for delimiter, called in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if delimiter in present[0]:
                return f"The header seems to be separated by {called}: set data.delimiter to {json.dumps(delimiter)}."
    lowered = {column.lower(): column for column in reversed(present)}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {lowered[near[0]]!r}? Set {field} to the column's name."
    if list(present) == [str(number + 1) for number in range(len(present))]:
        return f"Set {field} to the number of the right column, or data.header to true."
    return f"Set {field} to the name of the right column."


def _listed(columns: Sequence[str]) -> str:
    names = ", ".join(repr(column if len(column) <= 60 else f"{column[:60]}…") for column in columns[:_LISTED])
    return names if len(columns) <= _LISTED else f"{names} and {len(columns) - _LISTED} more"
