"""How far figures would move with other test rows of the same kind: the percentile bootstrap (Efron 1979).

Accuracy and F1 follow from how often each combination of truth and predictions occurs. Drawing n rows with replacement
draws these counts from a multinomial distribution, so that the counts are drawn at once and no row is touched. All
predictions are counted in the same draws: differences between two classifiers are paired. Where a row may belong to
several classes, each set of classes that occurs is numbered, as if it were a class.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
_SEED = 0
# Counts drawn at once, of all draws and combinations together: 80 MB.
_DRAWN_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval that holds the middle 95 % of its resamples."""

    estimate: float
    low: float
    high: float


class Resamples:
    """Draws of the test rows, and the figures of several predictions in each draw.

    Truth and predictions are codes: the index of a class, or of a set of classes (`coded`).

    Args:
        truth: int[n], codes.
        predictions: int[n] by name, codes.
        members: bool[codes, classes], which classes a code stands for.
    """

    def __init__(
        self,
        truth: NDArray[np.integer],
        predictions: Mapping[str, NDArray[np.integer]],
        members: NDArray[np.bool_],
    ) -> None:
        table = np.stack([truth, *predictions.values()], axis=1)
        patterns, counts = np.unique(table, axis=0, return_counts=True)
        belongs = members[patterns[:, 0]]
        tallies = {}
        for column, name in enumerate(predictions, start=1):
            said = members[patterns[:, column]]
            right = patterns[:, column] == patterns[:, 0]
            # Of each pattern: whether it is right; and for each class whether it is found, and on how many sides it is.
            tallies[name] = np.column_stack([right, belongs & said, belongs.astype(np.int8) + said])
        sums: dict[str, list[NDArray[np.float64]]] = {name: [] for name in predictions}
        for drawn in _draws(counts):
            for name, tally in tallies.items():
                sums[name].append(drawn @ tally.astype(np.float64))
        self._sums = {name: np.vstack(parts) for name, parts in sums.items()}
        self._rows, self._classes = len(truth), members.shape[1]

    def accuracy(self, name: str) -> NDArray[np.float64]:
        """Share of right predictions: as it is, then in each draw."""
        return np.asarray(self._sums[name][:, 0] / self._rows)

    def f1(self, name: str) -> NDArray[np.float64]:
        """F1 of each class, float64[1 + draws, classes]: as it is, then in each draw; 0 where there is nothing."""
        found, both = np.split(self._sums[name][:, 1:], [self._classes], axis=1)
        return np.asarray(np.divide(2 * found, both, out=np.zeros_like(both), where=both > 0))

    def macro_f1(self, name: str) -> NDArray[np.float64]:
        """Mean F1 of the classes: as it is, then in each draw."""
        return np.asarray(self.f1(name).mean(axis=1))


def _draws(counts: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """How often each pattern occurs, a line for each draw, in several pieces; the first line is about all rows."""
    yield counts[None].astype(np.float64)
    random = np.random.default_rng(_SEED)
    rows = int(counts.sum())
    most = max(1, _DRAWN_AT_ONCE // len(counts))
    for start in range(0, RESAMPLES, most):
        drawn = random.multinomial(rows, counts / rows, size=min(most, RESAMPLES - start))
        yield drawn.astype(np.float64)


def coded(
    truth: NDArray[np.bool_], predictions: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.integer], dict[str, NDArray[np.integer]], NDArray[np.bool_]]:
    """Number the sets of classes that occur.

    Args:
        truth: bool[n, classes], the classes that each row belongs to.
        predictions: bool[n, classes] by name.

    Returns:
        What `Resamples` takes: codes of the truth and of the predictions, and which classes each code stands for.
    """
    everything = np.concatenate([truth, *predictions.values()])
    # As bytes, which are compared at once: column by column it took 28 times as long, with 28 classes.
    packed = np.packbits(everything, axis=1)
    _, first, codes = np.unique(packed.view(f"V{packed.shape[1]}"), return_index=True, return_inverse=True)
    of_truth, *of_predictions = np.split(codes.ravel(), 1 + len(predictions))
    return of_truth, dict(zip(predictions, of_predictions, strict=True)), everything[first]


def interval(values: NDArray[np.float64]) -> Interval:
    """The interval of a figure.

    Args:
        values: float64[1 + draws], the figure as it is, then in each draw.

    Returns:
        Estimate and percentiles.
    """
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values[0]), float(low), float(high))
