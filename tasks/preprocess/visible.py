"""Raw text in one line in which everything can be seen."""

import re
import unicodedata

from hubtune.inference.pairs import BETWEEN, split_pair

SHOWN_CHARACTERS = 80

_LINE_BREAK = re.compile("\r\n?|\n")
_HIDDEN_SPACES = re.compile("^ +| +$|  +")


def visible(text: str | None, most: int = SHOWN_CHARACTERS) -> str:
    r"""A text in one line in which everything can be seen, cut to a length.

    Line breaks become "⏎"; spaces at the ends or beside another "␣"; control, format and unusual space characters are
    written as escapes ("\u200b").

    Args:
        text: any text, or None.
        most: characters after which the text is cut; how long it is, is then said. Of a pair, each text has half.

    Returns:
        The line; "(none)" for None and "(empty)" for an empty text.
    """
    if text is None:
        return "(none)"
    if not text:
        return "(empty)"
    pair = split_pair(text) if len(text) > most else None
    return BETWEEN.join(_line(part, most // 2) for part in pair) if pair else _line(text, most)


def _line(text: str, most: int) -> str:
    marked = _HIDDEN_SPACES.sub(lambda spaces: "␣" * len(spaces[0]), text[: most + 1])
    shown = "".join(_visible_character(character) for character in _LINE_BREAK.sub("⏎", marked[:most]))
    return shown if len(text) <= most else f"{shown}… ({len(text):,} characters)"


def _visible_character(character: str) -> str:
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
