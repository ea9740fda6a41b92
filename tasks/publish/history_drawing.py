"""How good one version after the other was, as a drawing."""

from collections.abc import Sequence

from schemas.handoff import Split
from tasks.drawing import drawing
from tasks.publish.history import Past

_METRICS = {"accuracy": ("accuracy", "#006ba4"), "macro_f1": ("macro-F1", "#c85200")}
_SPLITS: dict[Split, tuple[str, str]] = {"test": ("-", "o"), "validation": ("--", ".")}
_MOST_DATES = 8


def history_drawing(versions: Sequence[Past]) -> bytes:
    """Draw accuracy and macro-F1 on both held-out splits over the versions.

    A dotted line stands between versions that were tested on different rows: figures on both sides do not compare.

    Args:
        versions: rising; at least one.

    Returns:
        An SVG; equal versions give equal bytes.
    """
    places = range(len(versions))
    with drawing(9, 3.8, "y", place=(0.07, 0.22, 0.88, 0.66)) as (axes, svg):
        for split, (line, marker) in _SPLITS.items():
            for metric, (title, colour) in _METRICS.items():
                figures = [_figure(past, split, metric) for past in versions]
                axes.plot(places, figures, linestyle=line, marker=marker, color=colour, label=f"{title}, {split}")
        changes = [place for place in places[1:] if versions[place - 1].tested_as(versions[place]) is False]
        for place in changes:
            label = "other test rows" if place == changes[0] else None
            axes.axvline(place - 0.5, color="#777777", linestyle=":", linewidth=1, label=label)
        every = -(-len(versions) // _MOST_DATES)
        named = list(reversed(places[::-1][::every]))
        axes.set_xticks(named, [f"{versions[place].version}\n{versions[place].created[:10]}" for place in named])
        axes.set_xlim(-0.5, len(versions) - 0.5)
        axes.set_xlabel("version, and the day of its publication (UTC)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5, frameon=False)
    return svg.getvalue()


def _figure(past: Past, split: Split, metric: str) -> float:
    metrics = past.metrics.get(split)
    return float("nan") if metrics is None else float(getattr(metrics, metric))
