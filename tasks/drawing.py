"""Drawings for reports, as SVG. Equal figures give equal bytes: no date, no random ids, no style of the machine."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.alpha": 0.3,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: small, and in any script that the reader's machine can show
    "svg.hashsalt": "hubtune",
}


@contextmanager
def drawing(
    width: float,
    height: float,
    grid: Literal["both", "x", "y"] = "both",
    place: tuple[float, float, float, float] | None = None,
) -> Iterator[tuple["Axes", io.BytesIO]]:
    """Axes to draw on.

    Args:
        width: in inches.
        height: in inches.
        grid: the axes whose lines are drawn.
        place: left, bottom, width and height of the axes, as shares of the drawing; without it the labels are
            measured to leave room for them, which takes twice the time.

    Yields:
        The axes, and a buffer that holds the SVG afterwards.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    svg = io.BytesIO()
    with (
        style.context(["default", "tableau-colorblind10", _STYLE | {"axes.grid.axis": grid}]),
        warnings.catch_warnings(),
    ):
        # Text stays text, so a glyph that matplotlib's own font lacks is none of its business.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout=None if place else "tight")
        yield figure.add_axes(place) if place else figure.add_subplot(), svg
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
