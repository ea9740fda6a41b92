"""Refuses data that is unusable as a whole, with a table that says why; and tells of data that comes near it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import polars as pl

from hubtune.errors import InvalidData, QuarantineLimitExceeded
from schemas.data_recipe import DataRecipe
from schemas.handoff import SPLITS, QuarantineFacts
from schemas.rows import QUARANTINE_REASONS, Reason
from tasks.http import shown
from tasks.preprocess.labels import listed_names, rows_of_each_class
from tasks.preprocess.visible import visible

# Classes that a message lists; a label column named by mistake can hold thousands.
_LISTED_CLASSES = 20
# The part of the limit beyond which somebody is to know of it before it fails a run.
_NEAR = 0.5


def refuse_too_many_bad_rows(
    judged: pl.DataFrame, limit: float, as_they_came: Callable[[pl.DataFrame], pl.DataFrame], where: str
) -> None:
    """Refuse data of which a larger share is bad than allowed. Duplicates, near ones too, do not count.

    Args:
        judged: all rows.
        limit: the share allowed.
        as_they_came: gives a few rows their texts, for the examples.
        where: the source, for the message.

    Raises:
        QuarantineLimitExceeded: with a table of reasons, counts and an example of each.
    """
    # Rows that are not wanted are no part of the whole.
    wanted = int((judged["reason"] != Reason.UNMAPPED_LABEL.value).fill_null(True).sum())
    is_bad = pl.col("reason").is_in([reason.value for reason in QUARANTINE_REASONS])
    bad = judged.select(is_bad.sum()).item()
    if bad <= limit * wanted:
        return
    first_ones = as_they_came(judged.filter(is_bad).unique("reason", keep="first"))
    examples = {row["reason"]: row for row in first_ones.iter_rows(named=True)}
    counts = dict(judged.filter(is_bad)["reason"].value_counts().iter_rows())
    lines = [("reason", "rows", "share", "for example")]
    for reason in QUARANTINE_REASONS:
        if reason.value not in examples:
            continue
        first, rows = examples[reason.value], counts[reason.value]
        label, text = visible(first["label"], 20), visible(first["text"], 50)
        weight = f", weight {visible(first['weight'], 20)}" if reason == Reason.WEIGHT_OUT_OF_RANGE else ""
        example = f"{first['source']}, row {first['row']}: label {label}{weight}, text {text}"
        lines.append((reason.words, f"{rows:,}", f"{rows / wanted:.1%}", example))
    raise QuarantineLimitExceeded(
        f"{bad:,} of {wanted:,} rows are bad ({bad / wanted:.2%}), and preprocess.max_quarantine allows "
        f"{limit:.2%}:\n{_columns(lines)}",
        where=where,
        remedy=_remedy(judged),
    )


def described(data: DataRecipe) -> str:
    """The source of the rows, for messages."""
    return ", ".join(f"data.{field}: {shown(handle, patterns=True)}" for field, handle in data.handles.items())


def much_in_quarantine(facts: QuarantineFacts, limit: float) -> str | None:
    """Tell of rows in quarantine whose share is more than half of what is allowed.

    Args:
        facts: of the rows.
        limit: the share allowed.

    Returns:
        Counts, shares and limit in a sentence; None if the share is not that large.
    """
    wanted = max(1, facts.rows_in - facts.dropped)
    share = facts.quarantined / wanted
    if not facts.quarantined or share <= _NEAR * limit:
        return None
    often_first = sorted(facts.reasons.items(), key=lambda each: -each[1])
    reasons = ", ".join(f"{Reason(reason).words} {rows / wanted:.2%} ({rows:,})" for reason, rows in often_first)
    return (
        f"{facts.quarantined:,} of {wanted:,} rows are in quarantine ({share:.2%}), and preprocess.max_quarantine "
        f"allows {limit:.2%}: {reasons}"
    )


def refuse_missing_classes(kept: pl.DataFrame, classes: Sequence[str], where: str, dropped: int = 0) -> None:
    """Refuse fewer than two classes, a split that lacks rows of a class, and a class that every training row has.

    Args:
        kept: the rows that are kept, with their `assigned` split.
        classes: class names in order.
        where: the source, for the message.
        dropped: rows that are not kept since their label is not wanted.

    Raises:
        InvalidData: with a table of rows by class and split.
    """
    counts = rows_of_each_class(kept)
    found = sorted({name for _, name in counts})
    if len(found) < 2:
        raise InvalidData(
            f"A classifier needs at least two classes; the {kept.height:,} clean rows have "
            f"{f'one: {visible(found[0], 40)!r}' if found else 'none'}{_not_wanted(dropped)}.",
            where=where,
            remedy="Add rows of another class, or correct data.label and data.labels.",
        )
    if len(counts) == len(SPLITS) * len(classes):
        _refuse_a_class_of_all(counts, kept, classes, where)
        return
    scarce_first = sorted(classes, key=lambda name: sorted(counts.get((split, name), 0) for split in SPLITS))
    lines = [("class", *SPLITS)]
    for name in scarce_first[:_LISTED_CLASSES]:
        lines.append((visible(name, 40), *(f"{counts.get((split, name), 0):,}" for split in SPLITS)))
    if len(classes) > _LISTED_CLASSES:
        lines.append((f"and {len(classes) - _LISTED_CLASSES:,} more",))
    raise InvalidData(
        f"Each split needs rows of each class, and some have none{_not_wanted(dropped)}:\n{_columns(lines)}",
        where=where,
        remedy="Add rows of that class, merge classes in data.labels, raise preprocess.validation_fraction or "
        "preprocess.test_fraction, or give the splits as files (data.train, data.validation, data.test).",
    )


def _refuse_a_class_of_all(
    counts: Mapping[tuple[str, str], int], kept: pl.DataFrame, classes: Sequence[str], where: str
) -> None:
    # It takes rows that have several classes.
    rows = int((kept["assigned"] == "train").sum())
    for name in classes:
        if counts["train", name] == rows:
            raise InvalidData(
                f"Each of the {rows:,} training rows has the class {visible(name, 40)!r}: there is none to tell it by.",
                where=where,
                remedy="Add rows that do not have it, or take the label out of the data.",
            )


def _remedy(judged: pl.DataFrame) -> str:
    bad = judged.filter(pl.col("reason") == Reason.UNKNOWN_LABEL.value)
    names, unknown = listed_names(bad["unknown"]), Counter[str]()
    for listed, rows in bad["unknown"].drop_nulls().value_counts().iter_rows():
        unknown.update(dict.fromkeys(names[listed], rows))
    if not unknown:
        return "Repair the rows, or raise preprocess.max_quarantine."
    often = sorted(unknown, key=lambda value: (-unknown[value], value))[:5]
    values = ", ".join(repr(visible(value, 40)) for value in often)
    return f"Map the labels that are wanted in data.labels (unknown: {values}), repair the rows, or raise the limit."


def _not_wanted(dropped: int) -> str:
    return f" ({dropped:,} rows were dropped, since data.labels does not map their labels)" if dropped else ""


def _columns(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines if column < len(line)) for column in range(len(lines[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) for line in lines)
    return "\n".join(f"  {line}".rstrip() for line in padded)
