"""Opens a text file as UTF-8, and says what it is when it is none."""

import codecs
from pathlib import Path
from typing import TextIO

from hubtune.errors import InvalidData

_HEAD_BYTES = 65_536
# Text has tabs and line ends and hardly any other control byte; of random bytes, 11 % are some, of UTF-16 half. A few
# in a small file are dirt of single rows.
_CONTROL_SHARE = 0.05
_CONTROLS_OF_DIRTY_ROWS = 16
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1b")) + b"\x7f"

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_OTHER_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_BINARY_MARKS = (
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"SQLite format 3\x00", "an SQLite database"),
)


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 text file, with or without byte order mark.

    Bytes that are no UTF-8 are read as U+FFFD, so that one bad row does not cost the file; line ends stay as they are.

    Args:
        path: the file.

    Returns:
        The open file.

    Raises:
        InvalidData: the file is empty, binary, or marked as being in another encoding.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.strip():
        raise InvalidData("The data file is empty.", where=str(path), remedy="Name a file with a header and rows.")
    for mark, encoding in _OTHER_MARKS:
        if head.startswith(mark):
            raise InvalidData(
                f"The file is in {encoding}, not in UTF-8.",
                where=str(path),
                remedy=f"Convert it: iconv -f {encoding} -t UTF-8 {path.name} > utf8{path.suffix}",
            )
    for mark, kind in _BINARY_MARKS:
        if head.startswith(mark):
            raise InvalidData(
                f"The file is {kind}, not the text that its name promises.",
                where=str(path),
                remedy=f"Unpack or export it, or correct the suffix {path.suffix}.",
            )
    controls = len(head) - len(head.translate(None, delete=_CONTROL_BYTES))
    if controls > max(len(head) * _CONTROL_SHARE, _CONTROLS_OF_DIRTY_ROWS):
        raise InvalidData(
            f"The file is binary, or text in UTF-16: {controls / len(head):.0%} of its first bytes are control codes.",
            where=str(path),
            remedy="Export it as UTF-8 text.",
        )
    return path.open(encoding="utf-8-sig", errors="replace", newline="")
