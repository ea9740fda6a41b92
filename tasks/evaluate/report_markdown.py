"""report.md: the report as GitHub's Markdown, small enough for the page of a run in the Prefect UI."""

import base64
from collections.abc import Sequence

from tasks.evaluate.document import Block, Document, Figure, Paragraph, Section, Table

# Whatever would be formatting, a link or HTML.
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "}
    | {character: f"\\{character}" for character in "\\`*_[]~|#"}
)


def markdown_page(document: Document) -> str:
    """Write the page.

    Args:
        document: the report.

    Returns:
        Markdown in which drawings are `data:` URIs.
    """
    sections = [Section(document.title, document.summary), *document.sections]
    parts = []
    for number, section in enumerate(sections):
        parts.append(f"{'##' if number else '#'} {escaped(section.heading)}\n")
        blocks = section.blocks if section.short is None else section.short
        parts.extend(_block(block) for block in blocks)
    return "\n".join(parts)


def escaped(text: str) -> str:
    """A text as one line of Markdown that shows it as it is."""
    # "://" and "www." would become links on their own.
    return text.translate(_ESCAPES).replace("://", "&#58;//").replace("www.", "www&#46;")


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        text = escaped(block.text)
        return f"**{text}**\n" if block.strong else f"{text}\n"
    if isinstance(block, Figure):
        return f"![{escaped(block.words)}](data:image/svg+xml;base64,{base64.b64encode(block.svg).decode()})\n"
    return _table(block)


def _table(table: Table) -> str:
    rule = ["---" if column in table.texts else "---:" for column in range(len(table.header))]
    rows: list[Sequence[str]] = [[escaped(cell) for cell in row] for row in (table.header, *table.rows)]
    rows.insert(1, rule)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
