"""What becomes of rows that are judged by themselves: copies are told from each other, and what is kept gets its split.

It is the same for a bucket of rows as for all of them, but for `exact_shares`: which rank a text has in its class is
for all rows to say.
"""

import polars as pl

from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from schemas.rows import clean_keys
from tasks.preprocess.judge import judge_copies
from tasks.preprocess.refuse import described
from tasks.preprocess.split import split_by_position, split_exactly
from tasks.preprocess.write_rows import keep_contract


def settle(judged: pl.DataFrame, recipe: PreprocessRecipe, data: DataRecipe) -> pl.DataFrame:
    """Judge rows by each other, and assign them to splits where each row alone decides that.

    Args:
        judged: rows that are judged by themselves, with all copies of each text: all rows, or a bucket of them.
        recipe: shares of the splits.
        data: which splits are given.

    Returns:
        The same rows without `key`. With `assigned`, the split that they go to if they are kept; or with `position`
        still, where `assign` has to ask all rows that are kept.

    Raises:
        InvalidData: two rows that are kept have the same text, which is a fault of hubtune.
    """
    judged = judge_copies(judged)
    keys = judged.filter(pl.col("reason").is_null()).select(pl.col("key").bin.encode("hex"))
    keep_contract(clean_keys(), keys, described(data))
    judged = judged.drop("key")
    return judged if recipe.exact_shares else assign(judged, recipe, data)


def assign(rows: pl.DataFrame, recipe: PreprocessRecipe, data: DataRecipe) -> pl.DataFrame:
    """Assign rows to splits.

    Args:
        rows: with their `position`; with `exact_shares`, all rows that are kept, and no others.
        recipe: shares of the splits.
        data: which splits are given.

    Returns:
        The rows with `assigned` in place of `position`.
    """
    given = pl.col("split")
    if data.validation is not None:
        return rows.with_columns(given.alias("assigned")).drop("position")
    if data.train is None:
        return rows.with_columns(_cut(rows, recipe, recipe.test_fraction)).drop("position")
    # The test split is given, the validation split is not: it is cut out of the training rows. With `exact_shares`
    # these are ranked within their classes, in which test rows must not count.
    in_training = rows.with_columns(pl.when(given == "train").then("classes").alias("classes"))
    cut = pl.when(given == "test").then(given.cast(pl.String)).otherwise(_cut(in_training, recipe, 0.0))
    return rows.with_columns(cut.alias("assigned")).drop("position")


def _cut(rows: pl.DataFrame, recipe: PreprocessRecipe, test_fraction: float) -> pl.Series:
    if recipe.exact_shares:
        return split_exactly(rows["position"], rows["classes"], recipe.validation_fraction, test_fraction)
    return split_by_position(rows["position"], recipe.validation_fraction, test_fraction)
