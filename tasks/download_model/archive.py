"""Source: a tar archive (tar.gz as TF Hub serves it; any compression that Python reads)."""

import contextlib
import errno
import hashlib
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from hubtune.errors import UnsafeDownload, UnsupportedModel

# The largest text encoders on TF Hub unpack to 2 to 5 GB and a dozen files. What is far above that is a mistake or a
# bomb, and would fill the disk.
MOST_BYTES = 20 * 10**9
MOST_FILES = 10_000

_CHUNK = 1 << 20
# What the operating system says to names that contradict each other (a file that is a folder too) or are too long.
_OF_BAD_NAMES = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
# First bytes of files that people take for a SavedModel.
_OTHER_FORMATS = {
    b"\x89HDF\r\n": "a Keras model in HDF5 format (.h5)",
    b"PK\x03\x04": "a zip file, perhaps a .keras model",
}

_REMEDY = "take the model from a source that you trust, or pack it again with `tar -czf model.tar.gz -C FOLDER .`"


def unpack(file: Path, folder: Path, handle: str) -> None:
    """Unpack an archive, of plain files and folders alone.

    Args:
        file: the archive.
        folder: where to; it is made.
        handle: what the user called it, for messages.

    Raises:
        UnsafeDownload: it is damaged, no tar archive, too large, or holds a link, a device, or a path that leads out
            of the folder.
        UnsupportedModel: it is a model in another format.
    """
    _refuse_other_formats(file, handle)
    folder.mkdir(parents=True)
    with _reading(file, handle), tarfile.open(file) as opened:
        left, files = MOST_BYTES, 0
        for member in opened:
            _check(member, handle)
            left, files = left - member.size, files + 1
            if left < 0 or files > MOST_FILES:
                limit = f"{MOST_BYTES / 1e9:g} GB" if left < 0 else f"{MOST_FILES} files"
                raise UnsafeDownload(f"the archive unpacks to more than {limit}", where=handle, remedy=_REMEDY)
            opened.extract(member, folder, filter="data")
        # The checksum of a compressed file stands at its end, behind what tarfile reads by itself.
        assert opened.fileobj is not None
        while rest := opened.fileobj.read(_CHUNK):
            left -= len(rest)
            if left < 0:
                raise UnsafeDownload("the archive goes on and on behind its end", where=handle, remedy=_REMEDY)


def check(file: Path, handle: str) -> None:
    """Look at the beginning of a file, whether it can be an archive at all.

    Args:
        file: the archive.
        handle: what the user called it, for messages.

    Raises:
        UnsafeDownload: it is no tar archive.
        UnsupportedModel: it is a model in another format.
    """
    _refuse_other_formats(file, handle)
    with _reading(file, handle), tarfile.open(file):
        pass


def fingerprint(file: Path) -> dict[str, Any]:
    """What identifies an archive: the hash of its bytes.

    Args:
        file: the archive.

    Returns:
        The hash.
    """
    with file.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def _refuse_other_formats(file: Path, handle: str) -> None:
    with file.open("rb") as stream:
        first = stream.read(8)
    for mark, kind in _OTHER_FORMATS.items():
        if first.startswith(mark):
            raise UnsupportedModel(
                f"this is {kind}", where=handle, remedy="export it as a SavedModel, with model.export(FOLDER) in Keras"
            )


@contextlib.contextmanager
def _reading(file: Path, handle: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError, zlib.error, lzma.LZMAError) as error:
        # Damaged gzip and bzip2 streams are OSErrors without a number. Those with another number (a full disk, no
        # permission) are not the archive's fault.
        if isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_BAD_NAMES:
            raise
        raise UnsafeDownload(
            f"the archive of {file.stat().st_size} bytes is damaged, or no tar archive ({error})",
            where=handle,
            remedy=_REMEDY,
        ) from error


def _check(member: tarfile.TarInfo, handle: str) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        problem = f"{member.name!r} leads out of the folder that the archive is unpacked into"
    elif member.issym() or member.islnk():
        problem = f"{member.name!r} is a link, to {member.linkname!r}"
    elif not (member.isreg() or member.isdir()):
        problem = f"{member.name!r} is neither a file nor a folder"
    else:
        return
    raise UnsafeDownload(f"the archive is not safe to unpack: {problem}", where=handle, remedy=_REMEDY)
