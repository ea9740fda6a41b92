"""A real Prefect server on loopback, and real workers, in processes of their own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from hubtune.cli.up import SERVER_SETTINGS

PREFECT = str(Path(sys.executable).parent / "prefect")
# Made once: each request would take 24 ms of CPU for one of its own, and tests ask all the time.
_TLS = httpx.create_ssl_context()


def ask(method: str, url: str, **arguments: Any) -> httpx.Response:
    """A request to a server. One on SQLite says now and then that its database is busy: Prefect's client asks again."""
    # As patient as Prefect's client: the machine may be busy with the runs themselves.
    asked: dict[str, Any] = {"timeout": 60, "verify": _TLS} | arguments
    for _ in range(20):
        answer = httpx.request(method, url, **asked)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(0.5)
    return answer


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def running_server(folder: Path, database: Path | None = None, pages: bool = False) -> Iterator[dict[str, str]]:
    """A server with its files in a folder.

    Args:
        folder: empty.
        database: an empty database that it begins with, as another server made it: that takes Prefect 20 s.
        pages: whether it has pages for a browser too, with the settings that they have under `hubtune up`.

    Yields:
        The settings that point to it.
    """
    port = free_port()
    settings = {
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    }
    if database is not None:
        shutil.copy(database, folder / "prefect.db")
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | (SERVER_SETTINGS if pages else {}) | settings
    with running(command if pages else [*command, "--no-ui"], environment, folder / "server.log") as server:
        wait_for(f"{settings['PREFECT_API_URL']}/health", server)
        yield settings


@contextmanager
def running(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended when it is no longer needed, and writes to a log until then."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.3)
