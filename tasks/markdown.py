"""GitHub's Markdown: tables, and texts of unknown origin made safe to show."""

from collections.abc import Collection, Sequence
from urllib.parse import quote

# Whatever would be formatting, a link or HTML. "://" and "www." would become links on their own.
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "}
    | {character: f"\\{character}" for character in "\\`*_[]~|#"}
)

# Those with a meaning in addresses (RFC 3986), but for the ones that Markdown would take for its own.
_OF_ADDRESSES = "%/:?#@!$&+,;="


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
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


def link(words: str, address: str) -> str:
    """A link.

    Args:
        words: what is at the address, plain.
        address: of the page; characters that no address has are written as such.

    Returns:
        Markdown.
    """
    return f"[{escaped(words)}](<{quote(address, safe=_OF_ADDRESSES)}>)"


def escaped(text: str) -> str:
    """A text as one line of Markdown that shows it as it is."""
    return text.translate(_ESCAPES).replace("://", "&#58;//").replace("www.", "www&#46;")
