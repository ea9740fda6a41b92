"""The store's backend on local disk (or any disk that is mounted: NFS, a persistent volume)."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage.artifact import FileEntry, unseal
from hubtune.storage.files import (
    MANIFEST,
    SET_ASIDE,
    TEMPORARY,
    check_files,
    copy_files,
    differences,
    others,
    remove_leftovers,
)


class Folder:
    """Keeps artifacts and records below one folder. Paths are relative to it, with forward slashes.

    Whole folders become visible by one rename, records by one rename or link, so a reader, or a process killed at any
    moment, never leaves or sees half of one.

    Args:
        root: the store's folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = str(root)
        self.scratch = root / "scratch"

    def check(self) -> None:
        """See that the folder is there, though nothing may have been written to it yet."""
        try:
            next(self.root.iterdir(), None)
        except OSError as error:
            raise _unavailable(error, "list", self.root) from error

    def read(self, path: str) -> bytes | None:
        """The content of a record, or None if there is none."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unavailable(error, "read", self.root / path) from error

    def read_all(self, paths: Sequence[str]) -> list[bytes | None]:
        """The contents of several records."""
        return [self.read(path) for path in paths]

    def write(self, path: str, content: bytes) -> None:
        """Write a record, replacing the one that is there."""
        target = self.root / path
        with self._written(target, content) as written:
            written.replace(target)

    def create(self, path: str, content: bytes) -> bool:
        """Write a record if there is none; False if there is one. Of several processes one gets True."""
        target = self.root / path
        with self._written(target, content) as written:
            try:
                os.link(written, target)
            except FileExistsError:
                return False
        return True

    def children(self, path: str) -> list[str]:
        """Names of the files and folders in a folder, sorted; none if it does not exist."""
        try:
            return sorted(child.name for child in (self.root / path).iterdir() if not child.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unavailable(error, "list", self.root / path) from error

    def committed(self, path: str) -> list[str]:
        """Names of the folders in a folder that have a manifest."""
        return [name for name in self.children(path) if (self.root / path / name / MANIFEST).is_file()]

    def whole(self, path: str, entries: Sequence[FileEntry], *, hashes: bool = True) -> bool:
        """Whether the files are there as their entries say, and no others."""
        folder = self.root / path
        return not others(folder, entries) and not any(differences(folder, entries, self.address, hashes=hashes))

    def commit(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: Path) -> None:
        """Make a folder of files appear at once, with its manifest, unless it is there and whole.

        Args:
            path: the new folder.
            entries: its files.
            manifest: sealed content of its manifest.
            source: local folder that holds the files.
        """
        target = self.root / path
        if self._stands(path, entries):
            return
        temporary = target.parent / f"{TEMPORARY}{target.name}-{secrets.token_hex(8)}"
        try:
            remove_leftovers(target.parent)
            temporary.mkdir(parents=True)
            copy_files(source, temporary, entries, str(source))
            (temporary / MANIFEST).write_bytes(manifest)
            while not _renamed(temporary, target):
                if self._dropped_for_a_whole_one(path, entries):
                    return
        except OSError as error:
            raise _unavailable(error, "write", target) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def copy(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: str) -> None:
        """As `commit`, from another folder of the store."""
        self.commit(path, entries, manifest, self.root / source)

    def fetch(self, path: str, entries: Sequence[FileEntry], address: str, *, complete: bool) -> Path:
        """A local folder in which the files have been verified: here, the stored folder itself.

        Args:
            path: the stored folder.
            entries: the files that are wanted.
            address: kind and digest of the content (needed by backends that keep a mirror).
            complete: whether the entries are all files, so that others are refused.

        Returns:
            The folder.

        Raises:
            CorruptArtifact: a file differs from its entry.
        """
        folder, where = self.root / path, f"{self.address}/{path}"
        check_files(folder, entries, where)
        unlisted = others(folder, entries) if complete else []
        if unlisted:
            raise CorruptArtifact(
                f"file {unlisted[0]!r} is not in the manifest", where=where, remedy="delete it, or run again"
            )
        return folder

    def remove(self, path: str) -> None:
        """Remove a folder; it is gone for every reader at once."""
        target = self.root / path
        aside = target.parent / f"{SET_ASIDE}{target.name}-{secrets.token_hex(8)}"
        try:
            target.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unavailable(error, "remove", target) from error
        shutil.rmtree(aside, ignore_errors=True)

    def _stands(self, path: str, entries: Sequence[FileEntry]) -> bool:
        return unseal(self.read(f"{path}/{MANIFEST}")) is not None and self.whole(path, entries)

    def _dropped_for_a_whole_one(self, path: str, entries: Sequence[FileEntry]) -> bool:
        """Look at what stands in the way: True if it is whole (another process was first), else it is moved aside."""
        from filelock import FileLock

        target = self.root / path
        with FileLock(target.parent / f".lock-{target.name}"):
            if self._stands(path, entries):
                return True
            aside = target.parent / f"{SET_ASIDE}{target.name}-{secrets.token_hex(8)}"
            with contextlib.suppress(FileNotFoundError):
                target.rename(aside)
                os.utime(aside)
        return False

    @contextlib.contextmanager
    def _written(self, target: Path, content: bytes) -> Iterator[Path]:
        temporary = target.parent / f"{TEMPORARY}{target.name}-{secrets.token_hex(8)}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(target.parent)
            temporary.write_bytes(content)
            yield temporary
        except OSError as error:
            raise _unavailable(error, "write", target) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def _renamed(temporary: Path, target: Path) -> bool:
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _unavailable(error: OSError, action: str, path: Path) -> StoreUnavailable:
    return StoreUnavailable(
        f"the store could not {action} {path}: {error.strerror or error}",
        where=str(path),
        remedy="check that the disk is mounted, has space, and that you may write there; then run again",
    )
