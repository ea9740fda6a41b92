"""How good the weights are on the validation split, after each epoch. The test split is left to `tasks.evaluate`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.inference.classifier import DECISION
from tasks.retrain.truth import Truth


@dataclass(frozen=True)
class ValidationMetrics:
    """What early stopping can watch.

    Args:
        loss: mean cross-entropy in nats, every row counting the same (where a row may have several classes, the mean
            over all of its decisions).
        accuracy: share of the rows that are classified as they are labelled (with exactly the classes that they have).
        macro_f1: mean of the classes' F1; a class that neither occurs nor is predicted counts 0, as in scikit-learn.
        weighted_f1: the same, each class counting as often as it occurs.
    """

    loss: float
    accuracy: float
    macro_f1: float
    weighted_f1: float


def validate(logits: npt.NDArray[np.float32], truth: Truth) -> ValidationMetrics:
    """Compare predictions with the truth.

    Args:
        logits: float32[n, classes].
        truth: int32[n], class indices; or float32[n, classes], 1 for the classes of a row.

    Returns:
        The metrics.
    """
    from sklearn.metrics import accuracy_score, f1_score

    predicted, log_likelihoods = _one_class(logits, truth) if truth.ndim == 1 else _several_classes(logits, truth)
    classes = np.arange(logits.shape[1])

    def f1(average: str) -> float:
        return float(f1_score(truth, predicted, labels=classes, average=average, zero_division=0.0))

    return ValidationMetrics(
        loss=-float(log_likelihoods.mean()),
        accuracy=float(accuracy_score(truth, predicted)),
        macro_f1=f1("macro"),
        weighted_f1=f1("weighted"),
    )


def _one_class(logits: npt.NDArray[np.float32], truth: Truth) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    from scipy.special import log_softmax

    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    return logits.argmax(axis=1), log_probabilities[np.arange(len(truth)), truth]


def _several_classes(logits: npt.NDArray[np.float32], truth: Truth) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    from scipy.special import expit, log_expit

    # The probability that a row has not a class is the sigmoid of the opposite logit.
    wide = logits.astype(np.float64)
    return (expit(wide) >= DECISION).astype(np.int32), log_expit(np.where(truth > 0, wide, -wide))
