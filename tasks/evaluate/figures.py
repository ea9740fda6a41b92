"""Drawings for the report. Equal figures give equal bytes: no date, no random ids, no style of the machine."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schemas.handoff import Split
from tasks.document import Figure, visible
from tasks.drawing import drawing
from tasks.evaluate.answers import Answers
from tasks.evaluate.calibration import Calibration
from tasks.evaluate.evaluation import Evaluation, MultilabelEvaluation
from tasks.evaluate.metrics import ClassFigures, MultilabelFigures, SeparateClassFigures, SplitFigures
from tasks.evaluate.reading import log_softmax
from tasks.evaluate.threshold import Threshold, metric_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import LegendLocType

# With more classes, curves can no longer be told apart: those with the smallest area are drawn.
_MOST_CURVES = 8
_MOST_POINTS = 300
_LABEL_CHARACTERS = 24
_INCHES = (4.8, 3.8)  # legible when a phone shows it in its full width
_PLACE = (0.14, 0.13, 0.83, 0.84)  # of axes whose numbers have two decimals


@dataclass(frozen=True)
class Figures:
    """The drawings; `threshold` with two classes only, the curves where the test split has a class and others."""

    curves: list[Figure]
    reliability: Figure
    threshold: Figure | None


def draw(evaluation: Evaluation, answers: Mapping[Split, Answers], positive: int | None) -> Figures:
    """Draw everything.

    Args:
        evaluation: the figures.
        answers: the validation and the test split.
        positive: index of the positive class; None with more than two classes.

    Returns:
        The drawings.
    """
    test = answers["test"]
    scores = log_softmax(test.logits)
    belongs = test.truth[:, None] == np.arange(len(evaluation.labels))
    drawn = _classes_drawn(evaluation.splits["test"], evaluation.labels, positive)
    threshold = None
    if evaluation.threshold is not None and positive is not None:
        threshold = _threshold(evaluation.threshold, answers, positive)
    return Figures(
        curves=[_roc(scores, belongs, drawn), _precision_recall(scores, belongs, drawn)] if drawn else [],
        reliability=_reliability(evaluation.calibration, _OF_PREDICTIONS),
        threshold=threshold,
    )


def draw_multilabel(evaluation: MultilabelEvaluation, test: Answers) -> Figures:
    """Draw everything where a text may belong to several classes.

    Args:
        evaluation: the figures.
        test: the test split.

    Returns:
        The drawings.
    """
    drawn = _classes_drawn(evaluation.splits["test"], evaluation.labels, None)
    curves = [_roc(test.logits, test.truth, drawn), _precision_recall(test.logits, test.truth, drawn)] if drawn else []
    return Figures(curves, _reliability(evaluation.calibration, _OF_EACH_CLASS), threshold=None)


@dataclass(frozen=True)
class _Curve:
    index: int
    label: str
    roc_auc: float
    pr_auc: float


def _classes_drawn(test: SplitFigures | MultilabelFigures, labels: Sequence[str], positive: int | None) -> list[_Curve]:
    per_class: Iterable[ClassFigures | SeparateClassFigures] = test.per_class.values()
    curves = [
        _Curve(index, visible(labels[index], _LABEL_CHARACTERS), figures.roc_auc, figures.pr_auc)
        for index, figures in enumerate(per_class)
        if figures.roc_auc is not None and figures.pr_auc is not None and positive in (None, index)
    ]
    weakest = sorted(curves, key=lambda curve: curve.pr_auc)[:_MOST_CURVES]
    return sorted(weakest, key=lambda curve: curve.index)


def _roc(scores: NDArray[np.float64], belongs: NDArray[np.bool_], drawn: Sequence[_Curve]) -> Figure:
    from sklearn.metrics import roc_curve

    with _axes("false positive rate", "true positive rate (recall)") as (axes, svg):
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label=f"{0.5:.3f}  chance")
        for curve in drawn:
            false, true, _ = roc_curve(belongs[:, curve.index], scores[:, curve.index])
            axes.plot(*_thinned(false, true), label=f"{curve.roc_auc:.3f}  {curve.label}")
        _legend(axes, "area", "lower right")
    return Figure(svg.getvalue(), "ROC curve on the test split, each class against all others")


def _precision_recall(scores: NDArray[np.float64], belongs: NDArray[np.bool_], drawn: Sequence[_Curve]) -> Figure:
    from sklearn.metrics import precision_recall_curve

    with _axes("recall", "precision") as (axes, svg):
        for curve in drawn:
            precision, recall, _ = precision_recall_curve(belongs[:, curve.index], scores[:, curve.index])
            axes.plot(*_thinned(recall, precision), label=f"{curve.pr_auc:.3f}  {curve.label}")
        if len(drawn) == 1:
            share = float(belongs[:, drawn[0].index].mean())
            axes.axhline(share, linestyle=":", color="grey", label=f"{share:.3f}  chance")
        _legend(axes, "area", "lower left")
    return Figure(svg.getvalue(), "Precision-recall curve on the test split, each class against all others")


@dataclass(frozen=True)
class _Calibrated:
    """What the reliability diagram is about: the words on its axes, and what a mark stands for."""

    x: str
    y: str
    mark: str


_OF_PREDICTIONS = _Calibrated("confidence", "share of right answers", "rows")
_OF_EACH_CLASS = _Calibrated("probability", "share of rows of the class", "probabilities")


def _reliability(calibration: Calibration, words: _Calibrated) -> Figure:
    with _axes(words.x, words.y) as (axes, svg):
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="as it should be")
        for name, marker, part in (
            ("as it is", "o", calibration.before["test"]),
            (f"at temperature {calibration.temperature:.2f}", "s", calibration.after["test"]),
        ):
            x, y = [each.confidence for each in part.bins], [each.accuracy for each in part.bins]
            (line,) = axes.plot(x, y, label=f"{name}: ECE {part.expected_calibration_error:.3f}")
            # The area of a mark is the share of the rows: a lone row far off is no reason to worry.
            share = np.array([each.rows for each in part.bins]) / sum(each.rows for each in part.bins)
            axes.scatter(x, y, s=10 + 250 * share, marker=marker, color=line.get_color(), alpha=0.6)
        _legend(axes, "", "upper left")
    return Figure(
        svg.getvalue(), f"Reliability diagram of the test split; the larger a mark, the more {words.mark} it stands for"
    )


def _threshold(threshold: Threshold, answers: Mapping[Split, Answers], positive: int) -> Figure:
    name = {"f1": "F1", "balanced_accuracy": "balanced accuracy", "mcc": "Matthews' correlation"}[threshold.metric]
    grid = np.linspace(0, 1, 201)
    # The axis of a correlation is as wide as its values: its numbers may have any length.
    with _axes("threshold", name, None if threshold.metric == "mcc" else _PLACE) as (axes, svg):
        for split, part in answers.items():
            scores = np.exp(log_softmax(part.logits)[:, positive])
            axes.plot(grid, metric_at(grid, scores, part.truth == positive, threshold.metric), label=split)
        axes.axvline(threshold.value, linestyle=":", color="grey", label=f"chosen: {threshold.value:.3f}")
        _legend(axes, "", "best")
        if threshold.metric == "mcc":
            axes.set_ylim(auto=True)
    return Figure(svg.getvalue(), f"{name} of “{visible(threshold.positive_class, 60)}” at every threshold")


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Points at equal distances along the curve: thousands of them would be megabytes, and look the same.
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], _MOST_POINTS)))
    return x[kept], y[kept]


def _legend(axes: "Axes", title: str, place: "LegendLocType") -> None:
    for text in axes.legend(title=title, loc=place).get_texts():
        text.set_parse_math(False)  # a class may be called "$a$"


@contextmanager
def _axes(
    x: str, y: str, place: tuple[float, float, float, float] | None = _PLACE
) -> Iterator[tuple["Axes", io.BytesIO]]:
    """Axes to draw on from 0 to 1; what was drawn is in the buffer afterwards."""
    with drawing(*_INCHES, place=place) as (axes, svg):
        axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        yield axes, svg
