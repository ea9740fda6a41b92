"""The server's database, whatever names it to Prefect: the environment under several names, a profile, a file."""

import contextlib
from pathlib import Path

from prefect.settings import Settings


def is_shared(folder: Path) -> bool:
    """Whether others may use the server's database too. The runs in an SQLite file are those of this machine.

    Args:
        folder: the server's working directory, in which Prefect looks for files with settings.

    Returns:
        Whether it is anything but an SQLite file.
    """
    with contextlib.chdir(folder):
        address = Settings().server.database.connection_url
    return address is not None and not address.get_secret_value().startswith("sqlite")
