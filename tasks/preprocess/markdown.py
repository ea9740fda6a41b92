"""Tables in GitHub's Markdown, and texts of unknown origin made safe to show in one."""

import re
import unicodedata
from collections.abc import Sequence

SHOWN_CHARACTERS = 80

# Whatever would be formatting, a link or HTML. "://" and "www." would become links on their own.
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {character: f"\\{character}" for character in "\\`*_[]~|#"}
)

_LINE_BREAK = re.compile("\r\n?|\n")
_HIDDEN_SPACES = re.compile("^ +| +$|  +")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table.

    Args:
        header: the column titles.
        rows: cells that are Markdown already.
        right: indices of the columns that are aligned to the right.

    Returns:
        Lines that end with a line break.
    """
    rule = ["---:" if index in right else "---" for index in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))


def visible(text: str | None, most: int = SHOWN_CHARACTERS) -> str:
    r"""A text in one line in which everything can be seen, cut to a length.

    Line breaks become "⏎"; spaces at the ends or beside another "␣"; control, format and unusual space characters are
    written as escapes ("\u200b").

    Args:
        text: any text, or None.
        most: characters after which the text is cut; how long it is, is then said.

    Returns:
        The line; "(none)" for None and "(empty)" for an empty text.
    """
    if text is None:
        return "(none)"
    if not text:
        return "(empty)"
    marked = _HIDDEN_SPACES.sub(lambda spaces: "␣" * len(spaces[0]), text[: most + 1])
    shown = "".join(_visible_character(character) for character in _LINE_BREAK.sub("⏎", marked[:most]))
    return shown if len(text) <= most else f"{shown}… ({len(text):,} characters)"


def escaped(text: str) -> str:
    """A line of text as Markdown that shows it as it is."""
    return text.translate(_ESCAPES).replace("://", "&#58;//").replace("www.", "www&#46;")


def _visible_character(character: str) -> str:
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
