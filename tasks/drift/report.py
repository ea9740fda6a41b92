"""The report on drift: drift.json for programs, report.md (shown in the Prefect UI) and report.html for people.

It names no limit: which figure is too large is for the recipe to say, and the same comparison may be judged by others.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from schemas.drift_recipe import DriftFigure
from schemas.handoff import DriftFacts
from tasks.document import Block, Document, Figure, Paragraph, Section, Table, visible
from tasks.document_html import html_page
from tasks.document_markdown import markdown_page
from tasks.drift.compare import Drift, Share, compare
from tasks.drift.drawing import bars, drawn

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
    """Compare the training rows of two artifacts and write drift.json, report.md and report.html.

    Args:
        reference: folder of the `rows` artifact that the published version was trained on.
        current: folder of the `rows` artifact of this run.
        digest: the digest of the reference.
        folder: where the files go.

    Returns:
        The facts of the `drift` artifact.
    """
    drift = compare(reference, current)
    content = {"reference": digest} | asdict(drift)
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    (folder / "drift.json").write_text(text + "\n", encoding="utf-8")
    written = document(drift)
    (folder / "report.md").write_text(markdown_page(written), encoding="utf-8")
    (folder / "report.html").write_text(html_page(written), encoding="utf-8")
    return DriftFacts(
        reference=digest,
        labels=drift.labels.value,
        length=drift.length.value,
        vocabulary=drift.vocabulary.value,
        words=drift.words.value,
        by_chance={name: getattr(drift, name).by_chance for name in get_args(DriftFigure)},
    )


def document(drift: Drift) -> Document:
    """Write the report.

    Args:
        drift: the figures.

    Returns:
        The document.
    """
    found = {name: getattr(drift, name) for name in get_args(DriftFigure)}
    rows = [
        (name, f"{figure.value:.4f}", f"{figure.by_chance:.4f}", _MEASURED_BY[name], _SENTENCES[name])
        for name, figure in found.items()
    ]
    compared = (
        f"{drift.rows_now:,} training rows now, compared with the {drift.rows_before:,} that the latest published "
        "version was trained on (before)."
    )
    figures = Table(("figure", "value", "by chance", "measured by", "what it means"), rows, texts=(0, 3, 4), long=4)
    chance = "By chance: the figure of the same rows dealt at random, as many of them new and gone as there are."
    classes = _drawing(drift.classes, "share of the labels", "class")
    lengths = _drawing(drift.lengths, "share of the texts", "number of words")
    return Document(
        "Drift",
        [Paragraph(compared), figures, Paragraph(chance)],
        [
            Section("Classes", [classes, *_moved("class", drift.labels.moved)]),
            Section("Words per text", [lengths, *_moved("words", drift.length.moved)]),
            Section("New words", _moved("word", drift.vocabulary.moved)),
            Section("All words", _moved("word", drift.words.moved)),
        ],
    )


def _drawing(shares: Sequence[Share], axis: str, called: str) -> Figure:
    shown = drawn(shares)
    some = "" if len(shown) == len(shares) else f"; the {len(shown)} largest of {len(shares):,}"
    return Figure(bars(shown, axis), f"The share of each {called} before and now{some}")


def _moved(called: str, shares: Sequence[Share]) -> list[Block]:
    if not shares:
        return [Paragraph("Nothing to name.")]
    rows = [
        (
            visible(share.name, _SHOWN_CHARACTERS),
            f"{share.before:.2%}",
            f"{share.now:.2%}",
            f"{(share.now - share.before) * 100:+.2f}",
        )
        for share in shares
    ]
    return [Paragraph("What moved most:"), Table((called, "before", "now", "points"), rows)]
