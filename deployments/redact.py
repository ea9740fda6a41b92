"""Keeps passwords out of the server's log: what Prefect says of a webhook that refuses a message names its address.

The server loads this with its settings of logging; it imports nothing but the standard library.
"""

import logging
import os
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "********"
# What is shorter is no secret, and would hide half of each line.
_SHORTEST = 5


def secrets(environment: Mapping[str, str]) -> list[str]:
    """What must not be logged.

    Args:
        environment: of the server.

    Returns:
        Passwords and addresses, as they are and as they stand in a URL; the longest first.
    """
    found = set[str]()
    target = environment.get("HUBTUNE_ALERTS", "")
    if "://" in target:
        address = urlsplit(target)
        # Tokens stand in the path or the query; the host may be told.
        found |= {f"{address.path}?{address.query}", address.path, address.query, address.password or ""}
    found.add(environment.get("HUBTUNE_AUTH", "").partition(":")[2])
    found.add(urlsplit(environment.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "")).password or "")
    written = {form for secret in found for form in (secret, unquote(secret), quote(unquote(secret), safe="/?=&"))}
    return sorted((secret for secret in written if len(secret) >= _SHORTEST), key=len, reverse=True)


class Redact(logging.Filter):
    """Replaces secrets of the environment in messages and tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets = secrets(os.environ)

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
            record.exc_text = self._without(record.exc_text)
        message = record.getMessage()
        if (shown := self._without(message)) != message:
            record.msg, record.args = shown, ()
        return True

    def _without(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text
