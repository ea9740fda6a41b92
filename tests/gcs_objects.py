"""What Cloud Storage keeps and answers, without the network: buckets, objects, generations, uploads, listings."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

_PAGE = 1000
_CHUNK = 256 * 1024  # Cloud Storage takes resumable chunks in multiples of this


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


class CloudStorage:
    """Carries out requests of the JSON API.

    Attributes:
        buckets: content by bucket and object name.
        page: the most entries that a page of a listing has.
        url: address of the server, for the places that resumable uploads go to.
        flip_upload: flip one bit of what the next request stores.
    """

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.page = _PAGE
        self.url = ""
        self.flip_upload = False
        self._uploads: dict[str, tuple[dict[str, str], dict[str, Any], bytearray]] = {}
        self._generation = 1_000_000

    def answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        """Carry out a request."""
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
        stored = self._object(bucket, name, query.get("generation"))
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
        stored = self._object(bucket, name, query.get("generation"))
        _check_preconditions(query, stored)
        stored.metadata |= json.loads(body)
        stored.metageneration += 1
        return _json(self._resource(bucket, name))

    def _delete(self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str) -> Reply:
        _check_preconditions(query, self._object(bucket, name, query.get("generation")))
        del self.buckets[bucket][name]
        return Reply(204)

    def _rewrite(
        self, query: dict[str, str], headers: dict[str, str], body: bytes, bucket: str, name: str, to: str, target: str
    ) -> Reply:
        source = self._object(bucket, name, query.get("sourceGeneration"))
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
                reply = error_reply(refused)
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
        content = flipped(content) if self.flip_upload else content
        self._generation += 1
        objects[name] = Stored(content, self._generation, md5_of(content) if md5 == "" else md5, metadata=metadata)

    def _objects(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[bucket]

    def _object(self, bucket: str, name: str, generation: str | None = None) -> Stored:
        stored = self._objects(bucket).get(name)
        if stored is None or generation not in (None, str(stored.generation)):  # older ones are not kept
            raise Refused(404, f"No such object: {bucket}/{name}")
        return stored

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


def error_reply(refused: Refused) -> Reply:
    reply = _json({"error": {"code": refused.status, "message": str(refused)}})
    reply.status = refused.status
    return reply


def flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body


def md5_of(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def _crc32c(content: bytes) -> str:
    return base64.b64encode(cast("int", google_crc32c.value(content)).to_bytes(4, "big")).decode()
