"""Decides of each raw row whether it is kept and, if not, for which one reason.

No texts are needed for it, but for a contract of the user's own: what `read_texts` tells of them is enough.
"""

from collections.abc import Callable

import polars as pl

from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from schemas.rows import LEAST_WEIGHT, MOST_WEIGHT, REASONS, Reason
from tasks.preprocess.contract import Contract
from tasks.preprocess.labels import listed_names, read_labels
from tasks.preprocess.texts import REPLACEMENT_CHARACTER

# Which copy of a text is kept where given splits share one: the test split stays as it was given.
_PRECEDENCE = {"test": 0, "validation": 1, "train": 2}
# An index has 32 bits.
_MOST_ROWS = 2**32


def judge(rows: pl.DataFrame, recipe: PreprocessRecipe, data: DataRecipe) -> pl.DataFrame:
    """Judge each raw row by itself.

    Args:
        rows: their `index` (position in the data), columns of a `raw` artifact (row, source, split, label, and `weight`
            where there are weights), and what `read_texts` tells of the texts.
        recipe: how short and how long a normalised text may be.
        data: the class map (without one, each label is the name of its class), what becomes of other labels, and what
            stands between the labels of a row. Spaces around a label are no part of it.

    Returns:
        The same rows in the same order, with these columns more: `classes` and `unknown` (see `read_labels`), `reason`
        (null: the row is sound) and `broken` (null: no contract was asked yet). Where there are weights, `counts` too
        (the weight as a number, null where the row needs none and has none).
    """
    # An empty string is no label.
    stripped = pl.col("label").cast(pl.String).str.strip_chars().replace({"": None})
    table = rows.with_columns(stripped.alias("stripped"))
    if "weight" in rows.columns:
        number = pl.col("weight").str.strip_chars().cast(pl.Float64, strict=False)
        table = table.with_columns(counts=pl.when(number.is_between(LEAST_WEIGHT, MOST_WEIGHT)).then(number))
    meanings = read_labels(table["stripped"], data.labels, data.label_separator, leave_out=data.unmapped == "drop")
    table = table.join(meanings, on="stripped", how="left", maintain_order="left")
    table = table.with_columns(
        _own_reason(table.columns, recipe, data).cast(REASONS).alias("reason"),
        pl.lit(None, dtype=pl.Categorical).alias("broken"),
    )
    return table.drop("undecodable", "missing", "shortest", "longest", "stripped")


def _own_reason(columns: list[str], recipe: PreprocessRecipe, data: DataRecipe) -> pl.Expr:
    # In the order of the enumeration: the first that applies is the row's reason. Each text of a pair must be sound.
    unknown = pl.col("stripped").is_not_null() & pl.col("classes").is_null()
    # Rows that are given as held out count once, whatever they weigh.
    needed = pl.col("split").fill_null("train") == "train"
    out_of_range = needed & pl.col("counts").is_null() if "counts" in columns else pl.lit(False)
    # What is wrong with rows that are not wanted is of no interest. (Of several labels those that are not wanted have
    # been left out: what has no class then is no label at all.)
    dropped = pl.lit(data.unmapped == "drop" and data.label_separator is None)
    not_wanted = dropped & unknown & pl.col("stripped").str.contains(REPLACEMENT_CHARACTER, literal=True).not_()
    return (
        pl.when(not_wanted)
        .then(pl.lit(Reason.UNMAPPED_LABEL.value))
        .when("undecodable")
        .then(pl.lit(Reason.UNDECODABLE_BYTES.value))
        .when("missing")
        .then(pl.lit(Reason.NULL_TEXT.value))
        .when(pl.col("shortest") == 0)
        .then(pl.lit(Reason.BLANK_TEXT.value))
        .when(pl.col("shortest") < recipe.min_characters)
        .then(pl.lit(Reason.TOO_SHORT.value))
        .when(pl.col("longest") > recipe.max_characters)
        .then(pl.lit(Reason.TOO_LONG.value))
        .when(unknown)
        .then(pl.lit(Reason.UNKNOWN_LABEL.value))
        .when(pl.col("stripped").is_null())
        .then(pl.lit(Reason.MISSING_LABEL.value))
        .when(out_of_range)
        .then(pl.lit(Reason.WEIGHT_OUT_OF_RANGE.value))
    )


def judge_by_contract(
    judged: pl.DataFrame, contract: Contract | None, texts: Callable[[pl.DataFrame], pl.DataFrame], data: DataRecipe
) -> pl.DataFrame:
    """Judge the rows that are sound so far by a contract of the user's own.

    Args:
        judged: all rows.
        contract: what they must keep, if anything.
        texts: gives rows their normalised texts, as columns `text` and, of pairs, `text_pair`.
        data: says whether a row has one label.

    Returns:
        The same rows, with the check that a row breaks in `broken`.

    Raises:
        InvalidData: the rows as a whole break the contract.
    """
    if contract is None:
        return judged
    sound = judged.filter(pl.col("reason").is_null()).select("index", "classes")
    names = listed_names(sound["classes"])
    classes = {"classes": pl.Series(list(names), dtype=pl.Categorical)}
    label = pl.DataFrame(classes | {"label": pl.Series(list(names.values()), dtype=pl.List(pl.String))})
    if data.label_separator is None:
        label = label.with_columns(pl.col("label").list.first())
    sound = texts(sound.join(label, on="classes", how="left", maintain_order="left"))
    broken = contract.broken(sound.select("index", pl.col("^text(_pair)?$"), "label")).cast({"broken": pl.Categorical})
    breaks_it = pl.lit(Reason.BROKEN_CONTRACT.value, dtype=REASONS)
    reason = pl.when(pl.col("broken").is_not_null()).then(breaks_it).otherwise("reason")
    table = judged.drop("broken").join(broken, on="index", how="left", maintain_order="left")
    return table.with_columns(reason.alias("reason"))


def judge_copies(judged: pl.DataFrame) -> pl.DataFrame:
    """Judge the rows that are sound so far by each other: of each text one is kept, and none with conflicting labels.

    Args:
        judged: all rows, or some among which there are all copies of each text.

    Returns:
        The same rows, and with the column `first_copy` more: of a duplicate the index of the copy that is
        kept, of a text with conflicting labels the index of its first copy.
    """
    sound = judged.filter(pl.col("reason").is_null()).select("index", "key", "classes", "split")
    # Few texts occur more than once: only these are compared.
    several = sound.filter(pl.col("key").is_duplicated())
    copies = (
        several.with_columns(rank().alias("rank"))
        .with_columns(
            (pl.col("classes").n_unique().over("key") > 1).alias("conflict"),
            (pl.col("rank").min().over("key") % _MOST_ROWS).cast(pl.UInt32).alias("first_copy"),
        )
        .with_columns(
            pl.when("conflict")
            .then(pl.lit(Reason.CONFLICTING_LABELS.value))
            .when(pl.col("first_copy") != pl.col("index"))
            .then(pl.lit(Reason.DUPLICATE.value))
            .cast(REASONS)
            .alias("copy_reason")
        )
        .select(
            "index",
            "copy_reason",
            pl.when(pl.col("copy_reason").is_not_null()).then("first_copy").alias("first_copy"),
        )
    )
    return (
        judged.join(copies, on="index", how="left", maintain_order="left")
        .with_columns(pl.coalesce("reason", "copy_reason").alias("reason"))
        .drop("copy_reason")
    )


def rank() -> pl.Expr:
    """Of copies the first is kept: by split, then by position in the data. Splits that are not given rank alike."""
    return pl.col("split").replace_strict(_PRECEDENCE, default=0, return_dtype=pl.Int64) * _MOST_ROWS + pl.col("index")
