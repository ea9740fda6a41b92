"""Decides of each raw row whether it is kept and, if not, for which one reason."""

from collections.abc import Mapping

import polars as pl

from hubtune.inference.normalise import normalise
from schemas.rows import NORMALISED_ALREADY, Reason
from tasks.preprocess.labels import read_labels
from tasks.preprocess.split import text_key

REPLACEMENT_CHARACTER = "\ufffd"

# Which copy of a text is kept where given splits share one: the test split stays as it was given.
_PRECEDENCE = {"test": 0, "validation": 1, "train": 2}


def judge(
    rows: pl.DataFrame, classes: Mapping[str, str] | None, max_characters: int, separator: str | None = None
) -> pl.DataFrame:
    """Judge raw rows.

    Args:
        rows: columns of a `raw` artifact (row, source, split, text, label).
        classes: raw label -> class name; None: each label is the name of its class. Spaces around a label are no
            part of it.
        max_characters: normalised texts with more characters are too long.
        separator: what stands between the labels of a row; None: a row has one.

    Returns:
        The same rows in the same order, with these columns more: `index` (position), `clean` (the normalised text, null
        where it cannot be read), `classes` (their names), `unknown` (labels that have no class), `key` (of the text;
        null where the row is bad by itself), `reason` (null: the row is kept) and `first_copy` (of a duplicate, the
        index of the copy that is kept; of a text with conflicting labels, the index of its first copy).
    """
    table = rows.with_row_index("index").with_columns(
        undecodable=pl.any_horizontal(
            pl.col("text", "label").str.contains(REPLACEMENT_CHARACTER, literal=True).fill_null(False)
        ),
        # An empty string is no label.
        stripped=pl.col("label").str.strip_chars().replace({"": None}),
    )
    meanings = read_labels(table["stripped"], classes, separator)
    table = table.with_columns(_normalised(table)).join(meanings, on="stripped", how="left", maintain_order="left")
    table = table.with_columns(_own_reason(max_characters).alias("reason"))
    return _judge_copies(table).drop("undecodable", "stripped", "set")


def _normalised(table: pl.DataFrame) -> pl.Series:
    texts = table.select(pl.when(pl.col("undecodable").not_()).then("text").alias("clean"))["clean"]
    # Most texts are left as they are, and Polars finds them on all cores; the others go one by one.
    rest = texts.str.contains(NORMALISED_ALREADY).not_().fill_null(False).arg_true()
    return texts.scatter(rest, [normalise(text) for text in texts.gather(rest).to_list()])


def _own_reason(max_characters: int) -> pl.Expr:
    # In the order of the enumeration: the first that applies is the row's reason.
    return (
        pl.when("undecodable")
        .then(pl.lit(Reason.UNDECODABLE_BYTES.value))
        .when(pl.col("text").is_null())
        .then(pl.lit(Reason.NULL_TEXT.value))
        .when(pl.col("clean") == "")
        .then(pl.lit(Reason.BLANK_TEXT.value))
        .when(pl.col("clean").str.len_chars() > max_characters)
        .then(pl.lit(Reason.TOO_LONG.value))
        .when(pl.col("stripped").is_not_null() & pl.col("classes").is_null())
        .then(pl.lit(Reason.UNKNOWN_LABEL.value))
        .when(pl.col("stripped").is_null())
        .then(pl.lit(Reason.MISSING_LABEL.value))
    )


def _judge_copies(table: pl.DataFrame) -> pl.DataFrame:
    sound = table.filter(pl.col("reason").is_null()).select("index", "clean", "set", "split")
    sound = sound.with_columns(pl.Series("key", [text_key(text) for text in sound["clean"].to_list()], dtype=pl.Binary))
    # Few texts occur more than once: only these are compared.
    several = sound.filter(pl.col("clean").is_duplicated())
    # A copy's rank: its split first, then its position in the data. Splits that are not given rank alike.
    rank = pl.col("split").replace_strict(_PRECEDENCE, default=0, return_dtype=pl.Int64) * table.height + pl.col(
        "index"
    )
    copies = (
        several.with_columns(rank.alias("rank"))
        .with_columns(
            (pl.col("set").n_unique().over("clean") > 1).alias("conflict"),
            (pl.col("rank").min().over("clean") % max(table.height, 1)).alias("first_copy"),
        )
        .with_columns(
            pl.when("conflict")
            .then(pl.lit(Reason.CONFLICTING_LABELS.value))
            .when(pl.col("first_copy") != pl.col("index"))
            .then(pl.lit(Reason.DUPLICATE.value))
            .alias("copy_reason")
        )
        .select(
            "index",
            "copy_reason",
            pl.when(pl.col("copy_reason").is_not_null()).then("first_copy").alias("first_copy"),
        )
    )
    return (
        table.join(sound.select("index", "key"), on="index", how="left", maintain_order="left")
        .join(copies, on="index", how="left", maintain_order="left")
        .with_columns(pl.coalesce("reason", "copy_reason").alias("reason"))
        .drop("copy_reason")
    )
