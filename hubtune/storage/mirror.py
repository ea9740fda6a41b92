"""The local mirror of a bucket: content-addressed, verified on every use, shared by all processes of a machine."""

import contextlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage.artifact import FileEntry
from hubtune.storage.files import TEMPORARY, difference, differences, others, remove_leftovers

# A file that arrived damaged this often is damaged at its source, or on every way to it.
_FETCHES = 3
# Downloads at once: enough to hide the latency of small files; big ones fill the line alone.
_WORKERS = 8


class Mirror:
    """Keeps files under `<cache>/<kind>/<digest>/`, one lock for each digest, so that a file is fetched once.

    Args:
        cache: the mirror's folder; may be deleted at any time at which no process reads from it.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def fetch(
        self,
        address: str,
        entries: Sequence[FileEntry],
        where: str,
        download: Callable[[FileEntry, Path], None],
        *,
        complete: bool,
    ) -> Path:
        """Make sure that files are in the mirror and as they should be; what is not is fetched (again).

        Args:
            address: kind and digest of the content.
            entries: the files that are wanted.
            where: the address that they come from, for messages.
            download: writes the file of an entry to a path.
            complete: whether the entries are all files, so that others are removed.

        Returns:
            The folder that holds them.

        Raises:
            CorruptArtifact: a file kept arriving with other content than its entry says.
            StoreUnavailable: the mirror could not be written to.
        """
        folder = self.cache / address
        lock = self.cache / "locks" / f"{address.replace('/', '-')}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                found = differences(folder, entries, where)
                missing = [entry for entry, error in zip(entries, found, strict=True) if error is not None]
                if missing:
                    self._fetch(folder, missing, where, download)
                for path in others(folder, entries) if complete else []:
                    (folder / path).unlink()
        except OSError as error:
            raise StoreUnavailable(
                f"the mirror {self.cache} could not be used: {error.strerror or error}",
                where=str(folder),
                remedy="check that its disk has space and that you may write there, or set HUBTUNE_CACHE",
            ) from error
        return folder

    def _fetch(
        self, folder: Path, entries: Sequence[FileEntry], where: str, download: Callable[[FileEntry, Path], None]
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        incoming = self.cache / "incoming"
        incoming.mkdir(parents=True, exist_ok=True)
        remove_leftovers(incoming)

        def fetch_one(entry: FileEntry) -> None:
            temporary = incoming / f"{TEMPORARY}{secrets.token_hex(16)}"
            try:
                _download_verified(entry, temporary, where, download)
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                temporary.replace(target)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()

        for entry in entries:  # not even until it is replaced may another reader find what is corrupt
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                (folder / entry.path).unlink()
        with ThreadPoolExecutor(max_workers=_WORKERS) as threads:
            list(threads.map(fetch_one, entries))


def _download_verified(entry: FileEntry, file: Path, where: str, download: Callable[[FileEntry, Path], None]) -> None:
    error: CorruptArtifact | None = None
    for _ in range(_FETCHES):
        download(entry, file)
        error = difference(file, entry, where)
        if error is None:
            return
    assert error is not None
    raise error
