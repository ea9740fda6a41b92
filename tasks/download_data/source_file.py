"""A file that a recipe names: where it lies, and what kind it is of."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from hubtune.errors import InvalidData
from hubtune.progress import Say
from schemas.data_recipe import DataRecipe
from schemas.handoff import Split
from tasks.download_data import csv_file, jsonl_file, parquet_file
from tasks.download_data.compression import SUFFIXES, plain_name

if TYPE_CHECKING:
    import polars as pl

Batches = Callable[[Path, DataRecipe, int], Iterator["pl.DataFrame"]]
"""What a kind of file's module offers: (path, recipe, most rows per batch) -> frames with a column of strings for each
one that the recipe wants, null where the file has no value."""

Check = Callable[[Path, DataRecipe], None]
"""And its cheap part, which raises what `Batches` would raise before the first row."""


@dataclass(frozen=True)
class Kind:
    """How a kind of file is read."""

    batches: Batches
    check: Check


PARQUET = Kind(parquet_file.batches, parquet_file.check)
_CSV, _JSONL = (Kind(module.batches, module.check) for module in (csv_file, jsonl_file))
# A new kind is an entry in each, and a module with these two functions.
_BY_FORMAT = {"csv": _CSV, "jsonl": _JSONL, "parquet": PARQUET}
_BY_SUFFIX = {".csv": _CSV, ".tsv": _CSV, ".jsonl": _JSONL, ".ndjson": _JSONL, ".parquet": PARQUET}


class Place(Protocol):
    """Where a file lies. A new kind of place is one module that finds such places."""

    @property
    def address(self) -> str:
        """The path or address, as it may be shown."""
        ...

    def fingerprint(self, say: Say) -> dict[str, Any] | None:
        """What changes when the content changes, found out without reading rows; None where nothing tells."""
        ...

    def fetch(self, folder: Path, say: Say) -> Path:
        """The file on this machine: where it lies already, or in the folder that is given."""
        ...


@dataclass(frozen=True)
class SourceFile:
    """A file with rows.

    Args:
        name: what tells it from the other files of the source.
        place: where it lies.
        where: the field of the recipe that named it, and its address, for messages.
        split: the split that its rows are given for; None: they are split here.
        kind: how it is read.
    """

    name: str
    place: Place
    where: str
    split: Split | None
    kind: Kind


def kind_of(name: str, recipe: DataRecipe, where: str) -> Kind:
    """How a file is read, as its name or the recipe says.

    Args:
        name: of the file.
        recipe: its `format` has the last word.
        where: the handle, for the message.

    Returns:
        The kind.

    Raises:
        InvalidData: the suffix is none that is known.
    """
    if recipe.format is not None:
        found = _BY_FORMAT[recipe.format]
    else:
        suffix = PurePosixPath(plain_name(name)).suffix
        known = _BY_SUFFIX.get(suffix.lower())
        if known is None:
            has = f"the suffix {suffix!r}" if suffix else "no suffix"
            raise InvalidData(
                f"The data file has {has}, which says not how to read it.",
                where=where,
                remedy=f"Name {known_kinds()}, or set data.format.",
            )
        found = known
    if found is PARQUET and plain_name(name) != name:
        raise InvalidData(
            "A Parquet file that is compressed as a whole cannot be read.",
            where=where,
            remedy="Unpack it: Parquet compresses what is within.",
        )
    return found


def known_kinds() -> str:
    """The suffixes that are known, for messages."""
    *first, last = sorted(_BY_SUFFIX)
    return f"a {', '.join(first)} or {last} file (which may be compressed: {', '.join(SUFFIXES)})"


def local_name(name: str) -> str:
    """The name under which a file that is fetched lies on this machine: nothing of its own name but what it is read by.

    Args:
        name: of the file where it comes from, whatever it may be.

    Returns:
        "data", and the suffixes.
    """
    suffixes = re.search(r"(\.[A-Za-z0-9]{1,10}){1,2}$", name)
    return f"data{suffixes[0] if suffixes else ''}"


_WILDCARD = re.compile(r"[*?\[]")


def has_wildcard(path: str) -> bool:
    """Whether a path is a pattern."""
    return _WILDCARD.search(path) is not None


def check_pattern(path: str, where: str) -> None:
    """Refuse `**` where it means nothing.

    Args:
        path: may be a pattern.
        where: the handle, for the message.

    Raises:
        InvalidData: it stands beside other characters.
    """
    if any("**" in part and part != "**" for part in path.split("/")):
        raise InvalidData(
            "`**` stands for any number of folders, and beside other characters for nothing.",
            where=where,
            remedy="Write it between slashes: exports/**/*.csv.",
        )


def fixed_part(pattern: str) -> str:
    """The folder, with a slash at its end, below which everything lies that a pattern can mean; "" for any."""
    wildcard = _WILDCARD.search(pattern)
    assert wildcard is not None
    return pattern[: pattern.rfind("/", 0, wildcard.start()) + 1]


def require_some(found: list[Any], where: str) -> None:
    """Refuse a pattern that means no file.

    Raises:
        InvalidData: nothing was found.
    """
    if not found:
        raise InvalidData(
            "No file matches this pattern.",
            where=where,
            remedy="Correct it: `*` and `?` stand for parts of one name, `**` for any number of folders.",
        )
