"""Somebody who is sent messages: a webhook on this machine."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.operate.conftest import Json

TOKEN = "T0KEN-of-the-w3bhook"


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it, and answers with a status."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[Json] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/{TOKEN}"

    def wait_for(self, count: int, seconds: float = 60, quiet: float = 3) -> list[Json]:
        """So many messages; those that follow within some seconds are too many."""
        deadline = time.monotonic() + seconds
        while len(self.messages) < count:
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.2)
        time.sleep(quiet)
        return self.messages

    def wait_for_subject(self, subject: str, seconds: float = 60) -> None:
        """A message of that subject, whatever others there are: one that was refused comes several times."""
        deadline = time.monotonic() + seconds
        while all(message["subject"] != subject for message in self.messages):
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.2)


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()
