"""How far figures would move with other test rows of the same kind: the percentile bootstrap (Efron 1979).

Accuracy and F1 follow from how often each combination of truth and predictions occurs. Drawing n rows with replacement
draws these counts from a multinomial distribution, so that the counts are drawn at once and no row is touched. All
predictions are counted in the same draws: differences between two classifiers are paired.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval that holds the middle 95 % of its resamples."""

    estimate: float
    low: float
    high: float


class Resamples:
    """Draws of the test rows, and the figures of several predictions in each draw.

    Args:
        truth: int[n], class indices.
        predictions: int[n] by name, class indices.
        classes: how many classes there are.
    """

    def __init__(
        self, truth: NDArray[np.integer], predictions: Mapping[str, NDArray[np.integer]], classes: int
    ) -> None:
        self._classes = classes
        table = np.stack([truth, *predictions.values()], axis=1)
        patterns, counts = np.unique(table, axis=0, return_counts=True)
        self._truth = patterns[:, 0]
        self._predicted = {name: patterns[:, column] for column, name in enumerate(predictions, start=1)}
        drawn = np.random.default_rng(_SEED).multinomial(len(truth), counts / len(truth), size=RESAMPLES)
        # The first line holds the rows as they are; then one line for each draw.
        self._counts = np.vstack([counts[None], drawn]).astype(np.float64)

    def accuracy(self, name: str) -> NDArray[np.float64]:
        """Share of right predictions: as it is, then in each draw."""
        right = self._predicted[name] == self._truth
        return np.asarray(self._counts[:, right].sum(axis=1) / self._counts.sum(axis=1))

    def f1(self, name: str) -> NDArray[np.float64]:
        """F1 of each class, float64[1 + draws, classes]: as it is, then in each draw; 0 where there is nothing."""
        predicted = self._predicted[name]
        right = self._counts @ self._indicator(np.where(predicted == self._truth, predicted, -1))
        both = self._counts @ (self._indicator(predicted) + self._indicator(self._truth))
        return np.asarray(np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0))

    def macro_f1(self, name: str) -> NDArray[np.float64]:
        """Mean F1 of the classes: as it is, then in each draw."""
        return np.asarray(self.f1(name).mean(axis=1))

    def _indicator(self, classes: NDArray[np.integer]) -> NDArray[np.float64]:
        return np.asarray(classes[:, None] == np.arange(self._classes), np.float64)


def interval(values: NDArray[np.float64]) -> Interval:
    """The interval of a figure.

    Args:
        values: float64[1 + draws], the figure as it is, then in each draw.

    Returns:
        Estimate and percentiles.
    """
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values[0]), float(low), float(high))
