"""report.html: the report as one file that needs no network and no script, and reads well on a phone."""

import base64
from collections.abc import Sequence
from html import escape
from itertools import groupby

from tasks.document import Block, Document, Figure, Links, Paragraph, Table

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1c1c1c; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
p { margin: .5rem 0; }
.verdict { border-left: .3rem solid #006ba4; padding: .3rem .8rem; background: #f1f6fa; font-weight: 600; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th { background: #f4f4f4; font-weight: 600; }
.text { text-align: left; }
td { white-space: nowrap; }
td.text { white-space: normal; min-width: 6rem; max-width: 32rem; overflow-wrap: anywhere; }
td.long { min-width: 14rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 20rem; max-width: 30rem; }
img { width: 100%; height: auto; }
figure.wide { flex-basis: 100%; max-width: 100%; overflow-x: auto; }
figure.wide img { min-width: 36rem; }
figcaption { font-size: .85rem; color: #555; }
"""

# Nothing is loaded and nothing runs, whatever the texts hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html_page(document: Document) -> str:
    """Write the page.

    Args:
        document: the report.

    Returns:
        A whole HTML document with its drawings inside.
    """
    title = escape(document.title)
    body = [f"<h1>{title}</h1>", *_blocks(document.summary)]
    for section in document.sections:
        body += ["<section>", f"<h2>{escape(section.heading)}</h2>", *_blocks(section.blocks), "</section>"]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>",
    ]
    lines = ["<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", *body, "</body>", "</html>"]
    return "\n".join(lines) + "\n"


def _blocks(blocks: Sequence[Block]) -> list[str]:
    lines = []
    # Drawings that follow each other stand side by side where there is room.
    for are_figures, run in groupby(blocks, key=lambda block: isinstance(block, Figure)):
        written = [_block(block) for block in run]
        lines += ['<div class="figures">', *written, "</div>"] if are_figures else written
    return lines


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        kind = ' class="verdict"' if block.strong else ""
        return f"<p{kind}>{escape(block.text)}</p>"
    if isinstance(block, Figure):
        words, data = escape(block.words), base64.b64encode(block.svg).decode()
        image = f'<img alt="{words}" src="data:image/svg+xml;base64,{data}">'
        kind = ' class="wide"' if block.wide else ""
        return f"<figure{kind}>{image}<figcaption>{words}</figcaption></figure>"
    if isinstance(block, Links):
        links = [f'<a href="{escape(address)}">{escape(words)}</a>' for words, address in block.places]
        return f"<p>{' · '.join(links)}</p>"
    return _table(block)


def _table(table: Table) -> str:
    def cell(tag: str, column: int, text: str, shade: float = 0.0) -> str:
        kind = f' class="text{" long" if column == table.long else ""}"' if column in table.texts else ""
        tint = f' style="background:rgba(0,107,164,{shade:.2f})"' if shade >= 0.01 else ""
        return f"<{tag}{kind}{tint}>{escape(text)}</{tag}>"

    lines = ['<div class="wide">', "<table>", "<thead>"]
    lines.append(f"<tr>{''.join(cell('th', column, text) for column, text in enumerate(table.header))}</tr>")
    lines += ["</thead>", "<tbody>"]
    for number, row in enumerate(table.rows):
        shades = table.shades[number] if table.shades is not None else [0.0] * len(row)
        cells = "".join(
            cell("td", column, text, shade) for column, (text, shade) in enumerate(zip(row, shades, strict=True))
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])
