"""Data in a database: the result of a query, from PostgreSQL or an SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtune.errors import InvalidData, SourceNotFound, SourceUnavailable
from hubtune.progress import Progress, Say
from schemas.data_recipe import DataRecipe
from tasks.download_data.columns import as_label, check_columns
from tasks.http import shown

if TYPE_CHECKING:
    import polars as pl

_BATCH_ROWS = 50_000
_CONNECT_SECONDS = 10
# Refusals that pass: PostgreSQL starts up, shuts down, recovers, or has too many clients.
_PASSING = ("starting up", "shutting down", "recovery", "too many", "remaining connection slots")

Result = tuple[list[str], Iterator[list[Sequence[Any]]]]
"""The names of the columns, and the rows, some at a time."""


@dataclass(frozen=True)
class SqlQuery:
    """The result of a query; see `Place`.

    Args:
        url: postgresql://[user@]host[:port]/name[?parameters of libpq], or sqlite:///path.
        recipe: the query, a SELECT, which is asked in a transaction that may only read; and the wanted columns.
        password: of the database; None: libpq finds it out from the environment.
        where: the field of the recipe and the address, for messages.
    """

    url: str
    recipe: DataRecipe
    password: str | None = field(repr=False)
    where: str

    @property
    def address(self) -> str:
        """The database."""
        return shown(self.url)

    def fingerprint(self, say: Say) -> None:
        """Nothing tells whether the result would be the same but the result itself."""
        del say

    def fetch(self, folder: Path, say: Say) -> Path:
        """Ask the query; its result becomes a Parquet file of strings.

        The rows are sorted: a database gives them in any order, and equal results are to be equal files.
        """
        import polars as pl

        progress = Progress(say, "Asking the database", None, "rows")
        frames = []
        wanted = list(dict.fromkeys(self.recipe.wanted.values()))
        with _postgresql(self) if self.url.startswith("postgresql://") else _sqlite(self) as (names, batches):
            check_columns(names, self.recipe.wanted, self.where)
            for batch in batches:
                frames.append(self._frame(names, batch))
                progress.advance(len(batch))
        progress.finish()
        file = folder / "query.parquet"
        whole = pl.concat(frames) if frames else self._frame(wanted, [])
        whole.sort(wanted).write_parquet(file)
        return file

    def _frame(self, names: list[str], rows: Sequence[Sequence[Any]]) -> "pl.DataFrame":
        import polars as pl

        wanted = {name: names.index(name) for name in self.recipe.wanted.values()}
        columns = {name: [self._string(name, row[at]) for row in rows] for name, at in wanted.items()}
        return pl.DataFrame(columns, schema=dict.fromkeys(wanted, pl.String))

    def _string(self, name: str, value: Any) -> str | None:
        if isinstance(value, bytes | memoryview):
            return bytes(value).decode("utf-8", "replace")
        if value is not None and not isinstance(value, str | bool | int | float | list | dict):
            value = str(value)  # a date, a decimal number, a UUID
        try:
            return as_label(value, lists=self.recipe.lists and name == self.recipe.label)
        except TypeError as error:
            raise InvalidData(
                f"The column {name!r} of the result is nested: {str(value)[:80]}.",
                where=self.where,
                remedy="Ask for one string or number per row; only the label may be an array, with multilabel.",
            ) from error


def sqlite_file(url: str, where: str) -> Path:
    """The file that holds an SQLite database.

    Args:
        url: sqlite:///path.
        where: the field of the recipe and the address, for the message.

    Returns:
        Its path.

    Raises:
        SourceNotFound: there is no such file.
    """
    path = Path(url.removeprefix("sqlite:///"))
    if not path.is_file():
        raise SourceNotFound(
            f"The database file {path} does not exist.",
            where=where,
            remedy="Correct the path; after sqlite:/// it is relative to the working directory, after sqlite://// not.",
        )
    return path


@contextmanager
def _postgresql(source: SqlQuery) -> Iterator[Result]:
    import psycopg

    query = source.recipe.query
    assert query is not None  # a complete recipe
    try:
        # Without a password, libpq looks where it always does: PGPASSWORD, PGSERVICE, ~/.pgpass.
        connection = psycopg.connect(
            source.url, connect_timeout=_CONNECT_SECONDS, client_encoding="utf8", password=source.password
        )
    except psycopg.OperationalError as error:
        told = str(error)
        if "no password supplied" in told or ("FATAL:" in told and not any(each in told for each in _PASSING)):
            raise InvalidData(
                f"The database refuses to let hubtune in: {_last_line(error)}",
                where=source.where,
                remedy="correct the address; set PGUSER and PGPASSWORD where the run is, or data.password_block to a "
                "Prefect secret block",
            ) from error
        raise _unavailable(source, error) from error
    except psycopg.Error as error:
        raise InvalidData(
            f"The address of the database cannot be read: {_last_line(error)}",
            where=source.where,
            remedy="Write postgresql://host:port/name; after a question mark there may be parameters of libpq.",
        ) from error
    try:
        with connection:
            connection.read_only = True
            # A cursor on the server: the result comes in parts, and need not fit into memory twice.
            with connection.cursor("hubtune") as cursor:
                cursor.execute(query.encode())
                assert cursor.description is not None
                yield [column.name for column in cursor.description], _parts(cursor)
    except psycopg.OperationalError as error:
        raise _unavailable(source, error) from error
    except psycopg.Error as error:
        raise _failed(source, error) from error


@contextmanager
def _sqlite(source: SqlQuery) -> Iterator[Result]:
    path = sqlite_file(source.url, source.where)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            # As the files that are read: bytes that are no UTF-8 are shown as such, and cost their row alone.
            connection.text_factory = lambda content: content.decode("utf-8", "replace")
            cursor = connection.execute(source.recipe.query or "")
            yield [column[0] for column in cursor.description or ()], _parts(cursor)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _unavailable(source, error) from error
        raise _failed(source, error) from error


def _parts(cursor: Any) -> Iterator[list[Sequence[Any]]]:
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield rows


def _unavailable(source: SqlQuery, error: Exception) -> SourceUnavailable:
    return SourceUnavailable(
        f"The database did not answer, or broke off: {_last_line(error)}",
        where=source.where,
        remedy="check that it runs and can be reached from here; it is tried again by itself",
    )


def _failed(source: SqlQuery, error: Exception) -> InvalidData:
    return InvalidData(
        f"The query fails: {_first_line(error)}",
        where=f"data.query, asked of {source.where}",
        remedy="Try it in the database's own client; it has to be one SELECT.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _last_line(error: Exception) -> str:
    # libpq tells of each address that it tried; of the last one last.
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
