"""What a clean row must be, and the reasons for which a row is turned away.

`clean_rows`, `clean_keys` and `clean_splits` state the contract between preprocess and everything after it, as pandera
schemas; polars does the work.
"""

from collections.abc import Sequence
from enum import StrEnum

import pandera.polars as pa
import polars as pl

from hubtune.inference.normalise import normalise
from hubtune.inference.pairs import split_pair
from schemas.handoff import SPLITS
from schemas.train_recipe import Task

NORMALISED_ALREADY = r"^[!-~]+( [!-~]+)*$"
"""Words of visible ASCII characters, one space between two: `normalise` leaves such a text as it is. Most are such."""

LEAST_WEIGHT, MOST_WEIGHT = 1e-6, 1e6
"""What a row may count. Further apart, float32 could no longer add the losses up."""

# Hexadecimal digits of a key: blake2b with a digest of 16 bytes.
KEY_DIGITS = 32


class Reason(StrEnum):
    """Why a row is not among the clean ones. A row has one reason: the first that applies, in this order."""

    UNMAPPED_LABEL = "unmapped_label"
    UNDECODABLE_BYTES = "undecodable_bytes"
    NULL_TEXT = "null_text"
    BLANK_TEXT = "blank_text"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    UNKNOWN_LABEL = "unknown_label"
    MISSING_LABEL = "missing_label"
    WEIGHT_OUT_OF_RANGE = "weight_out_of_range"
    BROKEN_CONTRACT = "broken_contract"
    CONFLICTING_LABELS = "conflicting_labels"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"

    @property
    def words(self) -> str:
        """The reason in words: "undecodable bytes"."""
        return self.value.replace("_", " ")

    @property
    def sentence(self) -> str:
        """What the reason means, for whoever reads the report."""
        return _SENTENCES[self]


REASONS = pl.Enum(Reason)
"""The type of a column of reasons."""

NO_FAULTS = (Reason.UNMAPPED_LABEL, Reason.DUPLICATE, Reason.NEAR_DUPLICATE)
"""The reasons that are no fault of the data: one copy of a duplicate is kept, and a label that the recipe leaves out is
not wanted."""

QUARANTINE_REASONS = tuple(reason for reason in Reason if reason not in NO_FAULTS)
"""The reasons that count towards the quarantine limit."""

_SENTENCES = {
    Reason.UNMAPPED_LABEL: "The label is not one of those that data.labels maps to a class; data.unmapped drops it.",
    Reason.UNDECODABLE_BYTES: "The text or label holds bytes that are not UTF-8, here or in an earlier program.",
    Reason.NULL_TEXT: "There is no text at all, or only one of a pair.",
    Reason.BLANK_TEXT: "Nothing is left of the text, or of one of a pair, but spaces and invisible characters.",
    Reason.TOO_SHORT: "The text, or one of a pair, has fewer characters than preprocess.min_characters.",
    Reason.TOO_LONG: "The text, or one of a pair, has more characters than preprocess.max_characters.",
    Reason.UNKNOWN_LABEL: "The label is not one of those that data.labels maps to a class.",
    Reason.MISSING_LABEL: "There is no label.",
    Reason.WEIGHT_OUT_OF_RANGE: "The weight is not a number from 0.000001 to 1,000,000, or there is none.",
    Reason.BROKEN_CONTRACT: "The row breaks the contract that preprocess.contract names.",
    Reason.CONFLICTING_LABELS: "The same text, once normalised, occurs with different classes; no copy is kept.",
    Reason.DUPLICATE: "The same text, once normalised, occurs before or in a split that is held out; one copy is kept.",
    Reason.NEAR_DUPLICATE: "A text that is nearly the same and has the same classes is kept already.",
}


def clean_rows(
    classes: Sequence[str], task: Task = "multiclass", *, weighted: bool = False, pairs: bool = False
) -> pa.DataFrameSchema:
    """The contract of clean rows, each by itself: any part of them keeps it.

    Columns: `text`, `label`, `weight` where there are weights.

    Args:
        classes: the class names, in order.
        task: whether `label` is one class, or a list of classes.
        weighted: whether there is a column `weight`.
        pairs: whether each text is a pair of texts.

    Returns:
        The schema.
    """
    return pa.DataFrameSchema(
        {
            "text": pa.Column(
                pl.String,
                [
                    pa.Check.str_length(min_value=1),
                    pa.Check(_normalised_pairs if pairs else _normalised, error="text is normalised"),
                ],
            ),
            "label": _several_classes(len(classes)) if task == "multilabel" else _one_class(len(classes)),
            **({"weight": _weight()} if weighted else {}),
        },
        strict=True,
    )


def clean_keys() -> pa.DataFrameSchema:
    """The contract of the keys of clean rows, of all of them or of a part that holds all copies of each text.

    Column: `key` (in hexadecimal: pandera 0.35 panics when it reports on a frame with a Binary column). A key occurs
    once, so the splits are disjoint.

    Returns:
        The schema.
    """
    key = pa.Column(pl.String, pa.Check.str_length(KEY_DIGITS, KEY_DIGITS), unique=True)
    return pa.DataFrameSchema({"key": key}, strict=True)


def clean_splits(classes: Sequence[str], task: Task = "multiclass") -> pa.DataFrameSchema:
    """The contract of the clean rows of all splits together.

    Columns: `label`, `split`.

    Args:
        classes: the class names, in order.
        task: whether `label` is one class, or a list of classes.

    Returns:
        The schema.
    """
    several = task == "multilabel"

    def every_class(data: pa.PolarsData) -> pl.LazyFrame:
        labels = data.lazyframe.select("split", "label")
        memberships = labels.explode("label").drop_nulls() if several else labels
        return memberships.select(pl.struct("split", "label").n_unique() == len(SPLITS) * len(classes))

    return pa.DataFrameSchema(
        {
            "label": pa.Column(pl.List(pl.Int32) if several else pl.Int32),
            "split": pa.Column(pl.String, pa.Check.isin(list(SPLITS))),
        },
        checks=pa.Check(every_class, error="each split has rows of each class"),
        strict=True,
    )


def _weight() -> pa.Column:
    # Null: a row that is given as held out needs none.
    return pa.Column(pl.Float64, pa.Check.in_range(LEAST_WEIGHT, MOST_WEIGHT), nullable=True)


def _one_class(classes: int) -> pa.Column:
    return pa.Column(pl.Int32, pa.Check.in_range(0, classes - 1))


def _several_classes(classes: int) -> pa.Column:
    in_range = pl.element().is_between(0, classes - 1).fill_null(False)
    ascending = pl.element().diff().drop_nulls() > 0
    return pa.Column(
        pl.List(pl.Int32),
        [
            pa.Check(lambda data: _for_each(data, in_range), error="each label is a class"),
            pa.Check(lambda data: _for_each(data, ascending), error="labels are distinct and ascend"),
        ],
    )


def _for_each(data: pa.PolarsData, holds: pl.Expr) -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key).list.eval(holds).list.all())


def _normalised_pairs(data: pa.PolarsData) -> pl.LazyFrame:
    texts = data.lazyframe.select(data.key).collect().to_series()
    pairs = [None if text is None else split_pair(text) for text in texts.to_list()]
    sound = [pair is not None and all(map(_is_sound, pair)) for pair in pairs]
    return pl.LazyFrame({"normalised": sound}, schema={"normalised": pl.Boolean})


def _is_sound(text: str) -> bool:
    return text != "" and normalise(text) == text


def _normalised(data: pa.PolarsData) -> pl.LazyFrame:
    texts = data.lazyframe.select(data.key).collect().to_series()
    holds = texts.is_null() | texts.str.contains(NORMALISED_ALREADY)
    rest = holds.fill_null(True).not_().arg_true()
    return pl.LazyFrame(
        {"normalised": holds.scatter(rest, [normalise(text) == text for text in texts.gather(rest).to_list()])}
    )
