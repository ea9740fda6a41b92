"""report.md: the report as GitHub's Markdown, small enough for the page of a run in the Prefect UI."""

import base64

from tasks.document import Block, Document, Figure, Links, Paragraph, Section
from tasks.markdown import escaped, link, table


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


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        text = escaped(block.text)
        return f"**{text}**\n" if block.strong else f"{text}\n"
    if isinstance(block, Figure):
        return f"![{escaped(block.words)}](data:image/svg+xml;base64,{base64.b64encode(block.svg).decode()})\n"
    if isinstance(block, Links):
        return f"{' · '.join(link(words, address) for words, address in block.places)}\n"
    header, *rows = [[escaped(cell) for cell in row] for row in (block.header, *block.rows)]
    return table(header, rows, right=set(range(len(header))) - set(block.texts))
