"""What a recipe may have replaced in texts before anything reads them: HTML entities, web addresses, user names.

The expressions are written so that Python's `re` and RE2, which TensorFlow uses, read them alike: `tasks/text_graph.py`
does the same inside a graph. `hubtune.inference.classifier.NORMALISATION` is raised when one of them changes.
"""

import html.entities
import re
from typing import Literal

Replacement = Literal["html_entities", "urls", "users"]

ESCAPED = r"&(?:(?:amp|AMP|#0{0,5}38|#[xX]0{0,4}26);)+"
"""An ampersand that was escaped, however often: one pass is enough for any number of times."""

ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][0-9A-Za-z]{1,31});"
"""A character reference of HTML with its semicolon. (Browsers read some without one; in plain text those are not.)"""

NAMED = {f"&{name}": text for name, text in sorted(html.entities.html5.items()) if name.endswith(";")}
"""The named ones of HTML 5 and what they stand for."""

WINDOWS_1252 = [ord(bytes([code]).decode("windows-1252", "replace")) for code in range(0x80, 0xA0)]
"""What the numbers 0x80 to 0x9F mean, which would be control characters (HTML, section 13.2.5.80)."""

ENTITY_PASSES = 4
"""How often entities are looked for. What one pass makes may form another with what stands around it: no writer does
that, and text that was made to hold a server up goes on with it for as long as it is. After the last pass no ampersand
is left in such a text."""

# Up to Chinese and Japanese, whose texts have no spaces that would end an address.
_LETTERS = f"{chr(0xA1)}-{chr(0x2FFF)}"
_IN_URL, _ENDS_URL = (
    "".join(re.escape(chr(code)) for code in range(0x21, 0x7F) if chr(code) not in without) + _LETTERS
    for without in ('"<>', "\"<>.,;:!?)]}'")
)
URL = rf"(?:[Hh][Tt][Tt][Pp][Ss]?://|(^|[^0-9A-Za-z_])[Ww]{{3}}\.[0-9A-Za-z])[{_IN_URL}]*[{_ENDS_URL}]"
"""A web address without the punctuation behind it. (`www.` may end a stretched word: "awww...")"""

USER = r"(^|[^0-9A-Za-z_@])@[0-9A-Za-z_]+"
"""A user name. It does not follow a letter or digit of ASCII, as the second part of a mail address does."""

# As TweetEval has them (Barbieri et al. 2020), whose models know these two words.
URL_REWRITE, USER_REWRITE = r"\1http", r"\1@user"

WORD_PASSES = 3
"""How often addresses and names are looked for: a mark behind a name may combine with the end of the word that took its
place, and the rest is a name again. After that nothing changes."""


def without_entities(text: str) -> str:
    """Replace HTML entities by the characters that they stand for, once."""
    return _ENTITY.sub(_character, _ESCAPED.sub("&", text))


def with_words(text: str, urls: bool, users: bool) -> str:
    """Replace web addresses by `http` and user names by `@user`, once.

    Args:
        text: a normalised text.
        urls: whether addresses are replaced.
        users: whether names are.

    Returns:
        The text; not normalised any more, where a mark follows a name.
    """
    if urls:
        text = _URL.sub(URL_REWRITE, text)
    return _USER.sub(USER_REWRITE, text) if users else text


def _character(reference: re.Match[str]) -> str:
    entity = reference[0]
    if entity[1] != "#":
        return NAMED.get(entity, entity)
    code = int(entity[3:-1], 16) if entity[2] in "xX" else int(entity[2:-1])
    if 0x80 <= code < 0xA0:
        code = WINDOWS_1252[code - 0x80]
    # What UTF-8 cannot encode is no character.
    return chr(code) if 0 < code < 0xD800 or 0xE000 <= code <= 0x10FFFF else "\ufffd"


_ESCAPED, _ENTITY, _URL, _USER = (re.compile(each) for each in (ESCAPED, ENTITY, URL, USER))
