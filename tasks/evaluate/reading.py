"""How labels and logits are read: one class of several for each text, or each class for itself."""

from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hubtune.inference.classifier import DECISION
from schemas.train_recipe import Task


class Reading(Protocol):
    """What the truth and the logits of some rows mean.

    The truth of n rows is int32[n], class indices, where each row has one class, and bool[n, classes], the classes that
    it belongs to, where it may have several or none.
    """

    def truth(self, labels: pl.Series, classes: int) -> NDArray[Any]:
        """Read a column of labels.

        Args:
            labels: the column as it lies in an artifact.
            classes: how many classes there are.

        Returns:
            The truth.
        """

    def log_likelihoods(self, logits: NDArray[np.float64], truth: NDArray[Any]) -> NDArray[np.float64]:
        """How likely the truth of each row is; the log loss is the mean, with the other sign.

        Args:
            logits: float64[n, classes].
            truth: of the same rows.

        Returns:
            float64[n], natural logarithms.
        """

    def confidence(
        self, logits: NDArray[np.float64], truth: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The probabilities that calibration is about, and what they are probabilities of.

        Args:
            logits: float64[n, classes].
            truth: of the same rows.

        Returns:
            float64[m] and bool[m], whether what each probability is about is so.
        """


class Softmax:
    """Each text belongs to one class, and its probabilities add up to 1."""

    def truth(self, labels: pl.Series, classes: int) -> NDArray[np.int32]:
        """Class indices as they are: int32[n]."""
        return labels.to_numpy().astype(np.int32)

    def log_likelihoods(self, logits: NDArray[np.float64], truth: NDArray[Any]) -> NDArray[np.float64]:
        """Logarithm of the true class' probability: float64[n]."""
        return np.asarray(log_softmax(logits)[np.arange(len(truth)), truth])

    def confidence(
        self, logits: NDArray[np.float64], truth: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The highest probability of each row, and whether that class is the true one: of length n."""
        log_probabilities = log_softmax(logits)
        return np.exp(log_probabilities.max(axis=1)), np.asarray(log_probabilities.argmax(axis=1) == truth)


class Sigmoid:
    """A text belongs to any number of classes, and each has a probability of its own."""

    def truth(self, labels: pl.Series, classes: int) -> NDArray[np.bool_]:
        """Lists of class indices as bool[n, classes]."""
        belongs = np.zeros((len(labels), classes), np.bool_)
        rows = np.repeat(np.arange(len(labels)), labels.list.len().to_numpy())
        belongs[rows, labels.explode().drop_nulls().to_numpy()] = True  # an empty list is exploded to null
        return belongs

    def log_likelihoods(self, logits: NDArray[np.float64], truth: NDArray[Any]) -> NDArray[np.float64]:
        """Logarithm of the probability of what is so about each class, mean over the classes: float64[n]."""
        # log sigmoid(x) where the row belongs to the class, log sigmoid(-x) where it does not.
        return np.asarray(-np.logaddexp(0, np.where(truth, -logits, logits)).mean(axis=1))

    def confidence(
        self, logits: NDArray[np.float64], truth: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Every probability, and whether the row belongs to its class: of length n * classes."""
        return sigmoid(logits).ravel(), truth.ravel()


READINGS: dict[Task, Reading] = {"multiclass": Softmax(), "multilabel": Sigmoid()}


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the probabilities of one class of several, float64[n, classes]."""
    from scipy import special

    return np.asarray(special.log_softmax(logits, axis=1))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of each class for itself, float64[n, classes]."""
    from scipy import special

    return np.asarray(special.expit(logits))


def decide_each(logits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The classes that a text is said to belong to, bool[n, classes]: those whose probability is at least 0.5."""
    return np.asarray(sigmoid(logits) >= DECISION)
