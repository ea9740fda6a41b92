"""The truth of a split's rows: the class of each, or which of the classes each has."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hubtune.errors import InvalidRecipe
from schemas.train_recipe import Task

if TYPE_CHECKING:
    import polars as pl

Truth = npt.NDArray[np.int32 | np.float32]
"""int32[n], the class of each row; with `multilabel` float32[n, classes], 1 for the classes of a row and 0 for the
others."""

RowWeights = npt.NDArray[np.float32]
"""float32[n], how much each row counts in the loss: 1 on average, 0 for rows that are padding."""


def read_truth(labels: "pl.Series", classes: int) -> Truth:
    """The truth as training takes it.

    Args:
        labels: the `label` column of a `rows` or `tokens` artifact.
        classes: how many there are.

    Returns:
        int32[n] of a column of integers, float32[n, classes] of a column of lists.
    """
    import polars as pl

    if labels.dtype != pl.List:
        return labels.to_numpy().astype(np.int32, copy=False)
    truth = np.zeros((len(labels), classes), np.float32)
    if classes:
        rows = np.repeat(np.arange(len(labels)), labels.list.len().to_numpy())
        truth[rows, labels.explode().drop_nulls().to_numpy()] = 1
    return truth


def require_task(truth: Truth, task: Task) -> None:
    """Refuse rows that were made for the other task.

    Args:
        truth: of some rows.
        task: what is to be trained.

    Raises:
        InvalidRecipe: rows with one class each for `multilabel`, or the other way round.
    """
    found: Task = "multiclass" if truth.ndim == 1 else "multilabel"
    if found != task:
        raise InvalidRecipe(
            f"train.task is {task}, and the rows were made for {found}",
            where="train.task",
            remedy="run preprocess with the same recipe: data.label_separator belongs to multilabel, and to it alone",
        )


def label_column(truth: Truth) -> "pl.Series":
    """The `label` column that `read_truth` reads."""
    import polars as pl

    if truth.ndim == 1:
        return pl.Series(truth, dtype=pl.Int32)
    return pl.Series([np.flatnonzero(row).tolist() for row in truth], dtype=pl.List(pl.Int32))


def read_weights(weights: "pl.Series") -> RowWeights:
    """How much each training row counts: as the rows say, scaled to 1 on average, so that only their ratios matter.

    Args:
        weights: the `weight` column of the training rows of a `rows` or `tokens` artifact.

    Returns:
        float32[n].
    """
    values = weights.to_numpy().astype(np.float64)
    return np.asarray(values / values.mean(), np.float32)
