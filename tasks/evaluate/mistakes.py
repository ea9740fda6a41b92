"""The mistakes that the classifier was surest of: often a wrong label, or a kind of text that it has not seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.answers import Answers

MOST = 50


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with the probabilities of what was predicted and of what is true."""

    key: bytes
    text: str
    label: str
    predicted: str
    probability: float
    probability_of_label: float


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
            text=test.texts[row],
            label=labels[test.truth[row]],
            predicted=labels[predicted[row]],
            probability=float(answer[predicted[row]]),
            probability_of_label=float(answer[test.truth[row]]),
        )
        for row, answer in zip(surest, probabilities, strict=True)
    ]
