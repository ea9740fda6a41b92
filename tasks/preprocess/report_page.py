"""report.md: the report as a page of GitHub's Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from schemas.handoff import SPLITS
from schemas.rows import Reason
from tasks.markdown import escaped, table
from tasks.preprocess.visible import visible


def page(report: Mapping[str, Any]) -> str:
    """The page.

    Args:
        report: the content of report.json.

    Returns:
        Markdown.
    """
    return "\n".join(
        (
            *_summary(report["rows"], report["sources"]),
            *_dropped(report["dropped"], report["rows"]["dropped"]),
            *_quarantined(report["reasons"], report["quarantined"]),
            *_duplicates(report["duplicates"]),
            *_normalised(report["normalised"]),
            *_classes(report["classes"], report["splits"], report.get("none_of_the_classes")),
            *_lengths(report["lengths"]),
        )
    )


def _summary(rows: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> list[str]:
    counts = ("in", "kept", "quarantined", "duplicates", *(["dropped"] if rows["dropped"] else []))
    by_source = [(*_file(source), *(f"{source[count]:,}" for count in counts)) for source in sources]
    not_wanted = f", {rows['dropped']:,} dropped since their labels are not wanted" if rows["dropped"] else ""
    return [
        "# Data report\n",
        f"**{rows['in']:,} rows in, {rows['out']:,} kept**, {rows['quarantined']:,} quarantined "
        f"({rows['quarantined_share']:.1%}; the limit is {rows['max_quarantine']:.1%}), "
        f"{rows['duplicates']:,} duplicates dropped{not_wanted}.\n",
        table(("file", "given as", "rows in", *counts[1:]), by_source, right=range(2, 2 + len(counts))),
    ]


def _dropped(labels: Sequence[Mapping[str, Any]], rows: int) -> list[str]:
    if not rows:
        return []
    listed = [(escaped(label["label"]), f"{label['rows']:,}") for label in labels]
    return [
        "## Labels that are not wanted\n",
        "`data.labels` does not map them, and `data.unmapped` drops their rows"
        f"{'' if sum(label['rows'] for label in labels) == rows else '; the most frequent ones'}.\n",
        table(("label", "rows"), listed, right=(1,)),
    ]


def _quarantined(reasons: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> list[str]:
    if not rows["rows"]:
        return ["## Quarantine\n", "No row was quarantined.\n"]
    counts = [
        (Reason(reason["reason"]).words, f"{reason['rows']:,}", reason["sentence"])
        for reason in reasons
        if reason["rows"]
    ]
    listed = [(_why(row), *_place(row), *_as_it_came(row)) for row in rows["listed"]]
    return [
        "## Quarantine\n",
        table(("reason", "rows", "what it means"), counts, right=(1,)),
        _listing(rows, "quarantined row", "of each reason"),
        table(("reason", "file", "row", "label", "text"), listed, right=(2,)),
    ]


def _duplicates(rows: Mapping[str, Any]) -> list[str]:
    if not rows["rows"]:
        return ["## Duplicates\n", "No text occurs twice.\n"]
    lines = [
        "## Duplicates\n",
        "One copy of each text is kept: the first, and that of a held-out split before others.\n",
    ]
    for leak in rows["leakage"]:
        lines.append(
            f"**Leakage:** {leak['rows']:,} rows of {leak['removed_from']} were removed because {leak['kept_in']} has "
            "the same text.\n"
        )
    listed = [(*_place(row), _copy(row["kept"], row), *_as_it_came(row)) for row in rows["listed"]]
    lines.append(_listing(rows, "duplicate", "of each split"))
    lines.append(table(("file", "row", "kept copy", "label", "text"), listed, right=(1,)))
    return lines


def _normalised(rows: Mapping[str, Any]) -> list[str]:
    if not rows["rows"]:
        return ["## Kept, but normalised\n", "Every row that was kept was in normal form already.\n"]
    counts = [(change, f"{count:,}") for change, count in rows["changes"].items()]
    listed = [(row["changes"], *_place(row), *_as_it_came(row)) for row in rows["listed"]]
    return [
        "## Kept, but normalised\n",
        table(("what was changed", "rows"), counts, right=(1,)),
        _listing(rows, "changed row", "of each kind"),
        table(("what was changed", "file", "row", "label", "text as it came"), listed, right=(2,)),
    ]


def _classes(classes: Sequence[Mapping[str, Any]], splits: Mapping[str, int], without: int | None) -> list[str]:
    rows = []
    for entry in classes:
        cells = [escaped(visible(entry["class"])), f"{entry['rows']:,}", f"{entry['share']:.1%}"]
        for split in SPLITS:
            part = entry["splits"][split]
            cells.append(f"{part['rows']:,} ({part['share']:.1%}, {part['deviation'] * 100:+.1f})")
        rows.append(cells)
    total = sum(splits.values())
    rows.append(["all", f"{total:,}", "", *(f"{splits[split]:,} ({splits[split] / total:.1%})" for split in SPLITS)])
    several = [] if without is None else [f"A row may have several classes, or none: {without:,} rows have none.\n"]
    return [
        "## Classes\n",
        *several,
        "In brackets: the share of the split's rows, and by how many percentage points it deviates from all rows.\n",
        table(("class", "rows", "share", *SPLITS), rows, right=(1, 2, 3, 4, 5)),
    ]


def _lengths(lengths: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = list(next(iter(lengths.values())))
    rows = [(unit, *(f"{values[name]:,}" for name in names)) for unit, values in lengths.items()]
    return ["## Lengths\n", table(("unit", *names), rows, right=range(1, len(names) + 1))]


def _listing(rows: Mapping[str, Any], called: str, which: str) -> str:
    return f"Each {called}:\n" if rows["complete"] else f"The first {called}s {which}:\n"


def _file(row: Mapping[str, Any]) -> tuple[str, str]:
    return escaped(visible(row["source"])), row.get("split") or "one source"


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    split = f" ({row['split']})" if "split" in row else ""
    return escaped(visible(row["source"])) + split, str(row["row"])


def _copy(kept: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    file, number = _place(kept)
    return f"row {number}" if file == _place(row)[0] else f"{file}, row {number}"


def _why(row: Mapping[str, Any]) -> str:
    broken = f" ({escaped(visible(row['broken']))})" if "broken" in row else ""
    return Reason(row["reason"]).words + broken


def _as_it_came(row: Mapping[str, Any]) -> tuple[str, str]:
    return escaped(row["label"]), escaped(row["text"])
