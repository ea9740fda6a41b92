"""How much an example of each class counts in the loss."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hubtune.errors import InvalidData, InvalidRecipe
from tasks.retrain.truth import Truth

Wanted = Literal["balanced"] | Mapping[str, float] | None


def class_weights(wanted: Wanted, labels: Sequence[str], train: Truth) -> npt.NDArray[np.float32]:
    """The weight of each class in the training loss.

    `balanced` is n / (k * n_c) for n rows, k classes and n_c rows of class c (scikit-learn's formula; King & Zeng
    2001). Weights given by name (1 where none is given) are scaled so that they, too, are 1 on average over the
    training rows: only their ratios matter, and the size of the loss stays comparable.

    Args:
        wanted: the recipe's `train.class_weights`.
        labels: class names in class order.
        train: int32[n], the class of each training row.

    Returns:
        float32[classes].

    Raises:
        InvalidRecipe: a weight is given for a name that is no class.
        InvalidData: `balanced`, and a class has no training rows.
    """
    counts = np.bincount(train, minlength=len(labels))
    if wanted is None:
        return np.ones(len(labels), np.float32)
    if wanted == "balanced":
        if not counts.all():
            raise _no_balance(labels[int(np.argmin(counts))], "has no training rows")
        return np.asarray(len(train) / (len(labels) * counts), np.float32)
    _refuse_unknown(wanted, labels)
    weights = np.array([wanted.get(name, 1.0) for name in labels])
    return np.asarray(weights * len(train) / (weights * counts).sum(), np.float32)


def positive_weights(wanted: Wanted, labels: Sequence[str], train: Truth) -> npt.NDArray[np.float32]:
    """How much it counts in the training loss that a row has a class, where it may have several.

    `balanced` is the number of training rows without the class for each row with it, so that both sides weigh the same.
    Weights given by name (1 where none is given) are taken as they are: a class's weight is relative to 1, which is
    what a row without it counts.

    Args:
        wanted: the recipe's `train.class_weights`.
        labels: class names in class order.
        train: float32[n, classes], 1 for the classes of each training row.

    Returns:
        float32[classes].

    Raises:
        InvalidRecipe: a weight is given for a name that is no class.
        InvalidData: `balanced`, and no training row has a class, or all of them have.
    """
    if wanted is None:
        return np.ones(len(labels), np.float32)
    if wanted == "balanced":
        positives = train.sum(axis=0, dtype=np.float64)
        for name, rows in zip(labels, positives, strict=True):
            if rows in (0, len(train)):
                raise _no_balance(name, "has no training rows" if not rows else "is one of each training row")
        return np.asarray((len(train) - positives) / positives, np.float32)
    _refuse_unknown(wanted, labels)
    return np.array([wanted.get(name, 1.0) for name in labels], np.float32)


def _refuse_unknown(wanted: Mapping[str, float], labels: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise InvalidRecipe(
            f"train.class_weights names {unknown[0]!r}, which is no class",
            where="train.class_weights",
            remedy=f"use the names of the classes: {', '.join(labels)}",
        )


def _no_balance(name: str, why: str) -> InvalidData:
    return InvalidData(
        f"class {name!r} {why}, so it has no balanced weight",
        where="train.class_weights: balanced",
        remedy="give rows of that class, leave it out of data.labels, or set the weights by name",
    )
