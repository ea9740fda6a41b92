"""How much an example of each class counts in the loss."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from hubtune.errors import InvalidData, InvalidRecipe


def class_weights(
    wanted: Literal["balanced"] | Mapping[str, float] | None, labels: Sequence[str], train: npt.NDArray[np.int32]
) -> npt.NDArray[np.float32]:
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
            empty = labels[int(np.argmin(counts))]
            raise InvalidData(
                f"class {empty!r} has no training rows, so it has no balanced weight",
                where="train.class_weights: balanced",
                remedy="give rows of that class, leave it out of data.labels, or set the weights by name",
            )
        return np.asarray(len(train) / (len(labels) * counts), np.float32)
    unknown = [name for name in wanted if name not in labels]
    if unknown:
        raise InvalidRecipe(
            f"train.class_weights names {unknown[0]!r}, which is no class",
            where="train.class_weights",
            remedy=f"use the names of the classes: {', '.join(labels)}",
        )
    weights = np.array([wanted.get(name, 1.0) for name in labels])
    return np.asarray(weights * len(train) / (weights * counts).sum(), np.float32)
