"""A small Cloud Storage for tests: a real HTTP server that speaks the JSON API and can be made to fail.

It covers what gcsfs and google-cloud-storage use: buckets; objects inserted in one request (media, multipart) or many
(resumable); metadata, media with ranges, listings with pages and delimiters, delete (single and batch), copy, rewrite
and compose; generations, metagenerations and preconditions; MD5 and CRC32C as Cloud Storage computes them.

`fake.fail(...)` makes the next matching requests go wrong. For the fixture, import it where fixtures are looked for
(a conftest.py): `from tests.gcs_fake import gcs`.
"""

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c
import pytest

from hubtune.storage import bucket as bucket_module

FaultKind = Literal[
    "status",  # answer with an HTTP status; nothing is done
    "reset",  # reset the connection; nothing is done
    "stall",  # send nothing for some seconds; nothing is done
    "stall_body",  # stall in the middle of the answer's body
    "truncated",  # half of the body, then the connection closes
    "truncated_chunked",  # half of the body in a chunked answer that ends properly: no client can notice
    "flipped",  # one bit of the answer's body is flipped
    "flipped_upload",  # one bit of the received content is flipped before it is stored
    "lost_reply",  # the request is carried out, then the connection is reset
]

_PAGE = 1000
_CHUNK = 256 * 1024  # Cloud Storage takes resumable chunks in multiples of this


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


@dataclass
class Stored:
    """An object. `md5` is None for composite objects."""

    content: bytes
    generation: int
    md5: str | None
    metageneration: int = 1
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Reply:
    """An answer before it is sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Ends a request with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class GcsFake:
    """The server and its objects.

    Attributes:
        root: address of an empty folder in an existing bucket, gs://bucket/prefix.
        url: what STORAGE_EMULATOR_HOST has to be.
        requests: "METHOD target" of each request that arrived, in order, with the target unquoted.
        buckets: content by bucket and object name.
        page: the most entries that a page of a listing has.
        before: called with "METHOD target" before a request is carried out.
    """

    def __init__(self) -> None:
        self.root = "gs://bucket/some/prefix"
        self.requests: list[str] = []
        self.buckets: dict[str, dict[str, Stored]] = {"bucket": {}}
        self.page = _PAGE
        self.before: Callable[[str], None] = lambda request: None
        self.flip_upload = False
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.connections: set[socket.socket] = set()
        self._faults: list[Fault] = []
        self._uploads: dict[str, tuple[dict[str, str], dict[str, Any], bytearray]] = {}
        self._generation = 1_000_000
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
        names = [name.removeprefix(start) for name in self.buckets["bucket"] if name.startswith(start)]
        return sorted(name for name in names if name.endswith(suffix))

    def stored(self, name: str) -> Stored:
        """An object by its name relative to `root`."""
        return self.buckets["bucket"][self.root.removeprefix("gs://bucket/") + "/" + name]

    def overwrite(self, name: str, content: bytes, md5: Literal["new", "old", "none"] = "new") -> None:
        """Change an object behind the writer's back, with the hash of the new content, or not."""
        stored = self.stored(name)
        stored.content = content
        stored.md5 = {"new": _md5(content), "old": stored.md5, "none": None}[md5]

    def fault_for(self, method: str, target: str, body: bytes) -> Fault | None:
        """The fault that a request runs into, counted as done."""
        with self.lock:
            for fault in self._faults:
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

    def answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        """Carry out a request."""
        with self.lock:
            for pattern, methods in self._routes():
                match = re.fullmatch(pattern, path)
                if match and method in methods:
                    return methods[method](query, headers, body, *map(unquote, match.groups()))
        raise Refused(404, f"no such method: {method} {path}")

    def _routes(self) -> list[tuple[str, dict[str, Callable[..., Reply]]]]:
        api = "(?:/download)?/storage/v1"
        return [
            (f"{api}/b", {"POST": self._make_bucket}),
            (f"{api}/b/([^/]+)", {"GET": self._get_bucket, "DELETE": self._delete_bucket}),
            (f"{api}/b/([^/]+)/o", {"GET": self._list}),
            (f"{api}/b/([^/]+)/o/([^/]+)", {"GET": self._get, "DELETE": self._delete, "PATCH": self._patch}),
            (f"{api}/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)", {"POST": self._rewrite}),
            (f"{api}/b/([^/]+)/o/([^/]+)/compose", {"POST": self._compose}),
            ("/upload/storage/v1/b/([^/]+)/o", dict.fromkeys(("POST", "PUT", "DELETE"), self._upload)),
            ("/batch/storage/v1", {"POST": self._batch}),
        ]

    def _make_bucket(self, query: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        name = json.loads(body)["name"]
        if name in self.buckets:
            raise Refused(409, "the bucket exists")
        self.buckets[name] = {}
        return _json({"kind": "storage#bucket", "name": name, "id": name})

    def _get_bucket(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str) -> Reply:
        self._objects(bucket)
        return _json({"kind": "storage#bucket", "name": bucket, "id": bucket, "storageClass": "STANDARD"})

    def _delete_bucket(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str) -> Reply:
        if self._objects(bucket):
            raise Refused(409, "the bucket is not empty")
        del self.buckets[bucket]
        return Reply(204)

    def _list(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str) -> Reply:
        objects, prefix, delimiter = self._objects(bucket), query.get("prefix", ""), query.get("delimiter", "")
        names: list[str] = []
        prefixes: list[str] = []
        for name in sorted(objects):
            inside = name.startswith(prefix) and query.get("startOffset", "") <= name
            if not inside or ("endOffset" in query and name >= query["endOffset"]):
                continue
            head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            (prefixes if found else names).append(prefix + head + delimiter if found else name)
        after = base64.urlsafe_b64decode(query.get("pageToken", "")).decode()
        entries = [entry for entry in sorted({*names, *prefixes}) if entry > after]
        size = min(int(query.get("maxResults", self.page)), self.page)
        shown, rest = entries[:size], entries[size:]
        page: dict[str, Any] = {"kind": "storage#objects"}
        if set(shown) & set(names):
            page["items"] = [self._resource(bucket, name) for name in shown if name in objects and name in names]
        if set(shown) & set(prefixes):
            page["prefixes"] = [name for name in shown if name in prefixes]
        if rest:
            page["nextPageToken"] = base64.urlsafe_b64encode(shown[-1].encode()).decode()
        return _json(page)

    def _get(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str) -> Reply:
        stored = self._object(bucket, name)
        _check_preconditions(query, stored)
        if query.get("alt") != "media":
            return _json(self._resource(bucket, name))
        hashes = f"crc32c={_crc32c(stored.content)}" + (f",md5={stored.md5}" if stored.md5 else "")
        reply = Reply(200, stored.content, {"X-Goog-Hash": hashes, "X-Goog-Generation": str(stored.generation)})
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
        if wanted:
            total = len(stored.content)
            first, last = wanted.groups()
            start = int(first) if first else max(0, total - int(last))
            stop = min(int(last) + 1, total) if first and last else total
            if start >= total:
                raise Refused(416, "the range lies outside the object")
            reply.status, reply.body = 206, stored.content[start:stop]
            reply.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        return reply

    def _patch(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str) -> Reply:
        stored = self._object(bucket, name)
        _check_preconditions(query, stored)
        stored.metadata |= json.loads(body)
        stored.metageneration += 1
        return _json(self._resource(bucket, name))

    def _delete(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str) -> Reply:
        _check_preconditions(query, self._object(bucket, name))
        del self.buckets[bucket][name]
        return Reply(204)

    def _rewrite(
        self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str, to: str, target: str
    ) -> Reply:
        source = self._object(bucket, name)
        _check_preconditions(query, source, "ifSource")
        self._store(to, target, source.content, dict(source.metadata), query, md5=source.md5)
        size = str(len(source.content))
        resource = self._resource(to, target)
        return _json(
            {"kind": "storage#rewriteResponse", "done": True, "objectSize": size, "totalBytesRewritten": size}
            | {"resource": resource}
            | ({} if "rewriteToken" in query else resource)
        )

    def _compose(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str) -> Reply:
        request = json.loads(body)
        content = b"".join(self._object(bucket, part["name"]).content for part in request["sourceObjects"])
        self._store(bucket, name, content, request.get("destination", {}), query, md5=None)
        return _json(self._resource(bucket, name))

    def _batch(self, query: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        boundary = headers["content-type"].split("boundary=")[1].strip('"').encode()
        out = []
        for part in body.split(b"--" + boundary)[1:-1]:
            request = re.search(rb"(GET|DELETE|PATCH) (\S+)", part)
            assert request is not None
            method, target = (group.decode() for group in request.groups())
            try:
                reply = self.answer(method, urlsplit(target).path, dict(parse_qsl(urlsplit(target).query)), {}, b"")
            except Refused as refused:
                reply = _error(refused)
            out.append(
                f"\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {reply.status} x\r\n\r\n".encode() + reply.body
            )
        text = b"".join(b"--answer" + part + b"\r\n" for part in out) + b"--answer--"
        return Reply(200, text, {"Content-Type": "multipart/mixed; boundary=answer"})

    def _upload(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str) -> Reply:
        if "upload_id" in query:
            return self._continue_upload(query["upload_id"], headers, body, bucket)
        name = query.get("name", "")
        if query["uploadType"] == "media":
            self._store(bucket, name, body, {}, query)
        elif query["uploadType"] == "multipart":
            resource, body = _multipart(headers["content-type"], body)
            name = resource.pop("name", name)
            self._store(bucket, name, body, resource, query)
        else:
            resource = json.loads(body or b"{}")
            name = resource.pop("name", name)
            _check_preconditions(query, self._objects(bucket).get(name))
            self._generation += 1
            upload = f"upload-{self._generation}"
            self._uploads[upload] = ({**query, "name": name}, resource, bytearray())
            place = f"{self.url}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={upload}"
            return Reply(200, b"", {"Location": place})
        return _json(self._resource(bucket, name))

    def _continue_upload(self, upload: str, headers: dict[str, str], body: bytes, bucket: str) -> Reply:
        if upload not in self._uploads:
            raise Refused(404, "no such upload")
        query, resource, received = self._uploads[upload]
        wanted = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers.get("content-range", "bytes */*"))
        if headers[":method"] == "DELETE":
            del self._uploads[upload]
            return Reply(499)
        if wanted is None or (wanted[1] and int(wanted[1]) > len(received)):
            raise Refused(400, f"a chunk that does not follow: {headers.get('content-range')}")
        if wanted[1]:
            received[int(wanted[1]) :] = body
        if wanted[3] != str(len(received)):
            if len(received) % _CHUNK:
                raise Refused(400, "a chunk that is no multiple of 256 KiB and not the last")
            return Reply(308, b"", {"Range": f"bytes=0-{len(received) - 1}"} if received else {})
        self._store(bucket, query["name"], bytes(received), resource, query)
        del self._uploads[upload]
        return _json(self._resource(bucket, query["name"]))

    def _store(
        self,
        bucket: str,
        name: str,
        content: bytes,
        metadata: dict[str, Any],
        query: dict[str, str],
        md5: str | None = "",
    ) -> None:
        objects = self._objects(bucket)
        _check_preconditions(query, objects.get(name))
        content = _flipped(content) if self.flip_upload else content
        self._generation += 1
        objects[name] = Stored(content, self._generation, _md5(content) if md5 == "" else md5, metadata=metadata)

    def _objects(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[bucket]

    def _object(self, bucket: str, name: str) -> Stored:
        if name not in self._objects(bucket):
            raise Refused(404, f"No such object: {bucket}/{name}")
        return self.buckets[bucket][name]

    def _resource(self, bucket: str, name: str) -> dict[str, Any]:
        stored = self.buckets[bucket][name]
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{stored.generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(stored.generation),
            "metageneration": str(stored.metageneration),
            "size": str(len(stored.content)),
            "crc32c": _crc32c(stored.content),
            "etag": str(stored.generation),
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
            "contentType": "application/octet-stream",
            "storageClass": "STANDARD",
            **({"md5Hash": stored.md5} if stored.md5 else {"componentCount": 2}),
            **stored.metadata,
        }


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
        body = self._body()
        parts = urlsplit(self.path)
        target = unquote(self.path)
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
            reply = _error(refused)
        if kind == "lost_reply":
            return self._reset()
        return self._send(reply, fault)

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        kind, body = fault.kind if fault else None, reply.body
        if kind == "flipped":
            body = _flipped(body)
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


def _check_preconditions(query: dict[str, str], stored: Stored | None, start: str = "if") -> None:
    generation, metageneration = (stored.generation, stored.metageneration) if stored else (0, 0)
    for name, value in (("Generation", generation), ("Metageneration", metageneration)):
        if query.get(f"{start}{name}Match", str(value)) != str(value):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        if query.get(f"{start}{name}NotMatch") == str(value):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    boundary = b"--" + content_type.split("boundary=")[1].strip("\"'").encode()
    newline = b"\r\n" if body[len(boundary) :].startswith(b"\r\n") else b"\n"
    _, first, rest = body.split(boundary, 2)
    content = rest[: rest.rindex(newline + boundary)]  # the content may hold the boundary; the last one ends it
    resource = json.loads(first.split(newline * 2, 1)[1])
    return resource, content.split(newline * 2, 1)[1]


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


def _error(refused: Refused) -> Reply:
    reply = _json({"error": {"code": refused.status, "message": str(refused)}})
    reply.status = refused.status
    return reply


def _flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _crc32c(content: bytes) -> str:
    return base64.b64encode(cast("int", google_crc32c.value(content)).to_bytes(4, "big")).decode()


@pytest.fixture
def gcs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsFake]:
    """A running fake that gs:// addresses lead to, in this process and in those that it starts; short waits here."""
    quick = bucket_module.Patience(4, 0.01, 0.05, connect_seconds=2, read_seconds=0.5)
    with GcsFake() as fake:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake.url)
        monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "mirror"))
        monkeypatch.setattr(bucket_module, "PATIENCE", quick)
        yield fake
