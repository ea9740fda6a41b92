"""From which probability on a class is predicted: the positive one of two, or each where a row may belong to several.

With classes of very different size, 0.5 is seldom the best place to decide. The threshold is chosen on the validation
rows and applied to the test rows, so that the test figures stay those of rows that nothing was chosen on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hubtune.errors import InvalidRecipe
from schemas.handoff import Split

Metric = Literal["f1", "balanced_accuracy", "mcc"]


@dataclass(frozen=True)
class BinaryFigures:
    """How good decisions for or against the positive class are; `predicted` is how many were for it."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    balanced_accuracy: float
    mcc: float
    predicted: int


@dataclass(frozen=True)
class Threshold:
    """The threshold of a class, `positive_class`, and the figures at 0.5 and at the threshold on each split."""

    positive_class: str
    metric: Metric
    value: float
    at_half: dict[Split, BinaryFigures]
    at_threshold: dict[Split, BinaryFigures]


def positive_class(named: str | None, labels: list[str], training_labels: NDArray[np.int32]) -> int | None:
    """Which class is the positive one.

    Args:
        named: the recipe's `evaluate.positive_class`.
        labels: class names in class order.
        training_labels: int32[n], class indices of the training rows.

    Returns:
        Its index: the named class, or else the rarer one in training (the second of two that are equal). None with
        more than two classes.

    Raises:
        InvalidRecipe: a class is named that is not one of two.
    """
    if named is not None and (len(labels) != 2 or named not in labels):
        raise InvalidRecipe(
            f"evaluate.positive_class is {named!r}, which is not one of two classes; classes: {', '.join(labels)}",
            where="recipe, evaluate.positive_class",
            remedy="name one of two classes, or leave it out; the trained classifier is kept",
        )
    if len(labels) != 2:
        return None
    if named is not None:
        return labels.index(named)
    first, second = np.bincount(training_labels, minlength=2)
    return 0 if first < second else 1


def tune(
    name: str,
    scores: Mapping[Split, NDArray[np.float64]],
    belongs: Mapping[Split, NDArray[np.bool_]],
    metric: Metric,
) -> Threshold:
    """Choose the threshold of a class on the validation rows, and measure it on every split.

    Args:
        name: of the class.
        scores: float64[n] by split, its probability.
        belongs: bool[n] by split, whether the row is of that class.
        metric: what is made highest.

    Returns:
        Threshold and figures.
    """
    value = choose_threshold(scores["validation"], belongs["validation"], metric)
    return Threshold(
        positive_class=name,
        metric=metric,
        value=value,
        at_half={split: binary_figures(belongs[split], scores[split] >= 0.5) for split in scores},
        at_threshold={split: binary_figures(belongs[split], scores[split] >= value) for split in scores},
    )


def choose_threshold(scores: NDArray[np.float64], belongs: NDArray[np.bool_], metric: Metric) -> float:
    """The threshold that makes a metric highest.

    Tried are 0.5 and the middle between every two neighbouring scores, also with all and with none above. Of those that
    do equally well, the one nearest to 0.5 is taken.

    Args:
        scores: float64[n], probability of the positive class.
        belongs: bool[n], whether the row is of that class.
        metric: what is made highest.

    Returns:
        The threshold; scores of at least this much are positive.
    """
    distinct = np.concatenate([[0.0], np.unique(scores), [1.0]])
    lower, upper = distinct[:-1], distinct[1:]
    # Between neighbouring floats there is no middle: it is rounded to one of them, and the lower would not part them.
    candidates = np.append(np.where((lower + upper) / 2 > lower, (lower + upper) / 2, upper), 0.5)
    reached = metric_at(candidates, scores, belongs, metric)
    # Rounding must not decide between candidates that are equally good.
    best = candidates[reached >= reached.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def metric_at(
    thresholds: NDArray[np.float64], scores: NDArray[np.float64], belongs: NDArray[np.bool_], metric: Metric
) -> NDArray[np.float64]:
    """What a metric is at each of many thresholds.

    Args:
        thresholds: float64[m].
        scores: float64[n], probability of the positive class.
        belongs: bool[n], whether the row is of that class.
        metric: which metric.

    Returns:
        float64[m].
    """
    # Rows below each threshold, of either side.
    below_positive = np.searchsorted(np.sort(scores[belongs]), thresholds, side="left")
    below_negative = np.searchsorted(np.sort(scores[~belongs]), thresholds, side="left")
    positives, negatives = int(belongs.sum()), int((~belongs).sum())
    return _figures(positives - below_positive, negatives - below_negative, below_positive, below_negative)[metric]


def binary_figures(belongs: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> BinaryFigures:
    """Compare decisions with the truth.

    Args:
        belongs: bool[n], whether the row is of the positive class.
        predicted: bool[n], whether it is said to be.

    Returns:
        The figures; 0 for a ratio of 0 to 0.
    """
    counts = [
        np.array([(left & right).sum()])
        for left, right in ((belongs, predicted), (~belongs, predicted), (belongs, ~predicted), (~belongs, ~predicted))
    ]
    figures = {name: float(values[0]) for name, values in _figures(*counts).items()}
    return BinaryFigures(**figures, predicted=int(predicted.sum()))


def _figures(
    tp: NDArray[np.int64], fp: NDArray[np.int64], fn: NDArray[np.int64], tn: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    # By candidate: true and false positives, false and true negatives.
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    # The mean over the classes that occur, as in scikit-learn.
    sides = ((tp + fn) > 0).astype(float) + ((tn + fp) > 0).astype(float)
    # Floats before the product of four counts: integers would overflow from some 50,000 rows on.
    products = np.prod([(a + b).astype(np.float64) for a, b in ((tp, fp), (tp, fn), (tn, fp), (tn, fn))], axis=0)
    return {
        "accuracy": _ratio(tp + tn, tp + fp + fn + tn),
        "precision": _ratio(tp, tp + fp),
        "recall": recall,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "balanced_accuracy": _ratio(recall + specificity, sides),
        "mcc": _ratio(tp.astype(np.float64) * tn - fp.astype(np.float64) * fn, np.sqrt(products)),
    }


def _ratio(part: NDArray[np.generic], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    numerator, denominator = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
