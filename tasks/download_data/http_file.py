"""Data in a file at an http(s) address."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hubtune.progress import Say
from tasks import http
from tasks.download_data.source_file import local_name

_DATA = http.Wanted(
    called="a data file",
    most_bytes=100_000_000_000,
    otherwise="a file that needs a login must be downloaded by hand, and the local copy be named",
    page_remedy="give the address of the file itself, not of a page about it",
)


@dataclass(frozen=True)
class HttpFile:
    """A file on a server; see `Place`."""

    url: str

    @property
    def address(self) -> str:
        """Its address, without a query, which may hold a token."""
        return http.shown(self.url)

    @property
    def name(self) -> str:
        """The last part of its path; "data" where that is none."""
        last = unquote(urlsplit(self.url).path).rpartition("/")[2]
        return last if last.isprintable() and last not in ("", ".", "..") else "data"

    def fingerprint(self, say: Say) -> dict[str, Any] | None:
        """What the server says of it: ETag, date of change, size; None if it says neither of the first two."""
        return http.fingerprint(self.url, _DATA, say)

    def fetch(self, folder: Path, say: Say) -> Path:
        """Download it."""
        file = folder / local_name(self.name)
        http.download(self.url, file, _DATA, say)
        return file
