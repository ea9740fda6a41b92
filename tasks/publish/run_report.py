"""The report on a run: what became of it, what the version before was like, the data, the evaluation.

It is put together anew in each run, for the page of that run alone: what it tells of other versions may be different
tomorrow. What follows from the inputs alone is in the report of the evaluation, which it ends with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubtune.errors import HubtuneError
from schemas.handoff import SPLITS, Metrics, QuarantineFacts, RowsFacts, Split
from tasks.document import Block, Document, Figure, Links, Paragraph, Section, Table, visible
from tasks.document_markdown import markdown_page
from tasks.publish.history import History, Past
from tasks.publish.history_drawing import history_drawing

_FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "loss": "log loss"}
_HELD_OUT: tuple[Split, ...] = ("test", "validation")
_MOST_CHARACTERS = 1000


@dataclass(frozen=True)
class Published:
    """What became of a run: the version that holds its result, whether this run made it one, and all versions."""

    name: str
    version: int
    new: bool
    history: History

    @property
    def now(self) -> Past | None:
        """The version's own figures."""
        return self.history.of(self.version)

    @property
    def before(self) -> Past | None:
        """The version before it."""
        return self.history.before(self.version)

    def headline(self) -> str:
        """What came of the run, in one line: the message of its last state."""
        line = f"version {self.version} published" if self.new else f"already published as version {self.version}"
        if self.now is not None:
            line += f": test macro-F1 {self.now.test.macro_f1:.3f}"
            if self.before is not None:
                directly = self.before.version == self.version - 1
                line += f", {self.before.test.macro_f1:.3f} {'before' if directly else f'with {self.before.version}'}"
                line += {True: "", False: " on other rows", None: ", perhaps on other rows"}[
                    self.before.tested_as(self.now)
                ]
        if self.history.latest > self.version:
            line += f"; the newest is version {self.history.latest}"
        return line


@dataclass(frozen=True)
class Judged:
    """The data and the evaluation of a run.

    `intervals` are those of `evaluation.json` on the test split, by figure; `report` is the evaluation's `report.md`.
    """

    rows: RowsFacts
    quarantine: QuarantineFacts
    intervals: Mapping[str, Mapping[str, float]]
    report: str


def published_report(outcome: Published, place: str, links: Sequence[tuple[str, str]], judged: Judged) -> str:
    """The report on a run whose result is published.

    Args:
        outcome: what became of it.
        place: address of the version in the store.
        links: what can be looked at, and its address.
        judged: data and evaluation.

    Returns:
        Markdown.
    """
    latest, version = outcome.history.latest, outcome.version
    headline = outcome.headline()
    summary: list[Block] = [
        Paragraph(f"{headline[0].upper()}{headline[1:]}.", strong=True),
        Paragraph(f"{_when(outcome)} It lies in {place}."),
        Paragraph(
            "It is the newest version: the one that is loaded when none is asked for."
            if version == latest
            else f"The newest version, {latest}, is the one that is loaded when none is asked for."
        ),
        *([Links(links)] if links else []),
    ]
    sections = [*_comparison(outcome, judged), *_over_time(outcome.history), _data(judged)]
    return _page(Document(f"{outcome.name}, version {version}", summary, sections), judged)


def unpublished_report(name: str, error: Exception, links: Sequence[tuple[str, str]], judged: Judged) -> str:
    """The report on a run whose classifier was judged, and could not be published.

    Args:
        name: of the model.
        error: why not.
        links: what can be looked at, and its address.
        judged: data and evaluation.

    Returns:
        Markdown.
    """
    what, remedy = f"{type(error).__name__}: {error}", ""
    if isinstance(error, HubtuneError):
        what, remedy = error.what, error.remedy
    summary: list[Block] = [
        Paragraph(f"No version was published: {visible(what, _MOST_CHARACTERS)}", strong=True),
        *([Paragraph(f"Remedy: {visible(remedy, _MOST_CHARACTERS)}")] if remedy else []),
        *([Links(links)] if links else []),
    ]
    return _page(Document(f"{name}, not published", summary, [_data(judged)]), judged)


def _page(document: Document, judged: Judged) -> str:
    return f"{markdown_page(document)}\n{judged.report}"


def _when(outcome: Published) -> str:
    if outcome.now is None:
        return "This run published it." if outcome.new else "This run found it in the store."
    moment = f"{outcome.now.created[:16].replace('T', ' ')} UTC"
    if outcome.new:
        return f"This run published it, on {moment}."
    return f"This run found its result in the store, where it has been version {outcome.version} since {moment}."


def _comparison(outcome: Published, judged: Judged) -> list[Section]:
    now, before = outcome.now, outcome.before
    if now is None or before is None:
        return []
    rows: list[Sequence[str]] = []
    for split in _HELD_OUT:
        old, new = before.metrics.get(split), now.metrics.get(split)
        if old is None or new is None:
            continue
        for name, title in _FIGURES.items():
            interval = judged.intervals.get(name) if split == "test" else None
            between = f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""
            rows.append([f"{title}, {split}", *_old_and_new(old, new, name), between])
        rows.append([f"rows, {split}", f"{old.rows:,}", f"{new.rows:,}", f"{new.rows - old.rows:+,}", ""])
    versions = [f"version {past.version}" for past in (before, now)]
    header = ["", *versions, "change", f"95 % interval of version {now.version}"]
    notes = [_same_rows(before, now)]
    if before.labels != now.labels:
        classes = ", ".join(visible(label, 40) for label in before.labels)
        notes.append(f"Version {before.version} had other classes ({classes}): the figures do not compare.")
    title = f"Beside version {before.version} of {before.created[:10]}"
    return [Section(title, [Table(header, rows), *map(Paragraph, notes)])]


def _old_and_new(old: Metrics, new: Metrics, name: str) -> tuple[str, str, str]:
    before, now = getattr(old, name), getattr(new, name)
    return f"{before:.3f}", f"{now:.3f}", f"{now - before:+.3f}"


def _same_rows(before: Past, now: Past) -> str:
    same = before.tested_as(now)
    if same:
        return "Both were tested on the same rows."
    if same is None:
        gone = before.version if before.test_rows is None else now.version
        return (
            f"The rows of version {gone} are not in the store any more: whether both were tested on the same ones "
            "cannot be told."
        )
    return "They were tested on different rows: a part of the change may be that of the rows."


def _over_time(history: History) -> list[Section]:
    blocks: list[Block] = []
    if len(history.versions) > 1:
        drawn = len(history.versions)
        some = "all versions" if drawn == history.published else f"{drawn} of {history.published} versions"
        words = f"Accuracy and macro-F1 of {some}, on the rows that each was tested on"
        blocks.append(Figure(history_drawing(history.versions), words, wide=True))
    if history.left_out:
        numbers = f"version{'s' if len(history.left_out) > 1 else ''} {', '.join(map(str, history.left_out))}"
        blocks.append(Paragraph(f"Left out, because the store cannot tell how good it was: {numbers}."))
    return [Section("Versions over time", blocks)] if blocks else []


def _data(judged: Judged) -> Section:
    rows, found = judged.rows, judged.quarantine
    came = [
        ("came in", found.rows_in),
        ("turned away", found.quarantined),
        ("duplicates", found.duplicates),
        ("near duplicates", found.near_duplicates),
        ("dropped", found.dropped),
        ("kept", found.rows_out),
        *((f"of these for {split}", getattr(rows, split)) for split in SPLITS),
    ]
    # What did not happen is not told of.
    table = Table(["rows", ""], [[name, f"{count:,}"] for name, count in came if count or name == "turned away"])
    if not found.reasons:
        return Section("Data", [table])
    reasons = [[visible(reason.replace("_", " "), 80), f"{count:,}"] for reason, count in found.reasons.items()]
    return Section("Data", [table, Paragraph("Turned away, and why:"), Table(["reason", "rows"], reasons)])
