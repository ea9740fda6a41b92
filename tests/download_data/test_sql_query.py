"""Rows from databases: an SQLite file, and a real PostgreSQL server."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.errors import HubtuneError, InvalidData, SourceNotFound, SourceUnavailable
from schemas.data_recipe import DataRecipe
from tasks.download_data.read import check_source, read, source_fingerprint
from tests.postgresql import Database, running_postgresql

QUERY = "SELECT body AS text, kind AS label FROM questions"
ROWS = [("Why?", 1), ("How tall is it?", 0), (None, 1), ("Who cares, 'quoted'?", None)]


def asked(url: str, folder: Path, query: str = QUERY, password: str | None = None, **fields: Any) -> pl.DataFrame:
    recipe = DataRecipe.model_validate({"source": url, "query": query} | fields)
    read(recipe, folder, lambda line: None, password)
    return pl.read_parquet(sorted((folder / "rows").glob("*.parquet")), glob=False)


def pairs(table: pl.DataFrame) -> set[tuple[str | None, str | None]]:
    return set(table.select("text", "label").rows())


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    file = tmp_path / "app.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE questions (body TEXT, kind INTEGER)")
    connection.executemany("INSERT INTO questions VALUES (?, ?)", ROWS)
    connection.commit()
    connection.close()
    return f"sqlite:///{file}"


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server with a table of questions; `reader` needs a password, `postgres` none."""
    with running_postgresql(tmp_path_factory.mktemp("postgresql")) as database:
        with database.connect() as connection:
            connection.execute("CREATE TABLE questions (body TEXT, kind SMALLINT)")
            connection.cursor().executemany("INSERT INTO questions VALUES (%s, %s)", ROWS)
            connection.execute("CREATE SEQUENCE numbers")
        database.add("reader", "s3cret")
        with database.connect() as connection:
            connection.execute("GRANT SELECT ON questions TO reader")
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, str) else found.url("postgres")


EXPECTED = {("Why?", "1"), ("How tall is it?", "0"), (None, "1"), ("Who cares, 'quoted'?", None)}


def test_the_result_of_a_query_is_the_data(url: str, tmp_path: Path) -> None:
    check_source(DataRecipe(source=url, query=QUERY))
    table = asked(url, tmp_path / "raw")
    assert pairs(table) == EXPECTED
    assert set(table["source"]) == {"query"}
    assert table["row"].to_list() == [1, 2, 3, 4]
    assert source_fingerprint(DataRecipe(source=url, query=QUERY)) is None


def test_equal_results_are_equal_files_in_whatever_order_they_come(url: str, tmp_path: Path) -> None:
    files = []
    for order in ("body", "kind, body DESC"):
        asked(url, tmp_path / order, f"{QUERY} ORDER BY {order}")
        files.append((tmp_path / order / "rows" / "00000.parquet").read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT text FROM questions", "The query fails: .*text"),
        ("SELEKT 1", "The query fails: .*SELEKT"),
        ("SELECT body AS text, body AS text, kind AS label FROM questions", "2 columns named 'text'"),
        ("SELECT body AS text, kind AS class FROM questions", "no column 'label'; the columns are: 'text', 'class'"),
        (f"{QUERY} WHERE kind = 7", "holds no rows"),
        ("DELETE FROM questions", "The query fails"),
        ("", "query is needed"),
    ],
)
def test_queries_that_fail(url: str, query: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidData, ValueError), match=message) as caught:
        asked(url, tmp_path / "raw", query or None)  # type: ignore[arg-type]
    if isinstance(caught.value, HubtuneError):
        assert caught.value.where
        assert caught.value.remedy
        assert not caught.value.retryable
    assert pairs(asked(url, tmp_path / "still there")) == EXPECTED


def test_arrays_are_labels_where_a_row_may_have_several(postgresql: Database, tmp_path: Path) -> None:
    url, query = postgresql.url("postgres"), "SELECT 'a' AS text, ARRAY['x', 'y'] AS label, now() AS at"
    table = asked(url, tmp_path / "raw", query, label_separator=",")
    assert table["label"].to_list() == ['["x", "y"]']
    with pytest.raises(InvalidData, match="'label' of the result is nested"):
        asked(url, tmp_path / "one", query)
    with pytest.raises(InvalidData, match="'text' of the result is nested"):
        asked(url, tmp_path / "text", "SELECT ARRAY['x'] AS text, 'a' AS label", label_separator=",")


def test_the_types_of_a_database_become_strings(postgresql: Database, tmp_path: Path) -> None:
    values = {
        "1.50::numeric": "1.50", "DATE '2024-02-29'": "2024-02-29", "true": "true", "2.0::float8": "2",
        "'\\x61ff'::bytea": "a\ufffd",
    }  # fmt: skip
    query = " UNION ALL ".join(
        f"SELECT {number}::text AS text, ({value})::text AS label" for number, value in enumerate(values)
    )
    assert len(asked(postgresql.url("postgres"), tmp_path / "all", query)) == len(values)
    for number, (value, expected) in enumerate(values.items()):
        table = asked(postgresql.url("postgres"), tmp_path / str(number), f"SELECT 'a' AS text, {value} AS label")
        assert table["label"].to_list() == [expected]


def test_the_password_comes_from_the_environment_or_from_a_block(
    postgresql: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.url("reader")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    for number, wrong in enumerate((None, "wr0ng")):
        with pytest.raises(InvalidData, match="refuses to let hubtune in") as caught:
            asked(url, tmp_path / str(number), password=wrong)
        assert "PGPASSWORD" in caught.value.remedy
        assert "wr0ng" not in str(caught.value)
    assert pairs(asked(url, tmp_path / "given", password="s3cret")) == EXPECTED
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    assert pairs(asked(url, tmp_path / "environment")) == EXPECTED


def test_a_query_cannot_write(postgresql: Database, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="read-only"):
        asked(postgresql.url("postgres"), tmp_path / "raw", "SELECT nextval('numbers') AS text, 1 AS label")


def test_other_columns_are_not_looked_at(postgresql: Database, tmp_path: Path) -> None:
    query = "SELECT 'Köln?' AS text, '0' AS label, ARRAY[1] AS more, '{\"a\": 1}'::json AS meta WHERE 'ö' = U&'\\00F6'"
    assert pairs(asked(postgresql.url("postgres"), tmp_path / "raw", query)) == {("Köln?", "0")}


def test_what_another_try_can_mend_is_told_from_what_it_cannot(
    postgresql: Database, sqlite: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidData, match='database "nothing" does not exist'):
        asked(postgresql.url("postgres", "nothing"), tmp_path / "no database")
    with pytest.raises(InvalidData, match="address of the database cannot be read"):
        asked(f"{postgresql.url('postgres')}&nonsense=1", tmp_path / "no parameter")
    with pytest.raises(SourceUnavailable, match="did not answer"):
        asked(f"postgresql:///db?host={tmp_path}/password-roles", tmp_path / "no server")
    locking = sqlite3.connect(sqlite.removeprefix("sqlite:///"))
    locking.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceUnavailable, match="database is locked"):
        asked(sqlite, tmp_path / "locked")
    locking.close()


def test_databases_that_are_not_there(tmp_path: Path) -> None:
    missing = f"sqlite:///{tmp_path}/no.db"
    for ask in (
        lambda: check_source(DataRecipe(source=missing, query=QUERY)),
        lambda: asked(missing, tmp_path / "raw"),
    ):
        with pytest.raises(SourceNotFound, match=r"no\.db does not exist"):
            ask()
    with pytest.raises(SourceUnavailable, match="did not answer"):
        asked("postgresql://127.0.0.1:9/app", tmp_path / "nobody")
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to be looked at " * 20)
    with pytest.raises(InvalidData, match="not a database"):
        asked(f"sqlite:///{tmp_path}/text.db", tmp_path / "text")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "postgresql://me:s3cret@h/db", "query": QUERY}, "do not belong in a recipe"),
        ({"source": "postgresql://h/db?user=a&password=s3cret", "query": QUERY}, "do not belong in a recipe"),
        ({"source": "sqlite:///a.db"}, "query is needed"),
        ({"source": "a.csv", "query": QUERY}, "query has no meaning"),
        ({"source": "sqlite:///a.db", "query": QUERY, "password_block": "x"}, "password_block has no meaning"),
        ({"train": "sqlite:///a.db", "test": "sqlite:///b.db"}, "one source"),
    ],
)
def test_impossible_combinations(fields: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        DataRecipe.model_validate(fields)
    assert "s3cret" not in str(caught.value)
