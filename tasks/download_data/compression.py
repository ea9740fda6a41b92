"""Files that are compressed as a whole: recognised by their last suffix, unpacked while they are read."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from hubtune.errors import InvalidData

SUFFIXES = (".gz", ".zst")


def plain_name(name: str) -> str:
    """The name that a file has once it is unpacked.

    Args:
        name: of a file.

    Returns:
        The name without the suffix of its compression, if it has one.
    """
    lowered = name.lower()
    suffix = next((suffix for suffix in SUFFIXES if lowered.endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


@contextmanager
def open_binary(path: Path) -> Iterator[BinaryIO]:
    """Open a file, compressed or not.

    Args:
        path: the file.

    Yields:
        The open file; what is read of it is unpacked.

    Raises:
        InvalidData: what is compressed is damaged, or not compressed the way that its name says. It may take until
            the end of the file to find that out, so this holds for all that is done with the file.
    """
    import zlib

    from backports import zstd

    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            if suffix == ".gz":
                with gzip.open(file) as unpacked:
                    yield cast(BinaryIO, unpacked)
            elif suffix == ".zst":
                with zstd.open(file) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield file
    except (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise InvalidData(
            f"The file cannot be unpacked: {str(error).rstrip('.')}.",
            where=str(path),
            remedy="Write the file again; it may have been cut off, or be of another kind than its name says.",
        ) from error
