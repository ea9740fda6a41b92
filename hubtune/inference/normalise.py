"""Text normalisation: what every text goes through before it is tokenised, in training and when answering.

Tokenizers disagree on compatibility characters ("½", "ﬁ", "…", full-width letters), on invisible ones and on white
space. After normalisation none of those is left, so all tokenizers read the same text. Which characters count as
white space or invisible is written down here as ranges instead of asked from a library: each library follows another
version of Unicode, and `tasks/text_graph.py` must do the same inside a TensorFlow graph.
"""

import re
import unicodedata
from collections.abc import Collection

from hubtune.inference.replacements import (
    ENTITY_PASSES,
    WORD_PASSES,
    Replacement,
    with_words,
    without_entities,
)

WHITE_SPACE = (
    # The White_Space property of Unicode (PropList.txt), which has not changed since Unicode 6.3.
    *((0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
)
"""Code points that separate words, as (first, last)."""

INVISIBLE = (
    # Control characters (Cc) that are not white space.
    *((0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F)),
    # Format characters (Cf) of Unicode 15.1, and whatever else is never drawn (Default_Ignorable_Code_Point):
    # soft hyphen, zero-width space and joiners, direction marks, byte order mark, variation selectors, fillers, tags.
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891)),
    *((0x8E2, 0x8E2), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E)),
    *((0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB)),
    *((0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)),
    (0xE0000, 0xE0FFF),
    # What a decoder puts in place of bytes that are no text.
    (0xFFFD, 0xFFFD),
    # Private use and noncharacters: no meaning that a pretrained vocabulary could know.
    *((0xE000, 0xF8FF), (0xFDD0, 0xFDEF), (0xF0000, 0x10FFFF)),
    *((plane | 0xFFFE, plane | 0xFFFF) for plane in range(0, 0xF0000, 0x10000)),
)
"""Code points that are removed, as (first, last)."""

# Halves of surrogate pairs cannot be encoded as UTF-8, so that only Python strings can hold them.
_SURROGATES = (0xD800, 0xDFFF)


def normalise(text: str, replace: Collection[Replacement] = ()) -> str:
    """Bring a text into the one form that is trained on and answered from.

    Control, format, private-use and other invisible characters are removed, the rest is brought into Unicode's NFKC
    form (UAX 15), every run of white space becomes one space, and none is left at the ends. After that the recipe's
    replacements are made: first entities, of which addresses and names may be made. Normalising twice is the same as
    once.

    Args:
        text: any string.
        replace: what is replaced: see `hubtune.inference.replacements`.

    Returns:
        The normalised text; empty when nothing visible is in it.
    """
    text = _normalised(text)
    if "html_entities" in replace and "&" in text:
        text = _read_entities(text)
    urls, users = "urls" in replace, "users" in replace
    if urls or users:
        for _ in range(WORD_PASSES):
            before, text = text, _normalised(with_words(text, urls, users))
            if text == before:
                break
    return text


def _read_entities(text: str) -> str:
    for _ in range(ENTITY_PASSES):
        before, text = text, _normalised(without_entities(text))
        if text == before:
            return text
    still = _normalised(without_entities(text)) != text
    return _normalised(text.replace("&", "")) if still else text


def _normalised(text: str) -> str:
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip(" ")
    if _IRREGULAR.search(text) is None and unicodedata.is_normalized("NFKC", text):
        return text.strip(" ")  # as most texts; what follows takes four times as long
    text = _INVISIBLE_RUN.sub("", _WHITE_SPACE_RUN.sub(" ", text))
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip(" ")


def _character_class(*ranges: tuple[int, int]) -> str:
    return "[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]"


_REMOVED = (*INVISIBLE, _SURROGATES)
_WHITE_SPACE_RUN = re.compile(_character_class(*WHITE_SPACE) + "+")
_INVISIBLE_RUN = re.compile(_character_class(*_REMOVED) + "+")
_SPACES = re.compile("  +")
_OTHER_WHITE_SPACE = (each for each in WHITE_SPACE if each != (0x20, 0x20))
_IRREGULAR = re.compile(_character_class(*_OTHER_WHITE_SPACE, *_REMOVED) + "|  ")
