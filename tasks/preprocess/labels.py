"""Raw labels -> classes: by the map of the recipe, or every label that occurs is a class."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

import polars as pl

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")

NO_CLASSES = "[]"
"""The `classes` of a row that has none of them."""


def read_labels(
    labels: pl.Series, classes: Mapping[str, str] | None, separator: str | None, *, leave_out: bool = False
) -> pl.DataFrame:
    """What the labels of the rows mean.

    Args:
        labels: the label of each row without surrounding spaces, null where missing.
        classes: raw label -> class name; None: each label is the name of its class.
        separator: what stands between the labels of a row; None: a row has one.
        leave_out: whether, of several labels of a row, those that the map lacks are left out.

    Returns:
        A row for each distinct value: `stripped` (the value), `classes` (class names, sorted; null where one of the
        labels has no class), `unknown` (the labels that have no class; null where all have one). Names are listed as
        `listed_names` reads them: lists for each row would take most of the memory.
    """
    table: dict[str, list[str | None]] = {"stripped": [], "classes": [], "unknown": []}
    for value in labels.drop_nulls().unique(maintain_order=True):
        parts = [value] if separator is None else split_labels(value, separator)
        known = {part: part if classes is None else classes[part] for part in parts if _is_known(part, classes)}
        unknown = [part for part in parts if part is not None and part not in known]
        left_out = separator is not None and leave_out and None not in parts
        whole = left_out or len(known) == len(parts)
        table["stripped"].append(value)
        table["classes"].append(json.dumps(sorted(set(known.values()))) if whole else None)
        table["unknown"].append(json.dumps(unknown) if unknown else None)
    return pl.DataFrame(table, schema={"stripped": pl.String, "classes": pl.Categorical, "unknown": pl.Categorical})


def listed_names(column: pl.Series) -> dict[str, list[str]]:
    """What the values of a column that `read_labels` gives stand for.

    Args:
        column: `classes` or `unknown`.

    Returns:
        Of each distinct value the names that it lists, sorted by value.
    """
    return {value: json.loads(value) for value in sorted(column.drop_nulls().unique().cast(pl.String))}


def split_labels(value: str, separator: str) -> list[str | None]:
    """The labels of one row.

    A JSON array is a list already: that is how the lists of a source lie in a `raw` artifact. Other brackets (a list as
    Python prints it) are no label: cut at the separators, they would give classes such as "['sport'". Any other value
    is cut at the separators. Spaces around a label are no part of it, an empty one is none, and each counts once.

    Args:
        value: what stands in the label column.
        separator: what stands between two labels.

    Returns:
        The labels in the order in which they came; None for what is no label.
    """
    listed = _listed(value)
    labels = value.split(separator) if listed is None else listed
    stripped = (label if label is None else label.strip() for label in labels)
    return list(dict.fromkeys(label for label in stripped if label != ""))


def rows_of_each_class(kept: pl.DataFrame) -> dict[tuple[str, str], int]:
    """How many rows of each split have each class.

    Args:
        kept: rows with their `assigned` split and their `classes`.

    Returns:
        Rows by (split, class name), where there are any.
    """
    names, counts = listed_names(kept["classes"]), Counter[tuple[str, str]]()
    for split, classes, rows in kept.group_by("assigned", "classes").agg(pl.len()).iter_rows():
        counts.update({(split, name): rows for name in names[classes]})
    return counts


def class_order(seen: Iterable[str], classes: Mapping[str, str] | None) -> list[str]:
    """The classes in their order, which is the order of the classifier's outputs.

    Args:
        seen: the class names that occur.
        classes: raw label -> class name; None: there is no map.

    Returns:
        With a map: its class names in order of first appearance, whether they occur or not. Without: those that
        occur, sorted as people sort ("2" before "10").
    """
    if classes is not None:
        return list(dict.fromkeys(classes.values()))
    names = list(seen)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names, key=_natural)


def _natural(name: str) -> tuple[list[Any], str]:
    # Words and runs of digits take turns; digits compare by their number of places first, then digit by digit.
    parts = re.split(r"([0-9]+)", name.casefold())
    places = [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)]
    return places, name


def _is_known(label: str | None, classes: Mapping[str, str] | None) -> TypeGuard[str]:
    return label is not None and (classes is None or label in classes)


def _listed(value: str) -> list[str | None] | None:
    if not (value.startswith("[") and value.endswith("]")):
        return None
    try:
        labels = json.loads(value)
        # Escapes may stand for halves of surrogate pairs, which are no text.
        json.dumps(labels, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return [None]
    return [str(label) if type(label) in (str, int) else None for label in labels]
