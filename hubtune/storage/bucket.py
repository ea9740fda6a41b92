"""The store's backend on Google Cloud Storage.

What goes up is compared with the size and MD5 that Cloud Storage reports of it, and sent again where they differ; what
comes down is compared with the manifest's sha256 by the mirror.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage.artifact import FileEntry, unseal
from hubtune.storage.cloud_storage import CloudStorage, Object, Patience
from hubtune.storage.files import MANIFEST, corrupt
from hubtune.storage.mirror import Mirror

T = TypeVar("T")

# TensorFlow Serving takes a version as soon as it finds this file, so everything else has to be there before.
_LAST = "saved_model.pb"
# Requests at once. Each is a thread that waits for the network.
_WORKERS = 8


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
        bucket, _, self._prefix = address.removeprefix("gs://").partition("/")
        self._cloud = CloudStorage(bucket, "HUBTUNE_STORE", StoreUnavailable, patience)
        self._mirror = Mirror(cache)

    def check(self) -> None:
        """See that the bucket is there and answers."""
        self._list("models", deep=False)

    def read(self, path: str) -> bytes | None:
        """The content of a record, or None if there is none."""
        try:
            return self._cloud.read(self._key(path))
        except FileNotFoundError:
            return None

    def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """The contents of several records."""
        return _in_threads(self.read, paths)

    def write(self, path: str, content: bytes) -> None:
        """Write a record, replacing the one that is there."""
        self._send(path, lambda: self._cloud.filesystem.pipe_file(self._key(path), content, consistency="md5"))

    def create(self, path: str, content: bytes) -> bool:
        """Write a record if there is none; whether it now holds this content, so that one of several gets True.

        The write may have landed although its reply was lost: the next attempt is refused then, and only reading back
        tells. So content that must be told apart from others' needs a nonce in it.
        """
        try:
            self._send(
                path,
                lambda: self._cloud.filesystem.pipe_file(self._key(path), content, consistency="md5", mode="create"),
            )
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
        return all(entry.path in listed and _may_hold(listed[entry.path], entry) for entry in entries)

    def commit(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: Path) -> None:
        """Upload a folder of files, its manifest last. What is there and right, as after a killed upload, stays."""

        def upload(entry: FileEntry) -> None:
            target = f"{path}/{entry.path}"
            local = str(source / entry.path)
            kind = "application/octet-stream"
            self._send(target, lambda: self._cloud.filesystem.put_file(local, self._key(target), content_type=kind))

        self._settle(path, entries, manifest, upload)

    def copy(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: str) -> None:
        """As `commit`, from another folder of the store, inside Cloud Storage."""

        def copy_one(entry: FileEntry) -> None:
            origin, target = f"{source}/{entry.path}", f"{path}/{entry.path}"
            try:
                self._cloud.persist(
                    "copy",
                    self._key(origin),
                    lambda: self._cloud.filesystem.cp_file(self._key(origin), self._key(target)),
                )
            except FileNotFoundError:
                raise corrupt(entry, "no object", f"{entry.size} bytes", f"{self.address}/{source}") from None

        self._settle(path, entries, manifest, copy_one)

    def fetch(self, path: str, entries: Sequence[FileEntry], address: str, *, complete: bool) -> Path:
        """A local folder, in the mirror, in which the files have been verified."""

        def download(entry: FileEntry, file: Path) -> None:
            origin = f"{path}/{entry.path}"
            try:
                self._cloud.get_file(self._key(origin), str(file))
            except FileNotFoundError:
                raise corrupt(entry, "no object", f"{entry.size} bytes", where) from None

        where = f"{self.address}/{path}"
        try:
            return self._mirror.fetch(address, entries, where, download, complete=complete)
        except CorruptArtifact:
            self._disown(path, entries)
            raise

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._cloud.bucket, self._prefix, path) if part)

    def _list(self, path: str, *, deep: bool = True) -> dict[str, Object]:
        """Objects below a folder by relative path; not `deep`: in it, with sub-folders as names that end in a slash."""
        prefix = self._key(path).removeprefix(f"{self._cloud.bucket}/") + "/"
        return self._cloud.list(prefix, deep=deep)

    def _settle(
        self, path: str, entries: Sequence[FileEntry], manifest: bytes, send: Callable[[FileEntry], None]
    ) -> None:
        """Send until Cloud Storage reports of every object what its entry says; then write the manifest."""
        sent: set[str] = set()
        attempts = self._cloud.patience.attempts
        for _ in range(attempts):
            listed = self._list(path)
            wrong = []
            for entry in entries:
                there = listed.get(entry.path)
                if there is None or not (_holds(there, entry) or (entry.path in sent and _may_hold(there, entry))):
                    wrong.append(entry)
            if not wrong:
                break
            _in_threads(send, [entry for entry in wrong if entry.path != _LAST])
            _in_threads(send, [entry for entry in wrong if entry.path == _LAST])
            sent.update(entry.path for entry in wrong)
        else:
            raise StoreUnavailable(
                f"{wrong[0].path!r} arrived damaged {attempts} times (its MD5 is not {wrong[0].md5})",
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
            self._cloud.persist("delete", self._key(path), lambda: self._cloud.filesystem.rm_file(self._key(path)))

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
                self._cloud.page({"maxResults": "1"})
                raise ConnectionError(f"the upload broke off: {error}") from error

        try:
            self._cloud.persist("write", self._key(path), attempt)
        except FileNotFoundError as error:
            raise self._cloud.no_bucket() from error


def _in_threads(work: Callable[[Any], T], items: Sequence[Any]) -> list[T]:
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=_WORKERS) as threads:
        return list(threads.map(work, items))


def _holds(found: Object, entry: FileEntry) -> bool:
    return found.size == entry.size and found.md5 == entry.md5


def _may_hold(found: Object, entry: FileEntry) -> bool:
    return found.size == entry.size and found.md5 in (None, entry.md5)
