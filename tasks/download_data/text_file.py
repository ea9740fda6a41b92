"""Opens a text file in the encoding that it is said to be in, and says what it is when it is none."""

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hubtune.errors import InvalidData
from tasks.download_data.compression import open_binary

_HEAD_BYTES = 65_536
# Text has tabs and line ends and hardly any other control byte; of random bytes, 11 % are some, of UTF-16 half. A few
# in a small file are dirt of single rows.
_CONTROL_SHARE = 0.05
_CONTROLS_OF_DIRTY_ROWS = 16
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1b")) + b"\x7f"

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BINARY_MARKS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
# Among all that Python knows, Russian in cp1251 is taken for mac_cyrillic, and a short text for johab.
_OFTEN = (
    *("cp1252", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("gb18030", "big5", "shift_jis", "euc_jp", "euc_kr"),
)


@contextmanager
def open_text(path: Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Open a text file, compressed or not, with or without byte order mark.

    Bytes that are none in its encoding are read as U+FFFD, so that one bad row does not cost the file; line ends stay
    as they are.

    Args:
        path: the file.
        encoding: by the name that Python knows it by.

    Yields:
        The open file.

    Raises:
        InvalidData: the file is empty, binary, damaged, or marked as being in another encoding.
    """
    with open_binary(path) as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip():
        raise InvalidData("The data file is empty.", where=str(path), remedy="Name a file with rows.")
    for mark, kind in _BINARY_MARKS:
        if head.startswith(mark):
            raise InvalidData(
                f"The file is {kind}, not the text that its name promises.",
                where=str(path),
                remedy=f"Unpack or export it, or correct the suffix {path.suffix}.",
            )
    if encoding == "utf-8":
        _refuse_other_than_utf_8(head, path)
        encoding = "utf-8-sig"
    with open_binary(path) as file, io.TextIOWrapper(file, encoding, errors="replace", newline="") as text:
        yield text


def _refuse_other_than_utf_8(head: bytes, path: Path) -> None:
    for mark, encoding in _OTHER_MARKS:
        if head.startswith(mark):
            raise InvalidData(
                f"The file is in {encoding.upper()}, not in UTF-8.",
                where=str(path),
                remedy=f"Set data.encoding to {encoding}.",
            )
    controls = len(head) - len(head.translate(None, delete=_CONTROL_BYTES))
    if controls > max(len(head) * _CONTROL_SHARE, _CONTROLS_OF_DIRTY_ROWS):
        raise InvalidData(
            f"The file is binary, or text in UTF-16: {controls / len(head):.0%} of its first bytes are control codes.",
            where=str(path),
            remedy="Export it as text; or set data.encoding (utf-16-le, utf-16-be) if it is text.",
        )


def likely_encoding(path: Path) -> str | None:
    """Guess in which encoding a text file is that is not in UTF-8.

    Args:
        path: the file.

    Returns:
        Of those that exports are often in, the most likely one by what the first bytes mean in it; None where they make
        no sense in any.
    """
    from charset_normalizer import from_bytes

    with open_binary(path) as file:
        best = from_bytes(file.read(_HEAD_BYTES), cp_isolation=list(_OFTEN)).best()
    return best.encoding if best else None
