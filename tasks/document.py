"""What a report is made of, before it becomes Markdown or HTML. All texts are plain: renderers escape them."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from hubtune.inference.pairs import BETWEEN, split_pair


@dataclass(frozen=True)
class Paragraph:
    """Sentences; `strong` ones are what a reader in a hurry reads."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        header: column titles.
        rows: cells, as many in each row as there are titles.
        texts: indices of the columns with words in them; the others hold figures and are aligned to the right.
        long: index of a column with texts of many words.
        shades: how strongly each cell is tinted, 0 to 1, where a renderer can do that.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int] = (0,)
    long: int | None = None
    shades: Sequence[Sequence[float]] | None = None


@dataclass(frozen=True)
class Figure:
    """A drawing: SVG, and in words what it shows; a `wide` one has several pictures beside each other."""

    svg: bytes
    words: str
    wide: bool = False


@dataclass(frozen=True)
class Links:
    """What else can be looked at: in words, and its address."""

    places: Sequence[tuple[str, str]]


Block = Paragraph | Table | Figure | Links


@dataclass(frozen=True)
class Section:
    """Blocks under a heading. `short` replaces them where a page has to be small; None leaves them as they are."""

    heading: str
    blocks: Sequence[Block]
    short: Sequence[Block] | None = None


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    summary: Sequence[Block]
    sections: Sequence[Section]


def visible(text: str, most: int) -> str:
    r"""A text in one line in which everything can be seen, cut to a length.

    Args:
        text: any text.
        most: characters after which it is cut; of a pair, each text has half.

    Returns:
        The line: spaces for line breaks, escapes ("\u200b") for control and format characters.
    """
    pair = split_pair(text) if len(text) > most else None
    return BETWEEN.join(_line(part, most // 2) for part in pair) if pair else _line(text, most)


def _line(text: str, most: int) -> str:
    line = " ".join(text[: most + 1].split())
    shown = "".join(
        character if unicodedata.category(character)[0] != "C" else f"\\u{ord(character):04x}"
        for character in line[:most]
    )
    return shown if len(text) <= most else f"{shown}…"
