"""Bars of shares before and now."""

from collections.abc import Sequence

from tasks.drawing import drawing
from tasks.drift.compare import Share

_MOST_BARS = 20
_NAME_CHARACTERS = 24


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
    rows = range(len(shares))
    with drawing(4.8, 1.2 + 0.4 * len(shares), "x") as (axes, svg):
        axes.set_axisbelow(True)
        axes.barh([row - 0.2 for row in rows], [share.before for share in shares], height=0.4, label="before")
        axes.barh([row + 0.2 for row in rows], [share.now for share in shares], height=0.4, label="now")
        axes.set_yticks(rows, [_name(share.name) for share in shares])
        for text in axes.get_yticklabels():
            text.set_parse_math(False)  # a class may be called "$a$"
        axes.invert_yaxis()
        axes.set_xlabel(axis)
        axes.legend()
    return svg.getvalue()


def _name(name: str) -> str:
    # A control character would make the SVG unreadable.
    shown = "".join(character if character.isprintable() else "�" for character in name)
    return shown if len(shown) <= _NAME_CHARACTERS else f"{shown[: _NAME_CHARACTERS - 1]}…"
