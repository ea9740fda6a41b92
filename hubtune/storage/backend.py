"""What the store needs of the place that it lies in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hubtune.storage.artifact import FileEntry


class Backend(Protocol):
    """What the store needs of the place that it lies in. Paths are relative to its root, with forward slashes.

    `folder.Folder` says what each method does; `bucket.Bucket` does the same on Cloud Storage.
    """

    address: str
    scratch: Path

    def check(self) -> None: ...  # noqa: D102
    def read(self, path: str) -> bytes | None: ...  # noqa: D102
    def read_all(self, paths: Sequence[str]) -> list[bytes | None]: ...  # noqa: D102
    def write(self, path: str, content: bytes) -> None: ...  # noqa: D102
    def create(self, path: str, content: bytes) -> bool: ...  # noqa: D102
    def children(self, path: str) -> list[str]: ...  # noqa: D102
    def committed(self, path: str) -> list[str]: ...  # noqa: D102
    def whole(self, path: str, entries: Sequence[FileEntry], *, hashes: bool = True) -> bool: ...  # noqa: D102
    def commit(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: Path) -> None: ...  # noqa: D102
    def copy(self, path: str, entries: Sequence[FileEntry], manifest: bytes, source: str) -> None: ...  # noqa: D102
    def fetch(self, path: str, entries: Sequence[FileEntry], address: str, *, complete: bool) -> Path: ...  # noqa: D102
    def remove(self, path: str) -> None: ...  # noqa: D102
