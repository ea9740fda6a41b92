"""Raw labels -> classes: by the map of the recipe, or every label that occurs is a class."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?")


def class_names(labels: pl.Expr, classes: Mapping[str, str] | None) -> pl.Expr:
    """The class of each row.

    Args:
        labels: raw labels without surrounding spaces, null where missing.
        classes: raw label -> class name; None: each label is the name of its class.

    Returns:
        Class names; null for a label that is missing or not in the map.
    """
    if classes is None:
        return labels
    return labels.replace_strict(list(classes), list(classes.values()), default=None, return_dtype=pl.String)


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
