"""The report as a document: what report.md and report.html show."""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.handoff import SPLITS
from schemas.rows import Reason
from tasks.document import Block, Document, Figure, Paragraph, Section, Table
from tasks.drawing import drawing
from tasks.preprocess.visible import visible

_BINS_PER_NAME = 4

MOST_TOKENS = 512
"""What BERT-like encoders take at most."""


def document(report: Mapping[str, Any]) -> Document:
    """Write the report.

    Args:
        report: the content of report.json.

    Returns:
        The document.
    """
    sections = [
        _dropped(report["dropped"], report["rows"]["dropped"]),
        _quarantined(report["reasons"], report["quarantined"]),
        _duplicates(report["duplicates"]),
        _near_duplicates(report["near_duplicates"]),
        _normalised(report["normalised"]),
        _classes(report["classes"], report["splits"], report.get("none_of_the_classes")),
        _lengths(report["lengths"], report["words_per_text"], report["suggested_max_length"]),
        _weights(report.get("weights")),
    ]
    summary = _summary(report["rows"], report["sources"])
    return Document("Data report", summary, [section for section in sections if section is not None])


def _summary(rows: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> list[Block]:
    further = [name for name in ("near_duplicates", "dropped") if rows[name]]
    counts = ("in", "kept", "quarantined", "duplicates", *further)
    by_source = [(*_file(source), *(f"{source[count]:,}" for count in counts)) for source in sources]
    header = ("file", "given as", "rows in", *(name.replace("_", " ") for name in counts[1:]))
    near = f", {rows['near_duplicates']:,} near duplicates dropped" if rows["near_duplicates"] else ""
    not_wanted = f", {rows['dropped']:,} dropped since their labels are not wanted" if rows["dropped"] else ""
    return [
        Paragraph(
            f"{rows['in']:,} rows in, {rows['out']:,} kept, {rows['quarantined']:,} quarantined "
            f"({rows['quarantined_share']:.1%}; the limit is {rows['max_quarantine']:.1%}), "
            f"{rows['duplicates']:,} duplicates dropped{near}{not_wanted}.",
            strong=True,
        ),
        Table(header, by_source, texts=(0, 1)),
    ]


def _dropped(labels: Sequence[Mapping[str, Any]], rows: int) -> Section | None:
    if not rows:
        return None
    listed = [(label["label"], f"{label['rows']:,}") for label in labels]
    some = "" if sum(label["rows"] for label in labels) == rows else "; the most frequent ones"
    told = Paragraph(f"data.labels does not map them, and data.unmapped drops their rows{some}.")
    return Section("Labels that are not wanted", [told, Table(("label", "rows"), listed)])


def _quarantined(reasons: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> Section:
    if not rows["rows"]:
        return Section("Quarantine", [Paragraph("No row was quarantined.")])
    counts = [
        (Reason(reason["reason"]).words, f"{reason['rows']:,}", reason["sentence"])
        for reason in reasons
        if reason["rows"]
    ]
    listed = [(_why(row), *_place(row), *_as_it_came(row)) for row in rows["listed"]]
    return Section(
        "Quarantine",
        [
            Table(("reason", "rows", "what it means"), counts, texts=(0, 2), long=2),
            _listing(rows, "quarantined row", "of each reason"),
            Table(("reason", "file", "row", "label", "text"), listed, texts=(0, 1, 3, 4), long=4),
        ],
    )


def _duplicates(rows: Mapping[str, Any]) -> Section:
    if not rows["rows"]:
        return Section("Duplicates", [Paragraph("No text occurs twice.")])
    listed = [(*_place(row), _copy(row["kept"], row), *_as_it_came(row)) for row in rows["listed"]]
    return Section(
        "Duplicates",
        [
            Paragraph("One copy of each text is kept: the first, and that of a held-out split before others."),
            *_leaks(rows["leakage"], "the same text"),
            _listing(rows, "duplicate", "of each split"),
            Table(("file", "row", "kept copy", "label", "text"), listed, texts=(0, 2, 3, 4), long=4),
        ],
    )


def _near_duplicates(rows: Mapping[str, Any]) -> Section | None:
    if not rows["rows"]:
        return None
    header = ("file", "row", "kept copy", "similarity", "text", "text that is kept")
    listed = [
        (*_place(row), _copy(row["kept"], row), f"{row['kept']['similarity']:.3f}", row["text"], row["kept"]["text"])
        for row in rows["listed"]
    ]
    return Section(
        "Near duplicates",
        [
            Paragraph("Of texts with the same classes that are nearly the same, one is kept as of duplicates."),
            *_leaks(rows["leakage"], "nearly the same text"),
            _listing(rows, "near duplicate", "of each split"),
            Table(header, listed, texts=(0, 2, 4, 5), long=5),
        ],
    )


def _leaks(leaks: Sequence[Mapping[str, Any]], what: str) -> list[Paragraph]:
    return [
        Paragraph(
            f"Leakage: {leak['rows']:,} rows of {leak['removed_from']} were removed because {leak['kept_in']} has "
            f"{what}.",
            strong=True,
        )
        for leak in leaks
    ]


def _normalised(rows: Mapping[str, Any]) -> Section:
    heading = "Kept, but normalised"
    if not rows["rows"]:
        return Section(heading, [Paragraph("Every row that was kept was in normal form already.")])
    counts = [(change, f"{count:,}") for change, count in rows["changes"].items()]
    listed = [(row["changes"], *_place(row), *_as_it_came(row)) for row in rows["listed"]]
    return Section(
        heading,
        [
            Table(("what was changed", "rows"), counts),
            _listing(rows, "changed row", "of each kind"),
            Table(("what was changed", "file", "row", "label", "text as it came"), listed, texts=(0, 1, 3, 4), long=4),
        ],
    )


def _classes(classes: Sequence[Mapping[str, Any]], splits: Mapping[str, int], without: int | None) -> Section:
    rows = []
    for entry in classes:
        cells = [visible(entry["class"]), f"{entry['rows']:,}", f"{entry['share']:.1%}"]
        for split in SPLITS:
            part = entry["splits"][split]
            cells.append(f"{part['rows']:,} ({part['share']:.1%}, {part['deviation'] * 100:+.1f})")
        rows.append(cells)
    total = sum(splits.values())
    rows.append(["all", f"{total:,}", "", *(f"{splits[split]:,} ({splits[split] / total:.1%})" for split in SPLITS)])
    several = f"A row may have several classes, or none: {without:,} rows have none." if without is not None else ""
    told = "In brackets: the share of the split's rows, and by how many percentage points it deviates from all rows."
    return Section(
        "Classes",
        [
            *([Paragraph(several)] if several else []),
            Paragraph(told),
            Table(("class", "rows", "share", *SPLITS), rows),
        ],
    )


def _lengths(
    lengths: Mapping[str, Mapping[str, float]], histogram: Sequence[Mapping[str, Any]], suggested: int
) -> Section:
    names = list(next(iter(lengths.values())))
    rows = [(unit, *(f"{values[name]:,}" for name in names)) for unit, values in lengths.items()]
    tokens = f"up to some {suggested:,}" if suggested < MOST_TOKENS else f"{MOST_TOKENS} or more"
    told = (
        f"99 % of the texts have at most {lengths['words']['p99']:,} words: in English {tokens} tokens, which "
        "train.max_length should leave room for. With auto it is measured with the model's own tokenizer."
    )
    return Section("Lengths", [Table(("unit", *names), rows), _histogram(histogram), Paragraph(told)])


def _histogram(bins: Sequence[Mapping[str, Any]]) -> Figure:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with drawing(6.4, 2.8, "y", (0.12, 0.18, 0.8, 0.77)) as (axes, svg):
        axes.set_axisbelow(True)
        axes.stairs([each["rows"] for each in bins], fill=True)
        named = range(len(bins) - 1, -1, -_BINS_PER_NAME)
        axes.set_xticks([position + 0.5 for position in named], [bins[position]["words"] for position in named])
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.yaxis.set_major_formatter(EngFormatter())  # 1.2 M has room everywhere
        axes.set(xlabel="words", ylabel="texts")
    return Figure(svg.getvalue(), "How many texts have so many words")


def _weights(weights: Mapping[str, float] | None) -> Section | None:
    if weights is None:
        return None
    figures = [f"{weights[name]:,.10g}" for name in ("min", "mean", "max")]
    return Section("Weights", [Table(("min", "mean", "max"), [figures], texts=())])


def _listing(rows: Mapping[str, Any], called: str, which: str) -> Paragraph:
    return Paragraph(f"Each {called}:" if rows["complete"] else f"The first {called}s {which}:")


def _file(row: Mapping[str, Any]) -> tuple[str, str]:
    return visible(row["source"]), row.get("split") or "one source"


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    split = f" ({row['split']})" if "split" in row else ""
    return visible(row["source"]) + split, str(row["row"])


def _copy(kept: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    file, number = _place(kept)
    return f"row {number}" if file == _place(row)[0] else f"{file}, row {number}"


def _why(row: Mapping[str, Any]) -> str:
    broken = f" ({visible(row['broken'])})" if "broken" in row else ""
    weight = f": {row['weight']}" if "weight" in row else ""
    return Reason(row["reason"]).words + broken + weight


def _as_it_came(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["label"], row["text"]
