"""The report on drift: drift.json for programs, report.md for people (it is shown in the Prefect UI).

It names no limit: which figure is too large is for the recipe to say, and the same comparison may be judged by others.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from schemas.handoff import DriftFacts
from tasks.drift.compare import Drift, Share, compare
from tasks.drift.drawing import bars, drawn
from tasks.markdown import escaped, table

FIGURES = ("labels", "length", "vocabulary", "words")

_SHOWN_CHARACTERS = 60

_MEASURED_BY = {
    "labels": "population stability index",
    "length": "population stability index",
    "vocabulary": "share",
    "words": "Jensen-Shannon divergence",
}
_SENTENCES = {
    "labels": "How far the shares of the classes moved. 0: not at all; there is no upper end.",
    "length": "How far the number of words per text moved, in bins that each held about a tenth of the texts before. "
    "0: not at all; there is no upper end.",
    "vocabulary": "Which share of all words in the texts never occurred before. From 0 to 1.",
    "words": "How different the frequencies of all words are. 0: not at all; 1: no word in common. Two small sets of "
    "texts differ by chance alone.",
}


def write_drift(reference: Path, current: Path, digest: str, folder: Path) -> DriftFacts:
    """Compare the training rows of two artifacts and write drift.json and report.md.

    Args:
        reference: folder of the `rows` artifact that the published version was trained on.
        current: folder of the `rows` artifact of this run.
        digest: the digest of the reference.
        folder: where the two files go.

    Returns:
        The facts of the `drift` artifact.
    """
    drift = compare(reference, current)
    content = {"reference": digest} | asdict(drift)
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    (folder / "drift.json").write_text(text + "\n", encoding="utf-8")
    (folder / "report.md").write_text(page(drift), encoding="utf-8")
    return DriftFacts(
        reference=digest,
        labels=drift.labels.value,
        length=drift.length.value,
        vocabulary=drift.vocabulary.value,
        words=drift.words.value,
    )


def page(drift: Drift) -> str:
    """The report as a page of GitHub's Markdown.

    Args:
        drift: the figures.

    Returns:
        Markdown, with the drawings as `data:` URIs.
    """
    values = {name: getattr(drift, name).value for name in FIGURES}
    rows = [(name, f"{value:.4f}", _MEASURED_BY[name], _SENTENCES[name]) for name, value in values.items()]
    return "\n".join(
        (
            "# Drift\n",
            f"{drift.rows_now:,} training rows **now**, compared with the {drift.rows_before:,} that the latest "
            "published version was trained on (**before**).\n",
            table(("figure", "value", "measured by", "what it means"), rows, right=(1,)),
            "## Classes\n",
            _drawing(drift.classes, "share of the labels", "class"),
            _moved("class", drift.labels.moved),
            "## Words per text\n",
            _drawing(drift.lengths, "share of the texts", "number of words"),
            _moved("words", drift.length.moved),
            "## New words\n",
            _moved("word", drift.vocabulary.moved),
            "## All words\n",
            _moved("word", drift.words.moved),
        )
    )


def _drawing(shares: Sequence[Share], axis: str, called: str) -> str:
    shown = drawn(shares)
    some = "" if len(shown) == len(shares) else f"; the {len(shown)} largest of {len(shares):,}"
    svg = base64.b64encode(bars(shown, axis)).decode()
    return f"![The share of each {called} before and now{some}](data:image/svg+xml;base64,{svg})\n"


def _moved(called: str, shares: Sequence[Share]) -> str:
    if not shares:
        return "Nothing to name.\n"
    rows = [
        (
            escaped(_cut(share.name)),
            f"{share.before:.2%}",
            f"{share.now:.2%}",
            f"{(share.now - share.before) * 100:+.2f}",
        )
        for share in shares
    ]
    return "What moved most:\n\n" + table((called, "before", "now", "points"), rows, right=(1, 2, 3))


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
