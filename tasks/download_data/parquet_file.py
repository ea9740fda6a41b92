"""Data source: a Parquet file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hubtune.errors import InvalidData
from tasks.download_data.columns import check_columns

if TYPE_CHECKING:
    import polars as pl


def batches(path: Path, text: str, label: str, most_rows: int) -> Iterator["pl.DataFrame"]:
    """Read the text and label columns, of whatever single-valued type, as strings.

    Args:
        path: the file.
        text: name of the text column.
        label: name of the label column.
        most_rows: the most rows of one batch.

    Yields:
        Frames with the string columns `text` and `label`.

    Raises:
        InvalidData: the file is no Parquet, lacks a column, or one of the two is nested.
    """
    import polars as pl

    with _refused(path):
        wanted = _wanted(path, text, label)
        rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        for first in range(0, rows, most_rows):
            yield pl.scan_parquet(path).slice(first, most_rows).select(wanted).collect()


def check(path: Path, text: str, label: str) -> None:
    """Look at the schema only.

    Args:
        path: the file.
        text: name of the text column.
        label: name of the label column.

    Raises:
        InvalidData: what `batches` would raise before its first row.
    """
    with _refused(path):
        _wanted(path, text, label)


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


def _wanted(path: Path, text: str, label: str) -> list["pl.Expr"]:
    import polars as pl

    schema = pl.read_parquet_schema(path)
    check_columns(list(schema), text, label, str(path))
    return [_as_string(name, schema[name], path).alias(column) for column, name in (("text", text), ("label", label))]


def _as_string(name: str, kind: "pl.DataType", path: Path) -> "pl.Expr":
    # Gives what `columns.as_string` gives, a column at a time.
    import polars as pl

    column = pl.col(name)
    if kind.is_nested() or kind == pl.Object:
        raise InvalidData(
            f"The column {name!r} is nested: {kind}.",
            where=str(path),
            remedy="Name a column with one string or number per row.",
        )
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
