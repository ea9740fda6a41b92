"""How good predictions are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.handoff import Metrics


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one split, with what they are made of.

    Args:
        metrics: the figures in brief.
        per_class: precision, recall, f1 and support by class name.
        confusion_matrix: rows are the true classes, columns the predicted ones, both in class order.
    """

    metrics: Metrics
    per_class: dict[str, dict[str, float]]
    confusion_matrix: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        """The evaluation as JSON values."""
        matrix = {"per_class": self.per_class, "confusion_matrix": self.confusion_matrix}
        return self.metrics.model_dump() | matrix


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Softmax.

    Args:
        logits: float32[n, classes].

    Returns:
        float32[n, classes]; each row sums to 1.
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float32)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def evaluate(logits: npt.NDArray[np.float32], truth: npt.NDArray[np.int32], labels: Sequence[str]) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        logits: float32[n, classes].
        truth: int32[n], class indices.
        labels: class names in class order.

    Returns:
        Loss (mean cross-entropy in nats, every row counting the same), accuracy, macro-F1 (a class that neither occurs
        nor is predicted counts 0, as in scikit-learn), figures per class, confusion matrix.
    """
    from scipy.special import log_softmax
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = np.arange(len(labels))
    predicted = logits.argmax(axis=1)
    loss = -float(log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(truth)), truth].mean())
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=0.0
    )
    metrics = Metrics(
        rows=len(truth), loss=loss, accuracy=float((predicted == truth).mean()), macro_f1=float(f1.mean())
    )
    per_class = {
        label: {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": int(support[index]),
        }
        for index, label in enumerate(labels)
    }
    return Evaluation(metrics, per_class, confusion_matrix(truth, predicted, labels=classes).tolist())
