"""The files of an artifact on local disk: listing, checking and copying them, with their hashes."""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from hubtune.errors import CorruptArtifact, HubtuneError
from hubtune.storage.artifact import FileEntry

T = TypeVar("T")

MANIFEST = "manifest.json"
# First letters of the names of what is not finished, or no longer wanted: hidden, so that no reader lists it.
TEMPORARY = ".put-"
SET_ASIDE = ".broken-"

_CHUNK = 1 << 20
# Below this many bytes a thread costs more than it saves (1 MB hashes in 2 ms).
_WORTH_THREADS = 8 << 20
# What killed runs leave behind is removed when it is older than any copy can take.
_LEFTOVER_SECONDS = 24 * 3600


def describe(folder: Path) -> list[FileEntry]:
    """List the files below a folder, with sizes and hashes. Empty folders are no content.

    Args:
        folder: what is to become an artifact.

    Returns:
        One entry for each file, sorted by path.

    Raises:
        HubtuneError: the folder holds no file, or something that cannot be stored: a symbolic link, a device, a name
            that a bucket does not take, or a `manifest.json` of its own.
    """
    paths = sorted(_walk(folder))
    if not paths:
        raise HubtuneError(
            f"{folder} holds no file, so there is nothing to store", remedy="write the result into it first"
        )
    for path in paths:
        reason = _why_not_storable(folder, path)
        if reason:
            raise HubtuneError(f"{path!r} cannot be stored: {reason}", where=str(folder), remedy="remove or rename it")
    found = [FileEntry(path=path, size=(folder / path).stat().st_size, sha256="", md5="") for path in paths]
    return over_files(lambda entry: _describe_file(folder, entry.path), found)


def check_paths(entries: Sequence[FileEntry], where: str) -> None:
    """Refuse a listing that points outside its folder: a manifest is input like any other.

    Args:
        entries: the files that a manifest lists.
        where: the address of the manifest, for the message.

    Raises:
        CorruptArtifact: a path is absolute, goes upwards, or is not in normal form.
    """
    for entry in entries:
        if not is_safe_path(entry.path):
            raise CorruptArtifact(
                f"the manifest lists {entry.path!r}, which is no plain path inside the artifact",
                where=where,
                remedy="do not use this artifact; delete it, and it is made again",
            )


def is_safe_path(path: str) -> bool:
    r"""Whether a path is relative, in normal form, and stays inside the folder that it is joined to.

    Args:
        path: a path with forward slashes.

    Returns:
        True for `a/b.txt`; False for `../b`, `/b`, `a//b`, `./b`, `a\\b` and the empty path.
    """
    parts = path.split("/")
    return bool(path) and "\\" not in path and "\0" not in path and not any(part in ("", ".", "..") for part in parts)


def check_files(folder: Path, entries: Sequence[FileEntry], where: str, *, hashes: bool = True) -> None:
    """Compare files with their entries.

    Args:
        folder: where the files lie.
        entries: the files to compare.
        where: the address of the artifact, for the message.
        hashes: compare sha256 too, not only the sizes.

    Raises:
        CorruptArtifact: a file is missing or differs; names file, expected and found.
    """
    for error in differences(folder, entries, where, hashes=hashes):
        if error is not None:
            raise error


def differences(
    folder: Path, entries: Sequence[FileEntry], where: str, *, hashes: bool = True
) -> list[CorruptArtifact | None]:
    """As `check_files`, but gives the error of each entry in turn, None where the file is as it should be."""
    return over_files(lambda entry: difference(folder / entry.path, entry, where, hashes=hashes), entries)


def difference(file: Path, entry: FileEntry, where: str, *, hashes: bool = True) -> CorruptArtifact | None:
    """Compare one file with an entry.

    Args:
        file: the file.
        entry: what it should be.
        where: the address of the artifact, for the message.
        hashes: compare sha256 too, not only the size.

    Returns:
        The error that names what differs; None if nothing does.
    """
    try:
        size = file.stat().st_size if file.is_file() and not file.is_symlink() else None
        if size is None:
            return corrupt(entry, "no file", f"{entry.size} bytes", where)
        if size != entry.size:
            return corrupt(entry, f"{size} bytes", f"{entry.size} bytes", where)
        if not hashes:
            return None
        with file.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return corrupt(entry, f"unreadable content ({error.strerror})", f"{entry.size} bytes", where)
    return None if sha256 == entry.sha256 else corrupt(entry, f"sha256 {sha256}", f"sha256 {entry.sha256}", where)


def others(folder: Path, entries: Sequence[FileEntry]) -> list[str]:
    """Files that a listing does not name, though a reader who takes `*.parquet` would take them.

    Args:
        folder: the artifact's folder.
        entries: the files that the manifest lists.

    Returns:
        Their paths. Hidden files, which file managers leave, do not count.
    """
    unlisted = set(_walk(folder)) - {entry.path for entry in entries} - {MANIFEST}
    return sorted(path for path in unlisted if not PurePosixPath(path).name.startswith("."))


def copy_files(source: Path, target: Path, entries: Sequence[FileEntry], where: str) -> None:
    """Copy files, hashing what is read: a copy that differs from its entry is not made.

    Args:
        source: the folder to copy from.
        target: the folder to copy to.
        entries: the files to copy.
        where: the address of the source, for the message.

    Raises:
        CorruptArtifact: a file is not (or no longer) what its entry says.
    """
    for entry in entries:
        (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
    digests = over_files(lambda entry: _copy(source / entry.path, target / entry.path), entries)
    for entry, digest in zip(entries, digests, strict=True):
        if digest != entry.sha256:
            raise corrupt(entry, f"sha256 {digest}", f"sha256 {entry.sha256}", where)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder: temporary and set-aside files and folders older than a day.

    Args:
        folder: where to look; not in its sub-folders.
    """
    old = time.time() - _LEFTOVER_SECONDS
    with contextlib.suppress(FileNotFoundError):
        for child in folder.iterdir():
            if not child.name.startswith((TEMPORARY, SET_ASIDE)):
                continue
            with contextlib.suppress(OSError):
                if child.lstat().st_mtime >= old:
                    continue
                if child.is_dir():
                    shutil.rmtree(child, ignore_errors=True)
                else:
                    child.unlink()


def over_files(work: Callable[[FileEntry], T], entries: Sequence[FileEntry]) -> list[T]:
    """Do something that reads each file, in threads where that pays (hashing and copying let go of the GIL).

    Args:
        work: what to do with one entry.
        entries: the files.

    Returns:
        The results, in the order of the entries.
    """
    if len(entries) < 2 or sum(entry.size for entry in entries) < _WORTH_THREADS:
        return [work(entry) for entry in entries]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        return list(threads.map(work, entries))


def corrupt(entry: FileEntry, found: str, expected: str, where: str) -> CorruptArtifact:
    """The error for a file that differs from its entry.

    Args:
        entry: the file.
        found: what is there.
        expected: what the manifest says.
        where: the address of the artifact.

    Returns:
        The error, to be raised.
    """
    return CorruptArtifact(
        f"file {entry.path!r} has {found}, expected {expected}",
        where=where,
        remedy="run again: what is corrupt is never used, and made or fetched again",
    )


def _walk(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*files, *links]:
            yield (Path(parent) / name).relative_to(folder).as_posix()


def _why_not_storable(folder: Path, path: str) -> str:
    file = folder / path
    if file.is_symlink():
        return "it is a symbolic link"
    if not file.is_file():
        return "it is no regular file"
    if path == MANIFEST:
        return "the store writes its manifest under this name"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    # Cloud Storage: an object's name has at most 1024 bytes and no line break; the store's own folders need some.
    if length > 800 or not path.isprintable() or not is_safe_path(path):
        return "its name is too long or holds a backslash or unprintable characters"
    return ""


def _describe_file(folder: Path, path: str) -> FileEntry:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with (folder / path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return FileEntry(path=path, size=size, sha256=sha256.hexdigest(), md5=md5.hexdigest())


def _copy(source: Path, target: Path) -> str:
    sha256 = hashlib.sha256()
    with source.open("rb") as file, target.open("wb") as copy:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            copy.write(chunk)
    return sha256.hexdigest()
