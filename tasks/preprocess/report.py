"""The report on all rows: report.json for programs, report.md and report.html for people.

report.md is shown in the Prefect UI.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from schemas.handoff import SPLITS, Split
from schemas.recipe import PreprocessRecipe
from schemas.rows import QUARANTINE_REASONS, Reason
from schemas.train_recipe import Task
from tasks.document_html import html_page
from tasks.document_markdown import markdown_page
from tasks.preprocess.changes import KINDS
from tasks.preprocess.labels import NO_CLASSES, rows_of_each_class
from tasks.preprocess.listing import LISTED_IN_FULL, Listing, TurnedAway, listing
from tasks.preprocess.report_page import MOST_TOKENS, document
from tasks.preprocess.visible import visible

_QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}

_BINS = 16
# Word pieces of BERT's English vocabulary per word between spaces, among the longest hundredth of the texts: 1.14 on
# trec6, 1.23 on sst2, 1.25 on quora_insincere, 1.63 on tweeteval_sentiment.
_TOKENS_PER_WORD, _SPECIAL_TOKENS = 1.63, 2


def counts_by_reason(judged: pl.DataFrame) -> dict[Reason, int]:
    """How many rows have each reason, those that no row has included."""
    counts = dict(judged["reason"].drop_nulls().value_counts().iter_rows())
    return {reason: counts.get(reason.value, 0) for reason in Reason}


def write_report(
    judged: pl.DataFrame,
    kept: pl.DataFrame,
    away: TurnedAway,
    changed: pl.DataFrame,
    texts: pl.DataFrame,
    classes: Sequence[str],
    task: Task,
    recipe: PreprocessRecipe,
    folder: Path,
) -> None:
    """Write report.json, report.md and report.html.

    Args:
        judged: all rows.
        kept: the clean rows, with their `assigned` split.
        away: which of the others are shown.
        changed: the clean rows that normalising changed, with their `changes`.
        texts: `index` and `text` of all rows that are shown.
        classes: class names in order.
        task: whether a row has one class, or any number of them.
        recipe: what was replaced, and the limit.
        folder: where the files go.
    """
    splits = {split: int((kept["assigned"] == split).sum()) for split in SPLITS}
    report: dict[str, Any] = {
        "rows": _totals(judged, recipe.max_quarantine),
        "sources": _sources(judged),
        "dropped": _dropped(judged),
        "reasons": _reasons(judged),
        "quarantined": _listed(away.quarantined, texts, lambda row: _place(row) | _why(row) | _as_it_came(row)),
        "duplicates": _duplicates(away.duplicates, away.leaks[Reason.DUPLICATE], texts),
        "near_duplicates": _duplicates(away.near_duplicates, away.leaks[Reason.NEAR_DUPLICATE], texts),
        "normalised": _normalised(judged, changed, texts),
        "splits": splits,
        "classes": _classes(kept, classes, splits),
        "lengths": _lengths(kept),
        "words_per_text": _words_per_text(kept),
    }
    report["suggested_max_length"] = _tokens(report["lengths"]["words"]["p99"])
    if "counts" in kept.columns:
        weights = kept["counts"].drop_nulls().to_list()
        report["weights"] = {"min": min(weights), "mean": math.fsum(weights) / len(weights), "max": max(weights)}
    if task == "multilabel":
        report["none_of_the_classes"] = int((kept["classes"] == NO_CLASSES).sum())
    text = json.dumps(report, ensure_ascii=False, indent=2, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    written = document(report)
    (folder / "report.md").write_text(markdown_page(written), encoding="utf-8")
    (folder / "report.html").write_text(html_page(written), encoding="utf-8")


def _totals(judged: pl.DataFrame, limit: float) -> dict[str, Any]:
    counts = counts_by_reason(judged)
    quarantined = sum(counts[reason] for reason in QUARANTINE_REASONS)
    return {
        "in": judged.height,
        "out": judged.height - sum(counts.values()),
        "quarantined": quarantined,
        "duplicates": counts[Reason.DUPLICATE],
        "near_duplicates": counts[Reason.NEAR_DUPLICATE],
        "dropped": counts[Reason.UNMAPPED_LABEL],
        "quarantined_share": round(quarantined / max(1, judged.height - counts[Reason.UNMAPPED_LABEL]), 6),
        "max_quarantine": limit,
    }


def _sources(judged: pl.DataFrame) -> list[dict[str, Any]]:
    duplicate, near, dropped = (
        (pl.col("reason") == reason.value).fill_null(False)
        for reason in (Reason.DUPLICATE, Reason.NEAR_DUPLICATE, Reason.UNMAPPED_LABEL)
    )
    return (
        judged.group_by("source", "split", maintain_order=True)
        .agg(
            pl.len().alias("in"),
            pl.col("reason").is_null().sum().alias("kept"),
            pl.col("reason").is_in([reason.value for reason in QUARANTINE_REASONS]).sum().alias("quarantined"),
            duplicate.sum().alias("duplicates"),
            near.sum().alias("near_duplicates"),
            dropped.sum().alias("dropped"),
        )
        .to_dicts()
    )


def _dropped(judged: pl.DataFrame) -> list[dict[str, Any]]:
    labels = judged.filter(pl.col("reason") == Reason.UNMAPPED_LABEL.value)["label"].cast(pl.String).str.strip_chars()
    often = labels.value_counts(name="rows").sort("rows", "label", descending=[True, False]).head(LISTED_IN_FULL)
    return [{"label": visible(label), "rows": rows} for label, rows in often.iter_rows()]


def _reasons(judged: pl.DataFrame) -> list[dict[str, Any]]:
    counts = counts_by_reason(judged)
    return [
        {"reason": reason.value, "rows": counts[reason], "sentence": reason.sentence} for reason in QUARANTINE_REASONS
    ]


def _duplicates(copies: Listing, leaks: pl.DataFrame, texts: pl.DataFrame) -> dict[str, Any]:
    kept_texts = texts.select(first_copy="index", text_kept="text")
    kept = {"source_kept": "source", "row_kept": "row", "split_kept": "split"}

    def entry(row: dict[str, Any]) -> dict[str, Any]:
        copy = _place({name: row[column] for column, name in kept.items()})
        if row["reason"] == Reason.NEAR_DUPLICATE:
            copy |= {"text": visible(row["text_kept"]), "similarity": round(row["similarity"], 3)}
        return _place(row) | {"kept": copy} | _as_it_came(row)

    listed = Listing(copies.rows, copies.shown.join(kept_texts, on="first_copy", how="left", maintain_order="left"))
    return _listed(listed, texts, entry) | {"leakage": leaks.to_dicts()}


def _normalised(judged: pl.DataFrame, changed: pl.DataFrame, texts: pl.DataFrame) -> dict[str, Any]:
    # By position, which is what an index is: a join of all rows would take memory for each.
    place = judged.select("row", "source", "split", "label")[changed["index"]]
    changed = pl.concat([changed, place], how="horizontal")
    rows = listing(changed.with_columns(pl.col("changes").list.join(", ")), "changes")
    listed = _listed(rows, texts, lambda row: _place(row) | {"changes": row["changes"]} | _as_it_came(row))
    counts = dict(changed["changes"].explode().value_counts().iter_rows())
    return listed | {"changes": {kind: counts[kind] for kind in KINDS if kind in counts}}


def _classes(kept: pl.DataFrame, classes: Sequence[str], sizes: Mapping[Split, int]) -> list[dict[str, Any]]:
    counts = rows_of_each_class(kept)
    entries = []
    for name in classes:
        rows = {split: counts.get((split, name), 0) for split in SPLITS}
        share = sum(rows.values()) / kept.height
        splits = {
            split: {
                "rows": rows[split],
                "share": round(rows[split] / sizes[split], 6),
                "deviation": round(rows[split] / sizes[split] - share, 6),
            }
            for split in SPLITS
        }
        entries.append({"class": name, "rows": sum(rows.values()), "share": round(share, 6), "splits": splits})
    return entries


def _lengths(kept: pl.DataFrame) -> dict[str, dict[str, float]]:
    lengths = {unit: kept[unit] for unit in ("characters", "words")}
    return {
        unit: {name: int(values.quantile(q, "nearest") or 0) for name, q in _QUANTILES.items()}
        | {"mean": round(int(values.cast(pl.Int64).sum()) / kept.height, 1)}
        for unit, values in lengths.items()
    }


def _words_per_text(kept: pl.DataFrame) -> list[dict[str, Any]]:
    """A histogram: bins of equal width up to what 99 % of the texts have, and one for the rest."""
    words = kept["words"]
    width = max(1, math.ceil(int(words.quantile(0.99, "nearest") or 0) / _BINS))
    counts = dict(((words - 1) // width).clip(upper_bound=_BINS).value_counts().iter_rows())
    last = max(counts)
    bins = []
    for number in range(last + 1):
        first, end = number * width + 1, (number + 1) * width
        called = f"more than {number * width}" if number == _BINS else f"{first}" if width == 1 else f"{first} to {end}"
        bins.append({"words": called, "rows": counts.get(number, 0)})
    return bins


def _tokens(words: float) -> int:
    return min(MOST_TOKENS, 8 * math.ceil((_TOKENS_PER_WORD * words + _SPECIAL_TOKENS) / 8))


def _listed(rows: Listing, texts: pl.DataFrame, entry: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    complete = rows.shown.join(texts, on="index", how="left", maintain_order="left")
    listed = [entry(row) for row in complete.iter_rows(named=True)]
    return {"rows": rows.rows, "complete": rows.complete, "listed": listed}


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    place = {"source": row["source"], "row": row["row"]}
    return place if row["split"] is None else place | {"split": row["split"]}


def _why(row: Mapping[str, Any]) -> dict[str, Any]:
    why = {"reason": row["reason"]} | ({} if row["broken"] is None else {"broken": row["broken"]})
    return why | {"weight": visible(row["weight"])} if row["reason"] == Reason.WEIGHT_OUT_OF_RANGE.value else why


def _as_it_came(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": visible(row["label"]), "text": visible(row["text"])}
