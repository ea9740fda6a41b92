"""Decides of each raw row whether it is kept and, if not, for which one reason."""

import polars as pl

from hubtune.inference.pairs import BETWEEN
from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from schemas.rows import LEAST_WEIGHT, MOST_WEIGHT, Reason
from tasks.preprocess.contract import Contract
from tasks.preprocess.labels import read_labels
from tasks.preprocess.texts import REPLACEMENT_CHARACTER, text_columns

# Which copy of a text is kept where given splits share one: the test split stays as it was given.
_PRECEDENCE = {"test": 0, "validation": 1, "train": 2}


def judge(
    rows: pl.DataFrame, recipe: PreprocessRecipe, data: DataRecipe, contract: Contract | None = None
) -> pl.DataFrame:
    """Judge raw rows.

    Args:
        rows: columns of a `raw` artifact (row, source, split, text, label, `text_pair` where texts are pairs, and
            `weight` where there are weights), and what `read_texts` tells of them.
        recipe: how short and how long a normalised text may be.
        data: the class map (without one, each label is the name of its class), what becomes of other labels, and what
            stands between the labels of a row. Spaces around a label are no part of it.
        contract: what rows that are sound by themselves must also keep.

    Returns:
        The same rows in the same order, with these columns more: `index` (position), `classes` (their names), `unknown`
        (labels that have no class), `reason` (null: the row is kept), `broken` (which check of the contract it breaks)
        and `first_copy` (of a duplicate, the index of the copy that is kept; of a text with conflicting labels, the
        index of its first copy). Where there are weights, `counts` too (the weight as a number, null where the row
        needs none and has none).

    Raises:
        InvalidData: the rows as a whole break the contract.
    """
    # An empty string is no label.
    stripped = pl.col("label").str.strip_chars().replace({"": None})
    table = rows.with_row_index("index").with_columns(stripped.alias("stripped"))
    if "weight" in rows.columns:
        number = pl.col("weight").str.strip_chars().cast(pl.Float64, strict=False)
        table = table.with_columns(counts=pl.when(number.is_between(LEAST_WEIGHT, MOST_WEIGHT)).then(number))
    meanings = read_labels(table["stripped"], data.labels, data.label_separator, leave_out=data.unmapped == "drop")
    table = table.join(meanings, on="stripped", how="left", maintain_order="left")
    table = table.with_columns(_own_reason(table.columns, text_columns(rows), recipe, data).alias("reason"))
    table = _judge_by_contract(table, text_columns(rows), contract, data)
    return _judge_copies(table).drop("undecodable", "shortest", "longest", "stripped", "set")


def _own_reason(columns: list[str], texts: list[str], recipe: PreprocessRecipe, data: DataRecipe) -> pl.Expr:
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
        .when(pl.any_horizontal(pl.col(*texts).is_null()))
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


def _judge_by_contract(
    table: pl.DataFrame, texts: list[str], contract: Contract | None, data: DataRecipe
) -> pl.DataFrame:
    if contract is None:
        return table.with_columns(pl.lit(None, dtype=pl.String).alias("broken"))
    classes = pl.col("classes")
    label = classes.list.first() if data.label_separator is None else classes
    parts = pl.col("clean").str.split_exact(BETWEEN, 1).struct.rename_fields(["text", "text_pair"])
    clean = parts.struct.field(*texts) if len(texts) > 1 else pl.col("clean").alias("text")
    sound = table.filter(pl.col("reason").is_null()).select("index", clean, label=label)
    broken = contract.broken(sound)
    reason = pl.when(pl.col("broken").is_not_null()).then(pl.lit(Reason.BROKEN_CONTRACT.value)).otherwise("reason")
    return table.join(broken, on="index", how="left", maintain_order="left").with_columns(reason.alias("reason"))


def _judge_copies(table: pl.DataFrame) -> pl.DataFrame:
    sound = table.filter(pl.col("reason").is_null()).select("index", "clean", "set", "split")
    # Few texts occur more than once: only these are compared.
    several = sound.filter(pl.col("clean").is_duplicated())
    copies = (
        several.with_columns(rank(table.height).alias("rank"))
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
        table.join(copies, on="index", how="left", maintain_order="left")
        .with_columns(pl.coalesce("reason", "copy_reason").alias("reason"))
        .drop("copy_reason")
    )


def rank(rows: int) -> pl.Expr:
    """Of copies the first is kept: by split, then by position in the data. Splits that are not given rank alike."""
    return pl.col("split").replace_strict(_PRECEDENCE, default=0, return_dtype=pl.Int64) * rows + pl.col("index")
