"""Data in files on this machine: one, or all that a pattern means."""

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtune.errors import InvalidData, SourceNotFound
from hubtune.progress import Say
from tasks.download_data.source_file import (
    check_pattern,
    fixed_part,
    has_wildcard,
    known_kinds,
    require_some,
)


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine; see `Place`."""

    path: Path

    @property
    def address(self) -> str:
        """Its path."""
        return str(self.path)

    def fingerprint(self, say: Say) -> dict[str, Any]:
        """The sha256 of its content: neither folder nor time of change."""
        del say
        with self.path.open("rb") as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest()}

    def fetch(self, folder: Path, say: Say) -> Path:
        """The file itself."""
        del folder, say
        return self.path


def find(handle: str, where: str) -> dict[str, LocalFile]:
    """The files that a handle names.

    Args:
        handle: a path, or a pattern; it may begin with file:// or with a tilde.
        where: the handle and its field, for messages.

    Returns:
        Files by name, in order. A file that is named by its path goes by its last part; one that matches a pattern by
        what follows the part of the pattern that is fixed.

    Raises:
        SourceNotFound: there is no such file.
        InvalidData: it is a folder, or may not be read; or nothing matches the pattern.
    """
    path = Path(handle.removeprefix("file://"))
    try:
        path = path.expanduser()
        found = path.exists()
    except (OSError, RuntimeError):  # a path longer than any can be; `~somebody` who is no user here
        found = False
    if found:
        return {path.name: _checked(path, where)}
    if has_wildcard(str(path)):
        check_pattern(str(path), where)
        # Names that begin with a dot are left out: other programs' unfinished files. Links may lead to a file twice.
        once: dict[Path, str] = {}
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
            if Path(match).is_file():
                once.setdefault(Path(match).resolve(), match)
        matches = list(once.values())
        require_some(matches, where)
        fixed = fixed_part(str(path))
        return {match.removeprefix(fixed): _checked(Path(match), where) for match in matches}
    raise SourceNotFound(
        f"The data file {path} does not exist.",
        where=where,
        remedy=f"Correct the path (relative paths start at {Path.cwd()}), or name `sample`.",
    )


def _checked(path: Path, where: str) -> LocalFile:
    if path.is_dir():
        raise InvalidData(
            "The data source is a folder.", where=where, remedy=f"Name {known_kinds()} in it, or all: {path}/*"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidData(
            f"The data file cannot be opened: {error.strerror or error}.",
            where=where,
            remedy="Make it readable, or name a copy.",
        ) from error
    return LocalFile(path)
