"""The mistakes that the classifier was surest of: often a wrong label, or a kind of text that it has not seen."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.evaluate.answers import Answers
from tasks.evaluate.reading import decide_each, sigmoid

MOST = 50

# Columns of `mistakes.parquet`.
MISTAKES: dict[str, type[pl.DataType]] = {
    "key": pl.Binary,
    "id": pl.String,
    "text": pl.String,
    "label": pl.String,
    "predicted": pl.String,
    "probability": pl.Float64,
    "probability_of_label": pl.Float64,
}
WRONG_DECISIONS: dict[str, type[pl.DataType] | pl.DataType] = {
    "key": pl.Binary,
    "id": pl.String,
    "text": pl.String,
    "label": pl.String,
    "predicted": pl.Boolean,
    "probability": pl.Float64,
    "labels": pl.List(pl.String),
}


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with the probabilities of what was predicted and of what is true."""

    key: bytes
    id: str | None
    text: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float


@dataclass(frozen=True)
class WrongDecision:
    """A wrong decision about one class, where a text may belong to several.

    `predicted` says whether the text was said to belong to the class `label`, `probability` is that it does, and
    `labels` are the classes that it belongs to.
    """

    key: bytes
    id: str | None
    text: str
    label: str
    predicted: bool
    probability: float
    labels: list[str]


def confident_mistakes(test: Answers, log_probabilities: NDArray[np.float64], labels: list[str]) -> list[Mistake]:
    """The wrong answers with the highest probability.

    Args:
        test: the test rows.
        log_probabilities: float64[n, classes], the classifier's answers, natural logarithms.
        labels: class names in class order.

    Returns:
        At most 50, the surest first; equally sure ones in the order of their keys.
    """
    predicted = log_probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.truth)
    surest = wrong[np.argsort(-log_probabilities[wrong, predicted[wrong]], kind="stable")][:MOST]
    probabilities = np.exp(log_probabilities[surest])
    return [
        Mistake(
            key=test.keys[row],
            id=test.ids[row],
            text=test.texts[row],
            label=labels[test.truth[row]],
            predicted=labels[predicted[row]],
            probability=float(answer[predicted[row]]),
            probability_of_label=float(answer[test.truth[row]]),
        )
        for row, answer in zip(surest, probabilities, strict=True)
    ]


def confident_wrong_decisions(test: Answers, labels: list[str]) -> list[WrongDecision]:
    """The wrong decisions whose probability is the farthest from 0.5.

    Args:
        test: the test rows; a row may belong to several classes.
        labels: class names in class order.

    Returns:
        At most 50, the surest first; equally sure ones in the order of their keys, then in that of the classes.
    """
    predicted = decide_each(test.logits)
    rows, classes = np.nonzero(predicted != test.truth)
    # Logits part what probabilities close to 0 or 1 round to the same.
    surest = np.argsort(-np.abs(test.logits[rows, classes]), kind="stable")[:MOST]
    probabilities = sigmoid(test.logits)
    return [
        WrongDecision(
            key=test.keys[row],
            id=test.ids[row],
            text=test.texts[row],
            label=labels[index],
            predicted=bool(predicted[row, index]),
            probability=float(probabilities[row, index]),
            labels=[labels[each] for each in np.flatnonzero(test.truth[row])],
        )
        for row, index in zip(rows[surest], classes[surest], strict=True)
    ]
