"""Data in a Google Cloud Storage bucket: an object, or all that a pattern means."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hubtune.errors import SourceNotFound, SourceUnavailable
from hubtune.progress import Say
from hubtune.storage.cloud_storage import CloudStorage, Object, passes
from schemas.data_recipe import DataRecipe
from tasks.download_data.source_file import (
    check_pattern,
    fixed_part,
    has_wildcard,
    kind_of,
    local_name,
    require_some,
)

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
        file = folder / local_name(self.path)
        say(f"Downloading {self.address} ({self.found.size / 1e6:,.1f} MB)")
        try:
            with _refusals_are_final(self.address):
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


def check(handle: str, recipe: DataRecipe, where: str) -> None:
    """Find the mistakes in a handle that show without asking Cloud Storage.

    Args:
        handle: as for `find`.
        recipe: says how files are read whose names do not.
        where: the handle and its field, for messages.

    Raises:
        InvalidData: a pattern means nothing, or an object's name does not say how it is read.
    """
    _, _, path = handle.removeprefix("gs://").partition("/")
    check_pattern(path, where)
    if not has_wildcard(path):
        kind_of(PurePosixPath(path).name, recipe, where)


def find(handle: str, where: str) -> dict[str, BucketFile]:
    """The objects that a handle names.

    Args:
        handle: gs://bucket/path, where the path may be a pattern.
        where: the handle and its field, for messages.

    Returns:
        Objects by name, in order; named as local files are.

    Raises:
        SourceNotFound: there is no such object or bucket, or it may not be read.
        SourceUnavailable: Cloud Storage did not answer.
        InvalidData: nothing matches the pattern.
    """
    from fsspec.utils import glob_translate

    bucket, _, path = handle.removeprefix("gs://").partition("/")
    cloud = CloudStorage(bucket, where.partition(":")[0], SourceUnavailable)
    if not has_wildcard(path):
        with _refusals_are_final(where):
            found = cloud.list(path).get("")
        if found is None:
            raise _missing(handle, where)
        return {PurePosixPath(path).name: BucketFile(cloud, path, found)}
    check_pattern(path, where)
    fixed = fixed_part(path)
    matches = re.compile(glob_translate(path)).match
    with _refusals_are_final(where):
        everything = cloud.list(fixed)
    # As in folders: neither is a folder meant, nor does a wildcard stand for a dot at the beginning of a name.
    listed = {
        name: found
        for name, found in everything.items()
        if matches(fixed + name) and all(part and not part.startswith(".") for part in name.split("/"))
    }
    require_some(list(listed), where)
    return {name: BucketFile(cloud, fixed + name, listed[name]) for name in sorted(listed)}


@contextmanager
def _refusals_are_final(where: str) -> Iterator[None]:
    """Tell what another try cannot mend (no bucket, no permission) from what it can."""
    try:
        yield
    except SourceUnavailable as error:
        if error.__cause__ is None or passes(error.__cause__):
            raise
        raise SourceNotFound(
            error.what,
            where=where,
            remedy="correct the address, and see that this account may read there (role Storage Object Viewer)",
        ) from error


def _missing(handle: str, where: str) -> SourceNotFound:
    return SourceNotFound(f"There is no object {handle}.", where=where, remedy="Correct the address.")


def _crc32c(file: Path) -> str:
    import google_crc32c

    checksum = 0
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
