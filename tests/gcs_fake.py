"""A small Cloud Storage for tests: a real HTTP server that speaks the JSON API and can be made to fail.

It covers what gcsfs and google-cloud-storage use: buckets; objects inserted in one request (media, multipart) or many
(resumable); metadata, media with ranges, listings with pages and delimiters, delete (single and batch), copy, rewrite
and compose; generations, metagenerations and preconditions; MD5 and CRC32C as Cloud Storage computes them.

`fake.fail(...)` makes the next matching requests go wrong. For the fixture, import it where fixtures are looked for
(a conftest.py): `from tests.gcs_fake import gcs`.
"""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from hubtune.storage import cloud_storage
from tests.gcs_objects import CloudStorage, Refused, Reply, Stored, error_reply, flipped, md5_of

FaultKind = Literal[
    "status",  # answer with an HTTP status; nothing is done
    "reset",  # reset the connection; nothing is done
    "stall",  # send nothing for some seconds; nothing is done
    "stall_body",  # stall in the middle of the answer's body
    "deaf",  # read the request's head, and for some seconds nothing of its body; nothing is done
    "truncated",  # half of the body, then the connection closes
    "truncated_chunked",  # half of the body in a chunked answer that ends properly: no client can notice
    "flipped",  # one bit of the answer's body is flipped
    "flipped_upload",  # one bit of the received content is flipped before it is stored
    "lost_reply",  # the request is carried out, then the connection is reset
]


@dataclass
class Fault:
    """What goes wrong, for which requests, and how often."""

    kind: FaultKind
    method: str
    target: str
    times: int
    status: int
    seconds: float
    each: bool
    seen: set[str] = field(default_factory=set)


class GcsFake(CloudStorage):
    """The server and its objects.

    Attributes:
        root: address of an empty folder in an existing bucket, gs://bucket/prefix.
        url: what STORAGE_EMULATOR_HOST has to be.
        requests: "METHOD target" of each request that arrived, in order, with the target unquoted.
        before: called with "METHOD target" before a request is carried out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.create_bucket("bucket")
        self.root = "gs://bucket/some/prefix"
        self.requests: list[str] = []
        self.before: Callable[[str], None] = lambda request: None
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self._faults: list[Fault] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "GcsFake":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def create_bucket(self, name: str) -> None:
        """Make another bucket, as an administrator would."""
        self.buckets[name] = {}

    def upload(self, bucket: str, name: str, content: bytes, *, composite: bool = False) -> None:
        """Put an object there as another program would; a composite one has no MD5."""
        with self.lock:
            self._store(bucket, name, content, {}, {}, None if composite else "")

    def fail(
        self,
        kind: FaultKind,
        method: str = ".*",
        target: str = ".*",
        *,
        times: int = 1,
        status: int = 503,
        seconds: float = 30,
        each: bool = False,
    ) -> None:
        """Let the next `times` requests fail whose method and unquoted target (path?query) match the expressions.

        With `each`, every request that is made fails at its first attempt, however many there are.
        """
        with self.lock:
            self._faults.append(Fault(kind, method, target, times, status, seconds, each))

    def pending(self) -> int:
        """How many of the ordered faults have not happened yet."""
        return sum(0 if fault.each else fault.times for fault in self._faults)

    def heal(self) -> None:
        """Forget all faults."""
        with self.lock:
            self._faults.clear()

    def names(self, suffix: str = "") -> list[str]:
        """Names of the objects below `root`, relative to it, that end in the suffix."""
        start = self.root.removeprefix("gs://bucket/") + "/"
        with self.lock:
            names = [name.removeprefix(start) for name in self.buckets["bucket"] if name.startswith(start)]
        return sorted(name for name in names if name.endswith(suffix))

    def stored(self, name: str) -> Stored:
        """An object by its name relative to `root`."""
        return self.buckets["bucket"][self.root.removeprefix("gs://bucket/") + "/" + name]

    def overwrite(self, name: str, content: bytes, md5: Literal["new", "old", "none"] = "new") -> None:
        """Change an object behind the writer's back, with the hash of the new content, or not."""
        stored = self.stored(name)
        stored.content = content
        stored.md5 = {"new": md5_of(content), "old": stored.md5, "none": None}[md5]

    def fault_for(self, method: str, target: str, body: bytes | None) -> Fault | None:
        """The fault that a request runs into, counted as done; while its body is not read, that it is not."""
        with self.lock:
            for fault in self._faults:
                if (fault.kind == "deaf") is (body is not None):
                    continue
                request = f"{method} {re.sub('upload_id=[^&]*', '', target)} {hash(body)}"
                if not (re.fullmatch(fault.method, method) and re.search(fault.target, target)):
                    continue
                if fault.each and request not in fault.seen:
                    fault.seen.add(request)
                    return fault
                if fault.times and not fault.each:
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    fake: GcsFake
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.fake.connections.add(self.connection)

    def finish(self) -> None:
        self.fake.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what arrived is in `GcsFake.requests`."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def __getattr__(self, name: str) -> Callable[[], None]:
        # http.server looks for do_GET, do_POST, ...: every method takes the same way here.
        if name.startswith("do_"):
            return self._request
        raise AttributeError(name)

    def _request(self) -> None:
        parts = urlsplit(self.path)
        target = unquote(self.path)
        if deaf := self.fake.fault_for(self.command, target, None):
            self.fake.requests.append(f"{self.command} {target}")
            self.fake.stopping.wait(deaf.seconds)
            return self._reset()
        body = self._body()
        self.fake.requests.append(f"{self.command} {target}")
        self.fake.before(f"{self.command} {target}")
        fault = self.fake.fault_for(self.command, target, body)
        kind = fault.kind if fault else None
        if fault and kind == "stall":
            self.fake.stopping.wait(fault.seconds)
        if kind in ("stall", "reset"):
            return self._reset()
        headers = {name.lower(): value for name, value in self.headers.items()} | {":method": self.command}
        try:
            if fault and kind == "status":
                raise Refused(fault.status, "ordered by the test")
            with self.fake.lock:
                self.fake.flip_upload = kind == "flipped_upload"
                reply = self.fake.answer(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
        except Refused as refused:
            reply = error_reply(refused)
        if kind == "lost_reply":
            return self._reset()
        return self._send(reply, fault)

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        kind, body = fault.kind if fault else None, reply.body
        if kind == "flipped":
            body = flipped(body)
        half = body[: len(body) // 2]
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if kind == "truncated_chunked":
            self.send_header("Transfer-Encoding", "chunked")
            body = (f"{len(half):x}\r\n".encode() + half + b"\r\n" if half else b"") + b"0\r\n\r\n"
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind in ("truncated", "stall_body"):
            self.wfile.write(half)
            if fault and kind == "stall_body":
                self.fake.stopping.wait(fault.seconds)
            return self._reset() if kind == "stall_body" else self._close()
        self.wfile.write(body)
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _reset(self) -> None:
        # With this option, closing sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(how=None)

    def _close(self, how: int | None = socket.SHUT_RDWR) -> None:
        self.close_connection = True
        if how is not None:
            self.wfile.flush()
            self.connection.shutdown(how)
        self.rfile.close()
        self.connection.close()


@pytest.fixture
def gcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsFake]:
    """A running fake that gs:// addresses lead to, in this process and in those that it starts; short waits here."""
    quick = cloud_storage.Patience(4, 0.01, 0.05, connect_seconds=2, read_seconds=0.5)
    with GcsFake() as fake:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake.url)
        monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "mirror"))
        monkeypatch.setattr(cloud_storage, "PATIENCE", quick)
        yield fake
