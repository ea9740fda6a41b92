"""Secrets in the server's log."""

import logging

import pytest

from deployments.redact import Redact, secrets

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
