"""Bars of shares before and now. Equal shares give equal bytes: no date, no random ids, no style of the machine."""

import io
import warnings
from collections.abc import Sequence

from tasks.drift.compare import Share

_MOST_BARS = 20
_NAME_CHARACTERS = 24
_STYLE = {
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.3,
    "svg.fonttype": "none",  # text stays text: small, and in any script that the reader's machine can show
    "svg.hashsalt": "hubtune",
}


def drawn(shares: Sequence[Share]) -> list[Share]:
    """Those of the shares that a drawing has room for: the largest ones, in their order.

    Args:
        shares: all of them.

    Returns:
        At most 20.
    """
    by_size = sorted(range(len(shares)), key=lambda index: -max(shares[index].before, shares[index].now))
    return [shares[index] for index in sorted(by_size[:_MOST_BARS])]


def bars(shares: Sequence[Share], axis: str) -> bytes:
    """Draw two bars for each share: before and now.

    Args:
        shares: what is drawn, from top to bottom.
        axis: what the shares are of, written below them.

    Returns:
        An SVG.
    """
    from matplotlib import style
    from matplotlib.figure import Figure as Canvas

    svg = io.BytesIO()
    rows = range(len(shares))
    with style.context(["default", "tableau-colorblind10", _STYLE]), warnings.catch_warnings():
        # Text stays text, so a glyph that matplotlib's own font lacks is none of its business.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        canvas = Canvas(figsize=(4.8, 1.2 + 0.4 * len(shares)), layout="tight")
        axes = canvas.add_subplot()
        axes.barh([row - 0.2 for row in rows], [share.before for share in shares], height=0.4, label="before")
        axes.barh([row + 0.2 for row in rows], [share.now for share in shares], height=0.4, label="now")
        axes.set_yticks(rows, [_name(share.name) for share in shares])
        for text in axes.get_yticklabels():
            text.set_parse_math(False)  # a class may be called "$a$"
        axes.invert_yaxis()
        axes.set_xlabel(axis)
        axes.legend()
        canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return svg.getvalue()


def _name(name: str) -> str:
    # A control character would make the SVG unreadable.
    shown = "".join(character if character.isprintable() else "�" for character in name)
    return shown if len(shown) <= _NAME_CHARACTERS else f"{shown[: _NAME_CHARACTERS - 1]}…"
