"""How good the weights are on the validation split, after each epoch. The test split is left to `tasks.evaluate`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ValidationMetrics:
    """What early stopping can watch.

    Args:
        loss: mean cross-entropy in nats, every row counting the same.
        accuracy: share of the rows that are classified as they are labelled.
        macro_f1: mean of the classes' F1; a class that neither occurs nor is predicted counts 0, as in scikit-learn.
        weighted_f1: the same, each class counting as often as it occurs.
    """

    loss: float
    accuracy: float
    macro_f1: float
    weighted_f1: float


def validate(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int32]) -> ValidationMetrics:
    """Compare predictions with the truth.

    Args:
        logits: float32[n, classes].
        truth: int32[n], class indices.

    Returns:
        The metrics.
    """
    from scipy.special import log_softmax
    from sklearn.metrics import f1_score

    classes = np.arange(logits.shape[1])
    predicted = logits.argmax(axis=1)
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)

    def f1(average: str) -> float:
        return float(f1_score(truth, predicted, labels=classes, average=average, zero_division=0.0))

    return ValidationMetrics(
        loss=-float(log_probabilities[np.arange(len(truth)), truth].mean()),
        accuracy=float((predicted == truth).mean()),
        macro_f1=f1("macro"),
        weighted_f1=f1("weighted"),
    )
