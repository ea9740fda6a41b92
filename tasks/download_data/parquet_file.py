"""Data in a Parquet file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data.columns import check_columns, json_array

if TYPE_CHECKING:
    import polars as pl


def batches(path: Path, recipe: DataRecipe, most_rows: int) -> Iterator["pl.DataFrame"]:
    """Read the wanted columns, of whatever single-valued type, as strings.

    Args:
        path: the file.
        recipe: the columns, and whether the label's may hold lists of such values, which are then given as JSON arrays.
        most_rows: the most rows of one batch.

    Yields:
        Frames of strings, with a column for each wanted one.

    Raises:
        InvalidData: the file is no Parquet, lacks a column, or one of them is nested.
    """
    import polars as pl

    with _refused(path):
        wanted = _wanted(path, recipe)
        rows = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        for first in range(0, rows, most_rows):
            yield pl.scan_parquet(path, glob=False).slice(first, most_rows).select(wanted).collect()


def check(path: Path, recipe: DataRecipe) -> None:
    """Look at the schema only.

    Args:
        path: the file.
        recipe: as for `batches`.

    Raises:
        InvalidData: what `batches` would raise before its first row.
    """
    with _refused(path):
        _wanted(path, recipe)


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidData(
            f"The file cannot be read as Parquet: {str(error).splitlines()[0].rstrip('.')}.",
            where=str(path),
            remedy="Write the file again; it may have been cut off, or be of another kind than its name says.",
        ) from error


def _wanted(path: Path, recipe: DataRecipe) -> list["pl.Expr"]:
    import polars as pl

    schema = pl.scan_parquet(path, glob=False).collect_schema()
    check_columns(list(schema), recipe.wanted, str(path))
    return [
        (_as_label if field == "label" and recipe.lists else _as_string)(name, schema[name], path).alias(field)
        for field, name in recipe.wanted.items()
    ]


def _as_label(name: str, kind: "pl.DataType", path: Path) -> "pl.Expr":
    # Gives what `columns.as_label` gives, a column at a time.
    import polars as pl

    inner = kind.inner if isinstance(kind, (pl.List, pl.Array)) else None
    if not isinstance(inner, pl.DataType) or not _is_single(inner):
        return _as_string(name, kind, path)
    column = pl.col(name) if isinstance(kind, pl.List) else pl.col(name).arr.to_list()
    strings = column.list.eval(_string(pl.element(), inner))
    return strings.map_elements(lambda labels: json_array(labels.to_list()), return_dtype=pl.String)


def _as_string(name: str, kind: "pl.DataType", path: Path) -> "pl.Expr":
    import polars as pl

    if not _is_single(kind):
        raise InvalidData(
            f"The column {name!r} is nested: {kind}.",
            where=str(path),
            remedy="Name a column with one string or number per row.",
        )
    return _string(pl.col(name), kind)


def _is_single(kind: "pl.DataType") -> bool:
    import polars as pl

    return not kind.is_nested() and kind != pl.Object


def _string(column: "pl.Expr", kind: "pl.DataType") -> "pl.Expr":
    # Gives what `columns.as_string` gives, a column at a time.
    import polars as pl

    if kind == pl.Binary:
        return column.map_elements(lambda value: value.decode("utf-8", "replace"), return_dtype=pl.String)
    if kind.is_float():
        whole = column.is_finite() & (column == column.round(0)) & (column.abs() < 2**53)
        return (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .when(column.is_not_nan())
            .then(column.cast(pl.String))
        )
    return column.cast(pl.String)
