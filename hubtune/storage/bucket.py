"""The store's backend on Google Cloud Storage, through gcsfs.

The retry policy is in this file alone. A fault that passes (no connection, a stall, 408, 429, 5xx, a damaged answer)
is tried again with exponentially growing, jittered waits; one that does not (no permission, no bucket) is not.
Either ends as `StoreUnavailable`. What goes up is compared with the size and MD5 that Cloud Storage reports of it, and
sent again where they differ; what comes down is compared with the manifest's sha256 by the mirror.
"""

import base64
import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MethodType
from typing import Any, TypeVar

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage.artifact import FileEntry, unseal
from hubtune.storage.files import MANIFEST, corrupt
from hubtune.storage.mirror import Mirror

T = TypeVar("T")

# TensorFlow Serving takes a version as soon as it finds this file, so everything else has to be there before.
_LAST = "saved_model.pb"
# Requests at once. Each is a thread that waits for the network.
_WORKERS = 8


@dataclass(frozen=True)
class Patience:
    """How long to wait for Cloud Storage. With these values a dead connection is given up after three minutes.

    gcsfs has no read timeout of its own: a stalled connection hung for 36 s in a measurement, and can hang for ever.
    """

    attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 20.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0


PATIENCE = Patience()


@dataclass(frozen=True)
class _Object:
    size: int
    md5: str | None  # hexadecimal; composite objects have none

    def holds(self, entry: FileEntry) -> bool:
        return self.size == entry.size and self.md5 == entry.md5

    def may_hold(self, entry: FileEntry) -> bool:
        return self.size == entry.size and self.md5 in (None, entry.md5)


class Bucket:
    """Keeps artifacts and records below gs://bucket/prefix; `folder.Folder` says what each method does.

    Objects of a folder become visible one by one, its manifest last.

    Args:
        address: gs://bucket/prefix.
        cache: where the mirror lies.
        patience: how long to wait for answers.
    """

    def __init__(self, address: str, cache: Path, patience: Patience | None = None) -> None:
        self.address = address
        self.scratch = cache / "scratch"
        self._bucket, _, self._prefix = address.removeprefix("gs://").partition("/")
        self._mirror = Mirror(cache)
        self._patience = patience or PATIENCE

    def read(self, path: str) -> bytes | None:
        """The content of a record, or None if there is none."""

        def get() -> bytes:
            headers, content = self._gcs.call("GET", self._gcs.url(self._key(path)))
            _check_hash(headers, content)
            return bytes(content)

        try:
            return self._persist("read", path, get)
        except FileNotFoundError:
            return None

    def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """The contents of several records."""
        return _in_threads(self.read, paths)

    def write(self, path: str, content: bytes) -> None:
        """Write a record, replacing the one that is there."""
        self._send(path, lambda: self._gcs.pipe_file(self._key(path), content, consistency="md5"))

    def create(self, path: str, content: bytes) -> bool:
        """Write a record if there is none; whether it now holds this content, so that one of several gets True.

        The write may have landed although its reply was lost: the next attempt is refused then, and only reading back
        tells. So content that must be told apart from others' needs a nonce in it.
        """
        try:
            self._send(path, lambda: self._gcs.pipe_file(self._key(path), content, consistency="md5", mode="create"))
        except FileExistsError:
            return self.read(path) == content
        return True

    def children(self, path: str) -> list[str]:
        """Names of the objects and folders in a folder, sorted; none if it does not exist."""
        return sorted(name.rstrip("/") for name in self._list(path, deep=False) if not name.startswith("."))

    def committed(self, path: str) -> list[str]:
        """Names of the folders in a folder that have a manifest."""
        found = (name.split("/") for name in self._list(path))
        return sorted(parts[0] for parts in found if parts[1:] == [MANIFEST])

    def whole(self, path: str, entries: Sequence[FileEntry], *, hashes: bool = True) -> bool:
        """Whether the objects have the sizes and hashes that their entries say. `hashes` costs nothing here."""
        listed = self._list(path)
        return all(entry.path in listed and listed[entry.path].may_hold(entry) for entry in entries)

    def commit(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: Path) -> None:
        """Upload a folder of files, its manifest last. What is there and right, as after a killed upload, stays."""

        def upload(entry: FileEntry) -> None:
            target = f"{path}/{entry.path}"
            local = str(source / entry.path)
            kind = "application/octet-stream"
            self._send(target, lambda: self._gcs.put_file(local, self._key(target), content_type=kind))

        self._settle(path, entries, manifest, upload)

    def copy(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: str) -> None:
        """As `commit`, from another folder of the store, inside Cloud Storage."""

        def copy_one(entry: FileEntry) -> None:
            origin, target = f"{source}/{entry.path}", f"{path}/{entry.path}"
            try:
                self._persist("copy", origin, lambda: self._gcs.cp_file(self._key(origin), self._key(target)))
            except FileNotFoundError:
                raise corrupt(entry, "no object", f"{entry.size} bytes", f"{self.address}/{source}") from None

        self._settle(path, entries, manifest, copy_one)

    def fetch(self, path: str, entries: Sequence[FileEntry], address: str, *, complete: bool) -> Path:
        """A local folder, in the mirror, in which the files have been verified."""

        def download(entry: FileEntry, file: Path) -> None:
            origin = f"{path}/{entry.path}"
            try:
                # One stream: gcsfs's ranged reads of big files may each come from a connection that lies.
                self._persist("read", origin, lambda: self._gcs.get_file(self._key(origin), str(file), concurrency=1))
            except FileNotFoundError:
                raise corrupt(entry, "no object", f"{entry.size} bytes", where) from None

        where = f"{self.address}/{path}"
        try:
            return self._mirror.fetch(address, entries, where, download, complete=complete)
        except CorruptArtifact:
            self._disown(path, entries)
            raise

    @cached_property
    def _gcs(self) -> Any:
        import aiohttp

        # Not `gcsfs.GCSFileSystem`: that one may be the variant for zonal buckets, which asks a gRPC service about
        # every bucket and waits 100 s for it where there is only an emulator.
        from gcsfs.core import GCSFileSystem

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._patience.connect_seconds, sock_read=self._patience.read_seconds
        )
        # An emulator takes no credentials, and only an emulator goes without.
        token = "anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default"
        with self._explained("open", ""):
            filesystem = GCSFileSystem(
                token=token, requests_timeout=timeout, use_listings_cache=False, skip_instance_cache=True
            )
        # gcsfs repeats each request up to six times over half a minute, and that cannot be set: repeating is done here.
        filesystem._request = MethodType(GCSFileSystem._request.__wrapped__, filesystem)
        return filesystem

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._bucket, self._prefix, path) if part)

    def _list(self, path: str, *, deep: bool = True) -> dict[str, _Object]:
        """Objects below a folder by relative path; not `deep`: in it, with sub-folders as names that end in a slash."""
        prefix = self._key(path).removeprefix(f"{self._bucket}/") + "/"
        query = {"prefix": prefix, "fields": "items(name,size,md5Hash),prefixes,nextPageToken"}
        if not deep:
            query["delimiter"] = "/"
        found: dict[str, _Object] = {}
        while True:
            try:
                page = self._persist("list", path, lambda: self._page(query))
            except FileNotFoundError as error:
                raise self._no_bucket() from error
            found |= {item["name"].removeprefix(prefix): _described(item) for item in page.get("items", [])}
            found |= {name.removeprefix(prefix): _Object(0, None) for name in page.get("prefixes", [])}
            if "nextPageToken" not in page:
                return found
            query["pageToken"] = page["nextPageToken"]

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        page: dict[str, Any] = self._gcs.call("GET", "b/{}/o", self._bucket, json_out=True, **query)
        return page

    def _settle(
        self, path: str, entries: Sequence[FileEntry], manifest: bytes, send: Callable[[FileEntry], None]
    ) -> None:
        """Send until Cloud Storage reports of every object what its entry says; then write the manifest."""
        sent: set[str] = set()
        for _ in range(self._patience.attempts):
            listed = self._list(path)
            wrong = []
            for entry in entries:
                there = listed.get(entry.path)
                if there is None or not (there.holds(entry) or (entry.path in sent and there.may_hold(entry))):
                    wrong.append(entry)
            if not wrong:
                break
            _in_threads(send, [entry for entry in wrong if entry.path != _LAST])
            _in_threads(send, [entry for entry in wrong if entry.path == _LAST])
            sent.update(entry.path for entry in wrong)
        else:
            raise StoreUnavailable(
                f"{wrong[0].path!r} arrived damaged {self._patience.attempts} times (its MD5 is not {wrong[0].md5})",
                where=f"{self.address}/{path}",
                remedy="check the network and proxies between this machine and Cloud Storage, then run again",
            )
        record = f"{path}/{MANIFEST}"
        if MANIFEST in listed and unseal(self.read(record)) is not None:
            return
        if not self.create(record, manifest) and unseal(self.read(record)) is None:
            self.write(record, manifest)

    def remove(self, path: str) -> None:
        """Remove a folder: its manifest first, so that it is gone for every reader at once."""
        listed = self._list(path)
        for name in sorted(listed, key=lambda name: name != MANIFEST):
            self._delete(f"{path}/{name}")

    def _delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._persist("delete", path, lambda: self._gcs.rm_file(self._key(path)))

    def _disown(self, path: str, entries: Sequence[FileEntry]) -> None:
        """Take the manifest off an artifact whose content is wrong although its listing looks right.

        Otherwise it would count as whole for ever, and not be made again. Where Cloud Storage's own MD5 says that the
        content is right, the fault lies on the way, and where it says that it is wrong, the artifact is not whole
        anyway; so this concerns composite objects, which have no MD5.
        """
        listed = self._list(path)
        unknown = [entry for entry in entries if entry.path in listed and listed[entry.path].md5 is None]
        if unknown and path.startswith("artifacts/"):
            self._delete(f"{path}/{MANIFEST}")

    def _send(self, path: str, call: Callable[[], Any]) -> None:
        def attempt() -> None:
            try:
                call()
            except FileNotFoundError as error:
                # Either there is no bucket, or gcsfs could not clean up after an upload that broke off.
                self._page({"maxResults": "1"})
                raise ConnectionError(f"the upload broke off: {error}") from error

        try:
            self._persist("write", path, attempt)
        except FileNotFoundError as error:
            raise self._no_bucket() from error

    def _persist(self, action: str, path: str, call: Callable[[], T]) -> T:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        first, longest = self._patience.first_wait_seconds, self._patience.longest_wait_seconds
        waits = wait_exponential(multiplier=first, max=longest) + wait_random(0, first)
        retrying = Retrying(
            stop=stop_after_attempt(self._patience.attempts),
            wait=waits,
            retry=retry_if_exception(_passes),
            reraise=True,
        )
        with self._explained(action, path):
            return retrying(call)

    @contextlib.contextmanager
    def _explained(self, action: str, path: str) -> Iterator[None]:
        import aiohttp
        import google.auth.exceptions
        from gcsfs.retry import ChecksumError, HttpError, NonRetryableError

        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise  # an answer, not a fault
        except (
            OSError,
            ValueError,
            aiohttp.ClientError,
            google.auth.exceptions.GoogleAuthError,
            ChecksumError,
            HttpError,
            NonRetryableError,
        ) as error:
            where = f"{self.address}/{path}".rstrip("/")
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreUnavailable(
                f"could not {action} {where}: {reason}", where=where, remedy=_remedy(error)
            ) from error

    def _no_bucket(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"there is no bucket {self._bucket!r}",
            where=self.address,
            remedy="create the bucket, or correct HUBTUNE_STORE",
        )


def _described(item: Mapping[str, Any]) -> _Object:
    md5 = item.get("md5Hash")
    return _Object(int(item["size"]), base64.b64decode(md5).hex() if md5 else None)


def _check_hash(headers: Any, content: bytes) -> None:
    """Compare a record with the MD5 in its reply's headers. gcsfs lets flipped and missing bytes pass."""
    from gcsfs.retry import ChecksumError

    hashes = [part.strip() for value in headers.getall("X-Goog-Hash", []) for part in value.split(",")]
    expected = [part.removeprefix("md5=") for part in hashes if part.startswith("md5=")]
    found = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if expected and expected[0] != found:
        raise ChecksumError(f"the reply's MD5 is {found}, expected {expected[0]}")


def _passes(error: BaseException) -> bool:
    """Whether a fault may be gone at the next attempt."""
    import google.auth.exceptions
    from gcsfs.retry import is_retriable

    return isinstance(
        error, TimeoutError | ConnectionError | json.JSONDecodeError | google.auth.exceptions.TransportError
    ) or bool(is_retriable(error))


def _remedy(error: Exception) -> str:
    import google.auth.exceptions

    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return "make room on the local disk and see that you may write there, or set HUBTUNE_CACHE to another"
    code = str(getattr(error, "code", ""))
    if isinstance(error, google.auth.exceptions.GoogleAuthError) or code == "401":
        return "log in (gcloud auth application-default login), or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
    if "Forbidden" in str(error) or code == "403":
        return "give this account the role Storage Object User on the bucket"
    return "check the network and https://status.cloud.google.com, then run again: what was stored is kept"


def _in_threads(work: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=_WORKERS) as threads:
        return list(threads.map(work, items))
