"""Secrets in the server's log."""

import logging
from pathlib import Path

import httpx
import pytest
from prefect.context import SettingsContext
from prefect.settings import PREFECT_LOGGING_SETTINGS_PATH, Profile, Settings, temporary_settings

from deployments.redact import HIDDEN, Redact, secrets
from deployments.stack import write_logging
from hubtune.errors import StackFailed

ADDRESS = "https://hooks.example.org/services/T0/B0/a%20token?key=s3cret-key"


def test_addresses_and_passwords_are_hidden_in_messages_and_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBTUNE_ALERTS", ADDRESS)
    monkeypatch.setenv("HUBTUNE_AUTH", "ops:pass:word")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://prefect:p%40ssword@db/prefect")
    try:
        raise ValueError(f"refused by {ADDRESS}")
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)
    message = "%s, %s, p@ssword or p%%40ssword"
    record = logging.LogRecord("server", logging.ERROR, __file__, 1, message, (ADDRESS, "pass:word"), caught)
    with SettingsContext(profile=Profile(name="test"), settings=Settings()):
        assert Redact().filter(record)
    shown = logging.Formatter().format(record)
    assert "refused by https://hooks.example.org********" in shown
    for secret in ("token", "s3cret-key", "pass:word", "p@ssword", "p%40ssword"):
        assert secret not in shown, secret


def test_what_holds_no_secret_is_logged_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUBTUNE_ALERTS", "HUBTUNE_AUTH", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    record = logging.LogRecord("server", logging.INFO, __file__, 1, "%s rows", (3,), None)
    Redact().filter(record)
    assert (record.msg, record.args, record.getMessage()) == ("%s rows", (3,), "3 rows")
    assert secrets({"HUBTUNE_ALERTS": "slack-webhook/ops"}) == []


@pytest.mark.parametrize(
    "address", ["https://T0KENuser@host/x", "https://ops:T0KEN-word@host/x", "https://host/a b:c@d/T0KEN"]
)
def test_an_address_is_hidden_as_it_is_sent(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HUBTUNE_ALERTS", address)
    for written in (address, str(httpx.URL(address))):
        record = logging.LogRecord("server", logging.ERROR, __file__, 1, "refused by %s", (written,), None)
        Redact().filter(record)
        assert record.getMessage().startswith("refused by https://"), written
        assert "T0KEN" not in record.getMessage(), written


def test_the_address_of_a_block_is_hidden_where_messages_are_sent() -> None:
    message = "Client error '404 Not Found' for url 'https://T0KEN@hooks.example.org:8080/services/T0KEN?key=T0KEN'"
    record = logging.LogRecord(
        "prefect.server.utilities.messaging.memory", logging.ERROR, __file__, 1, message, None, None
    )
    Redact().filter(record)
    assert record.getMessage() == f"Client error '404 Not Found' for url 'https://hooks.example.org:8080/{HIDDEN}'"


@pytest.mark.parametrize("prefix", ["PREFECT_SERVER_DATABASE", "PREFECT_API_DATABASE"])
def test_the_password_of_the_database_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    parts = {
        "driver": "postgresql+asyncpg",
        "host": "db",
        "user": "prefect",
        "name": "prefect",
        "password": "pass w@rd",
    }
    for name, value in parts.items():
        monkeypatch.setenv(f"{prefix}_{name.upper()}", value)
    record = logging.LogRecord(
        "server", logging.ERROR, __file__, 1, "pass w@rd, pass+w%40rd, pass%20w%40rd", None, None
    )
    with SettingsContext(profile=Profile(name="test"), settings=Settings()):
        Redact().filter(record)
    assert record.getMessage() == f"{HIDDEN}, {HIDDEN}, {HIDDEN}"


def test_settings_of_logging_without_handlers_are_taken_as_they_are(
    tmp_path: Path,
) -> None:
    theirs = tmp_path / "theirs.yml"
    theirs.write_text("version: 1\nhandlers:\n", encoding="utf-8")
    with temporary_settings({PREFECT_LOGGING_SETTINGS_PATH: theirs}):
        assert "version: 1" in write_logging(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["a: [", "", "- a"])
def test_settings_of_logging_that_cannot_be_read_are_named(tmp_path: Path, content: str) -> None:
    theirs = tmp_path / "theirs.yml"
    theirs.write_text(content, encoding="utf-8")
    with temporary_settings({PREFECT_LOGGING_SETTINGS_PATH: theirs}), pytest.raises(StackFailed, match=r"theirs\.yml"):
        write_logging(tmp_path)
