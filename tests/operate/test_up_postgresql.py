"""`hubtune up` on PostgreSQL, with every secret that it may be given; none of them is written down anywhere."""

import json
import os
import pty
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tests.operate.conftest import Json
from tests.operate.machine import AUTHORIZATION, Machine, found_in, machine_in, written
from tests.operate.receiver import TOKEN, Receiver, receiving
from tests.postgresql import Database, running_postgresql

pytestmark = pytest.mark.slow
SECRETS = {
    "server's database": "d4tabase-of-the-server",
    "HUBTUNE_AUTH": AUTHORIZATION[1],
    "HUBTUNE_ALERTS": TOKEN,
    "database of questions": "qu3stions-password",
    "wrong password": "wr0ng-password",
    "Kaggle": "k4ggle-key-0123456789",
    "bucket's key file": "pr1vate-key-of-the-bucket",
}
LISTS = (
    *("flow_runs", "task_runs", "deployments", "artifacts", "automations", "block_documents", "work_pools", "logs"),
    "events",
)
QUESTIONS = [(f"Is {number} {'even' if number % 2 else 'odd'}?", number % 2) for number in range(300)]


@pytest.fixture
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server with a database for Prefect, and a table of questions."""
    with running_postgresql(tmp_path_factory.mktemp("postgresql")) as database:
        database.add("prefect", SECRETS["server's database"])
        database.add("reader", SECRETS["database of questions"])
        with database.connect() as connection:
            connection.execute("CREATE DATABASE prefect OWNER prefect")
            connection.execute("CREATE TABLE questions (text TEXT, label SMALLINT)")
            connection.cursor().executemany("INSERT INTO questions VALUES (%s, %s)", QUESTIONS)
            connection.execute("GRANT SELECT ON questions TO reader")
        yield database


def test_it_comes_up_on_postgresql_and_no_secret_is_written_down(
    postgresql: Database, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, small_model: dict[str, str]
) -> None:
    key = tmp_path_factory.mktemp("key") / "key.json"
    key.write_text(json.dumps({"type": "service_account", "private_key": SECRETS["bucket's key file"]}))
    with receiving() as receiver, machine_in(tmp_path, _environment(postgresql, key, receiver)) as machine:
        recipe: Json = {
            "name": "asked",
            "model": small_model,
            "train": {"mode": "fine_tuning", "max_length": 16, "epochs": 2},
        }
        machine.up("--detach")
        assert "up already" in machine.up("--detach")
        # It is on this database, and on no other.
        with postgresql.connect("prefect") as connection:
            assert connection.execute("SELECT count(*) FROM deployment").fetchone() == (4,)
        assert not list(tmp_path.rglob("prefect.db"))
        _fail_and_succeed(machine, recipe, postgresql, receiver)

        assert _told_by_server(machine) == []
        parts = machine.parts()
        assert "All of it is stopped" in machine.run("down")
        assert not machine.processes()
        assert _kept_by(postgresql) == []
        assert found_in(tmp_path, list(SECRETS.values())) == []
        assert found_in(tmp_path, ["password authentication failed"]) != []

        # The next start finds what is there. Its terminal is closed, which ends all of it.
        screen, terminal = pty.openpty()
        keeper = machine.start("up", *machine.ports, terminal=terminal)
        os.close(terminal)
        said = _shown(screen, "All of it is up")
        assert "goes on with it" not in said
        assert machine.parts()["server"].pid != parts["server"].pid
        runs = machine.post("/flow_runs/filter", {"flows": {"name": {"any_": ["Retrain"]}}})
        assert sorted(run["state"]["type"] for run in runs) == ["COMPLETED", "FAILED"]
        told = len(receiver.messages)
        later = machine.retrain(recipe | {"name": "later"})
        machine.once(later, "RUNNING")
        os.close(screen)
        assert keeper.wait(timeout=60) == 0
        assert not machine.processes()
        assert found_in(tmp_path, list(SECRETS.values())) == []
        # It goes on at the next start, and nobody is told.
        with postgresql.connect("prefect") as connection:
            found = connection.execute("SELECT state_name FROM flow_run WHERE id = %s", [later["id"]])
            assert found.fetchone() == ("AwaitingRetry",)
        assert len(receiver.messages) == told


def _environment(postgresql: Database, key: Path, receiver: Receiver) -> dict[str, str]:
    """Every secret that `hubtune up` may be given."""
    password = SECRETS["server's database"]
    server = f"prefect:{password}@/prefect?host={postgresql.sockets}"
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{server}",
        "HUBTUNE_ALERTS": receiver.url,
        "PGPASSWORD": SECRETS["database of questions"],
        "KAGGLE_USERNAME": "somebody",
        "KAGGLE_KEY": SECRETS["Kaggle"],
        "GOOGLE_APPLICATION_CREDENTIALS": str(key),
    }


def _fail_and_succeed(machine: Machine, recipe: Json, postgresql: Database, receiver: Receiver) -> None:
    """A run with a wrong password, and one with the right one."""
    address = f"http://127.0.0.1:{machine.port}/api"
    with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: ":".join(AUTHORIZATION)}):
        Secret(value=SECRETS["wrong password"]).save("wrong-password")
    data = {"source": postgresql.url("reader"), "query": "SELECT text, label FROM questions"}
    bad = machine.retrain(recipe | {"data": data | {"password_block": "wrong-password"}})
    good = machine.retrain(recipe | {"data": data})
    # The webhook refuses the first message: the server's log names the cause, and not the address.
    receiver.status = 500
    failed = machine.once(bad, "FAILED")
    assert "password authentication failed" in failed["state"]["message"]
    shown = set[str]()
    deadline = time.monotonic() + 60
    while "500 Internal Server Error" not in (machine.logs / "server.log").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.3)
    receiver.status = 200
    deadline = time.monotonic() + 180
    while machine.get(f"/flow_runs/{good['id']}")["state"]["type"] in ("SCHEDULED", "PENDING", "RUNNING"):
        assert time.monotonic() < deadline
        shown |= {" ".join(_command(process)) for process in psutil.process_iter()}
        time.sleep(0.5)
    machine.once(good, "COMPLETED")
    assert any("worker start" in command for command in shown)
    assert _those_with_a_secret(shown) == []
    receiver.wait_for_subject("Version 1 of asked is published")
    assert {message["subject"].partition(" '")[0] for message in receiver.wait_for(2)} == {
        "Retrain",
        "Version 1 of asked is published",
    }


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _those_with_a_secret(texts: "set[str] | list[str]") -> list[str]:
    return [text for text in texts if any(form in text for secret in SECRETS.values() for form in written(secret))]


def _told_by_server(machine: Machine) -> list[str]:
    """What its answers tell of secrets: runs with their parameters and states, tasks, artifacts, logs, blocks."""
    listed = {path: machine.post(f"/{path}/filter", {}) for path in LISTS}
    assert all(listed.values()), listed
    assert any("password authentication failed" in str(run["state"]["message"]) for run in listed["flow_runs"])
    states = [machine.get(f"/flow_run_states/?flow_run_id={run['id']}") for run in listed["flow_runs"]]
    return _those_with_a_secret([json.dumps(answer) for answer in (*listed.values(), *states)])


def _kept_by(postgresql: Database) -> list[str]:
    """Rows of Prefect's database, of whatever table, that hold a secret."""
    with postgresql.connect("prefect") as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert len(tables) > 20
        rows = list[str]()
        for (table,) in tables:
            query = psycopg.sql.SQL("SELECT {}::text FROM {}").format(*[psycopg.sql.Identifier(str(table))] * 2)
            rows += [str(row) for (row,) in connection.execute(query)]
    assert any("password authentication failed" in row for row in rows)
    return _those_with_a_secret(rows)


def _shown(screen: int, wanted: str, seconds: float = 180) -> str:
    """What a terminal shows until it shows something."""
    deadline = time.monotonic() + seconds
    os.set_blocking(screen, False)
    said = ""
    while wanted not in said:
        assert time.monotonic() < deadline, said
        try:
            said += os.read(screen, 65536).decode()
        except BlockingIOError:
            time.sleep(0.2)
    return said
