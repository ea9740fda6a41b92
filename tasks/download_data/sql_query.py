"""Data in a database: the result of a query, from PostgreSQL or an SQLite file."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtune.errors import InvalidData, SourceNotFound, SourceUnavailable
from hubtune.progress import Progress, Say
from tasks.download_data.columns import as_label
from tasks.http import shown

if TYPE_CHECKING:
    import polars as pl

_BATCH_ROWS = 50_000
_CONNECT_SECONDS = 10

Result = tuple[list[str], Iterator[list[Sequence[Any]]]]
"""The names of the columns, and the rows, some at a time."""


@dataclass(frozen=True)
class SqlQuery:
    """The result of a query; see `Place`.

    Args:
        url: postgresql://[user@]host[:port]/name[?parameters of libpq], or sqlite:///path.
        query: a SELECT; it is asked in a transaction that may only read.
        password: of the database; None: libpq finds it out from the environment.
        lists: name of the column that may hold lists; None: none may.
        where: the field of the recipe and the address, for messages.
    """

    url: str
    query: str
    password: str | None = field(repr=False)
    lists: str | None
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
        with _postgresql(self) if self.url.startswith("postgresql://") else _sqlite(self) as (names, batches):
            if len(set(names)) < len(names):
                raise InvalidData(
                    f"Two columns of the result have the same name: {', '.join(names)}.",
                    where=self.where,
                    remedy="Give each a name of its own in data.query: SELECT a.text AS text, ...",
                )
            for batch in batches:
                frames.append(self._frame(names, batch))
                progress.advance(len(batch))
        progress.finish()
        file = folder / "query.parquet"
        whole = pl.concat(frames) if frames else self._frame(names, [])
        whole.sort(names).write_parquet(file)
        return file

    def _frame(self, names: list[str], rows: Sequence[Sequence[Any]]) -> "pl.DataFrame":
        import polars as pl

        columns = {name: [self._string(name, row[at]) for row in rows] for at, name in enumerate(names)}
        return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))

    def _string(self, name: str, value: Any) -> str | None:
        if isinstance(value, bytes | memoryview):
            return bytes(value).decode("utf-8", "replace")
        if value is not None and not isinstance(value, str | bool | int | float | list | dict):
            value = str(value)  # a date, a decimal number, a UUID
        try:
            return as_label(value, lists=name == self.lists)
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

    try:
        # Without a password, libpq looks where it always does: PGPASSWORD, PGSERVICE, ~/.pgpass.
        with psycopg.connect(source.url, connect_timeout=_CONNECT_SECONDS, password=source.password) as connection:
            connection.read_only = True
            # A cursor on the server: the result comes in parts, and need not fit into memory twice.
            with connection.cursor("hubtune") as cursor:
                cursor.execute(source.query.encode())
                assert cursor.description is not None
                yield [column.name for column in cursor.description], _parts(cursor)
    except (psycopg.errors.InvalidPassword, psycopg.errors.InvalidAuthorizationSpecification) as error:
        raise _refused(source, error) from error
    except psycopg.OperationalError as error:
        if error.sqlstate is None and any(word in str(error) for word in ("authentication", "password", "role")):
            raise _refused(source, error) from error
        raise SourceUnavailable(
            f"The database did not answer, or broke off: {_first_line(error)}",
            where=source.where,
            remedy="check that it runs and can be reached from here; it is tried again by itself",
        ) from error
    except psycopg.Error as error:
        raise _failed(source, error) from error


@contextmanager
def _sqlite(source: SqlQuery) -> Iterator[Result]:
    path = sqlite_file(source.url, source.where)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            # As the files that are read: bytes that are no UTF-8 are shown as such, and cost their row alone.
            connection.text_factory = lambda content: content.decode("utf-8", "replace")
            cursor = connection.execute(source.query)
            yield [column[0] for column in cursor.description or ()], _parts(cursor)
    except sqlite3.Error as error:
        raise _failed(source, error) from error


def _parts(cursor: Any) -> Iterator[list[Sequence[Any]]]:
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield rows


def _refused(source: SqlQuery, error: Exception) -> InvalidData:
    return InvalidData(
        f"The database refuses to let hubtune in: {_first_line(error)}",
        where=source.where,
        remedy="set PGUSER and PGPASSWORD where the run is, or data.password_block to a Prefect secret block",
    )


def _failed(source: SqlQuery, error: Exception) -> InvalidData:
    return InvalidData(
        f"The query fails: {_first_line(error)}",
        where=f"data.query, asked of {source.where}",
        remedy="Try it in the database's own client; it has to be one SELECT.",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
