"""How good the classifier is on parts of the test split: by length, and by every column that the rows carry."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.answers import Answers
from tasks.evaluate.bootstrap import LEVEL, Interval
from tasks.evaluate.comparison import Decided
from tasks.evaluate.threshold import binary_figures

# With fewer rows, the interval of the accuracy is wider than 0.2 at an accuracy of 0.85.
SMALL = 50
# Of a column with more values, the most frequent ones; the others are one slice.
MOST_VALUES = 30

OTHERS = "(all others)"
NO_VALUE = "(none)"


@dataclass(frozen=True)
class Slice:
    """One part of the test rows.

    `accuracy` has the Wilson score interval, which holds for few rows too (Brown, Cai and DasGupta 2001). `macro_f1` is
    the mean over the classes that occur in the slice or are predicted there, None where there are none of these;
    `f1_at_threshold` is None where no row is of the positive class, or where there is none.
    """

    by: str
    value: str
    rows: int
    small: bool
    accuracy: Interval
    macro_f1: float | None
    f1_at_threshold: float | None


def slices(test: Answers, decided: Decided, positive: int | None) -> list[Slice]:
    """Judge every slice.

    Args:
        test: the test rows.
        decided: what the classifier decides on them.
        positive: index of the positive class; None with more than two classes.

    Returns:
        Quarters by length, shortest first, then the values of each column, most frequent first.
    """

    def judge(inside: NDArray[np.bool_]) -> _Judged:
        truth, predicted = test.truth[inside], decided.likeliest[inside]
        f1 = None
        if decided.at_threshold is not None and (truth == positive).any():
            f1 = binary_figures(truth == positive, decided.at_threshold[inside] == positive).f1
        return _Judged(int((truth == predicted).sum()), _macro_f1(truth, predicted, None), f1)

    return _sliced(test, judge)


def multilabel_slices(test: Answers, predicted: NDArray[np.bool_]) -> list[Slice]:
    """Judge every slice of rows that may belong to several classes.

    Args:
        test: the test rows.
        predicted: bool[n, classes], the classes that each is said to belong to.

    Returns:
        As `slices`; `accuracy` is about whole sets of classes.
    """

    def judge(inside: NDArray[np.bool_]) -> _Judged:
        truth, said = test.truth[inside], predicted[inside]
        occurring = np.flatnonzero((truth | said).any(axis=0))
        macro_f1 = _macro_f1(truth, said, occurring) if len(occurring) else None
        return _Judged(int((truth == said).all(axis=1).sum()), macro_f1, None)

    return _sliced(test, judge)


@dataclass(frozen=True)
class _Judged:
    right: int
    macro_f1: float | None
    f1_at_threshold: float | None


def _sliced(test: Answers, judge: Callable[[NDArray[np.bool_]], _Judged]) -> list[Slice]:
    found = []
    for by, value, inside in (*_lengths(test.texts), *_columns(test)):
        rows, judged = int(inside.sum()), judge(inside)
        found.append(
            Slice(
                by=by,
                value=value,
                rows=rows,
                small=rows < SMALL,
                accuracy=_accuracy(judged.right, rows),
                macro_f1=judged.macro_f1,
                f1_at_threshold=judged.f1_at_threshold,
            )
        )
    return found


def _lengths(texts: Sequence[str]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    lengths = np.array([len(text) for text in texts])
    # Where many texts have the same length, edges coincide and there are fewer than four slices.
    edges = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75, 1.0], method="lower"))
    low = int(lengths.min())
    for edge in edges:
        high = int(edge)
        name = f"{low:,} to {high:,} characters" if low < high else f"{high:,} characters"
        yield "length", name, (low <= lengths) & (lengths <= high)
        low = high + 1


def _columns(test: Answers) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    for column, given in test.columns.items():
        values = [NO_VALUE if value is None else value for value in given]
        # Equally frequent ones by name, so that the order does not depend on that of the rows.
        counted = sorted(Counter(values).items(), key=lambda entry: (-entry[1], entry[0]))
        listed = [value for value, _ in counted[:MOST_VALUES]]
        array = np.array(values, dtype=object)
        for value in listed:
            yield column, value, array == value
        if len(counted) > MOST_VALUES:
            yield column, OTHERS, ~np.isin(array, listed)


def _accuracy(right: int, rows: int) -> Interval:
    from scipy.stats import binomtest

    wilson = binomtest(right, rows).proportion_ci(LEVEL, method="wilson")
    return Interval(right / rows, float(wilson.low), float(wilson.high))


def _macro_f1(truth: NDArray[Any], predicted: NDArray[Any], classes: NDArray[np.integer] | None) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(truth, predicted, labels=classes, average="macro", zero_division=0.0))
