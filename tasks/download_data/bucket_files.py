"""Data in a Google Cloud Storage bucket: an object, or all that a pattern means."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.utils import glob_translate

from hubtune.errors import SourceNotFound, SourceUnavailable
from hubtune.progress import Say
from hubtune.storage.cloud_storage import CloudStorage, Object
from tasks.download_data.source_file import fixed_part, has_wildcard, require_some

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class BucketFile:
    """An object; see `Place`."""

    cloud: CloudStorage
    path: str
    found: Object

    @property
    def address(self) -> str:
        """Its address."""
        return f"gs://{self.cloud.bucket}/{self.path}"

    def fingerprint(self, say: Say) -> dict[str, Any]:
        """Its checksum, which another upload of the same bytes has too."""
        del say
        return {"crc32c": self.found.crc32c, "size": self.found.size}

    def fetch(self, folder: Path, say: Say) -> Path:
        """Download it, and compare the checksum: damage on the way would pass otherwise."""
        file = folder / PurePosixPath(self.path).name
        say(f"Downloading {self.address} ({self.found.size / 1e6:,.1f} MB)")
        try:
            self.cloud.get_file(f"{self.cloud.bucket}/{self.path}", str(file))
        except FileNotFoundError:
            raise _missing(self.address, self.address) from None
        if file.stat().st_size != self.found.size or _crc32c(file) != self.found.crc32c:
            raise SourceUnavailable(
                "the object arrived damaged, or was changed while it was fetched",
                where=self.address,
                remedy="it is tried again by itself; if it goes on, check the network and proxies",
            )
        return file


def find(handle: str, where: str) -> dict[str, BucketFile]:
    """The objects that a handle names.

    Args:
        handle: gs://bucket/path, where the path may be a pattern.
        where: the handle and its field, for messages.

    Returns:
        Objects by name, in order; named as local files are.

    Raises:
        SourceNotFound: there is no such object.
        SourceUnavailable: Cloud Storage did not answer, or refused.
        InvalidData: nothing matches the pattern.
    """
    bucket, _, path = handle.removeprefix("gs://").partition("/")
    cloud = CloudStorage(bucket, where.partition(":")[0], SourceUnavailable)
    if not has_wildcard(path):
        found = cloud.list(path).get("")
        if found is None:
            raise _missing(handle, where)
        return {PurePosixPath(path).name: BucketFile(cloud, path, found)}
    fixed = fixed_part(path)
    matches = re.compile(glob_translate(path)).match
    listed = {
        name: found
        for name, found in cloud.list(fixed).items()
        # As in folders: no wildcard stands for a dot at the beginning of a name.
        if matches(fixed + name) and not any(part.startswith(".") for part in name.split("/"))
    }
    require_some(list(listed), where)
    return {name: BucketFile(cloud, fixed + name, listed[name]) for name in sorted(listed)}


def _missing(handle: str, where: str) -> SourceNotFound:
    return SourceNotFound(f"There is no object {handle}.", where=where, remedy="Correct the address.")


def _crc32c(file: Path) -> str:
    import google_crc32c

    checksum = 0
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
