"""Keeps passwords out of the server's log: what Prefect says of a webhook that refuses a message names its address.

The server loads this with its settings of logging, while it loads Prefect: what is not of the standard library is
imported late.
"""

import logging
import os
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

HIDDEN = "********"
# What is shorter is no secret, and would hide half of each line.
_SHORTEST = 5
# These tell of messages that could not be sent. The address may be that of a block, which is known to the server alone.
_SENDERS = ("prefect.server.events", "prefect.server.utilities.messaging")
_AFTER_HOST = re.compile(r"(https?://)(?:[^\s/'\"]*@)?([^\s/?#'\"]+)[/?#][^\s'\"]+")


def secrets(environment: Mapping[str, str], database: str = "") -> list[str]:
    """What must not be logged.

    Args:
        environment: of the server.
        database: the address of its database.

    Returns:
        Passwords and addresses, as they are and as they stand in a URL; the longest first.
    """
    found = set[str]()
    target = environment.get("HUBTUNE_ALERTS", "")
    if "://" in target:
        address = urlsplit(target)
        # Tokens stand in the path or the query, or before the host, which may be told.
        found |= {f"{address.path}?{address.query}", address.path, address.query}
        found.add(address.password or address.username or "")
        found |= _as_sent(target)
    found.add(environment.get("HUBTUNE_AUTH", "").partition(":")[2])
    found |= {urlsplit(database).password or "", *parse_qs(urlsplit(database).query).get("password", ())}
    written = {
        form
        for secret in found
        for form in (
            secret,
            unquote(secret),
            quote(unquote(secret), safe="/?=&"),
            quote_plus(unquote(secret)),
        )
    }
    return sorted((secret for secret in written if len(secret) >= _SHORTEST), key=len, reverse=True)


def _as_sent(address: str) -> set[str]:
    """Path and query as httpx writes them, which quotes less than others."""
    import httpx

    try:
        sent = httpx.URL(address).raw_path.decode()
    except httpx.InvalidURL:
        # Nothing is sent to it.
        return set()
    return {sent, sent.partition("?")[0]}


class Redact(logging.Filter):
    """Replaces secrets of the environment and of Prefect's settings in messages and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        # The server loads its settings, and then those of logging.
        from prefect.settings import get_current_settings

        database = get_current_settings().server.database.connection_url
        self._secrets = secrets(os.environ, database.get_secret_value() if database is not None else "")

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the secrets out of a record.

        Args:
            record: it is changed.

        Returns:
            True: it is logged.
        """
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._without(record.exc_text, record.name)
        message = record.getMessage()
        if (shown := self._without(message, record.name)) != message:
            record.msg, record.args = shown, ()
        return True

    def _without(self, text: str, logger: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _AFTER_HOST.sub(rf"\1\2/{HIDDEN}", text) if logger.startswith(_SENDERS) else text
