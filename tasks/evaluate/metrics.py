"""How good answers are on one split, by scikit-learn's definitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.handoff import Metrics
from tasks.evaluate.reading import Sigmoid, decide_each


@dataclass(frozen=True)
class ClassFigures:
    """One class against all others. The areas are None where the split has rows of one side only."""

    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    pr_auc: float | None


@dataclass(frozen=True)
class SplitFigures:
    """All figures of one split.

    `loss` is the mean cross-entropy in nats, every row counting the same. Macro figures are means over all classes;
    a class that neither occurs nor is predicted counts 0. Weighted ones weigh each class by its rows. With two classes
    `roc_auc` and `pr_auc` are those of the positive class, with more the mean over the classes that have one.
    `confusion_matrix` has a row for each true class and a column for each predicted one, both in class order.
    """

    rows: int
    loss: float
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    roc_auc: float | None
    pr_auc: float | None
    per_class: dict[str, ClassFigures]
    confusion_matrix: list[list[int]]

    def in_brief(self) -> Metrics:
        """The few of them that travel with the artifact."""
        return Metrics(rows=self.rows, loss=self.loss, accuracy=self.accuracy, macro_f1=self.macro_f1)


@dataclass(frozen=True)
class SeparateClassFigures:
    """One class where a row may belong to several: as `ClassFigures`, and how many decisions were of each kind."""

    precision: float
    recall: float
    f1: float
    support: int
    roc_auc: float | None
    pr_auc: float | None
    tp: int
    fp: int
    fn: int
    tn: int


@dataclass(frozen=True)
class MultilabelFigures:
    """All figures of one split where a row may belong to several classes, or to none.

    `loss` is the mean binary cross-entropy in nats over all rows and classes. `accuracy` is the share of the rows whose
    whole set of classes is right, `hamming_loss` the share of wrong decisions among all. Micro figures are those of all
    decisions together; macro and weighted ones are as in `SplitFigures`. `roc_auc` and `pr_auc` are means over the
    classes that have one.
    """

    rows: int
    loss: float
    accuracy: float
    hamming_loss: float
    micro_precision: float
    micro_recall: float
    micro_f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    roc_auc: float | None
    pr_auc: float | None
    per_class: dict[str, SeparateClassFigures]

    def in_brief(self) -> Metrics:
        """The few of them that travel with the artifact."""
        return Metrics(rows=self.rows, loss=self.loss, accuracy=self.accuracy, macro_f1=self.macro_f1)


def split_figures(
    log_probabilities: NDArray[np.float64], truth: NDArray[np.int32], labels: Sequence[str], positive: int | None
) -> SplitFigures:
    """Compare answers with the truth. What is predicted is the class with the highest probability.

    Args:
        log_probabilities: float64[n, classes], natural logarithms.
        truth: int32[n], class indices.
        labels: class names in class order.
        positive: index of the positive class; None with more than two classes.

    Returns:
        The figures.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = np.arange(len(labels))
    predicted = log_probabilities.argmax(axis=1)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=0.0
    )
    areas = [_areas(truth == index, log_probabilities[:, index]) for index in classes]
    roc_auc, pr_auc = areas[positive] if positive is not None else (_mean(side) for side in zip(*areas, strict=True))
    return SplitFigures(
        rows=len(truth),
        loss=-float(log_probabilities[np.arange(len(truth)), truth].mean()),
        accuracy=float((predicted == truth).mean()),
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f1=float(f1.mean()),
        weighted_precision=float(np.average(precision, weights=support)),
        weighted_recall=float(np.average(recall, weights=support)),
        weighted_f1=float(np.average(f1, weights=support)),
        roc_auc=roc_auc,
        pr_auc=pr_auc,
        per_class={
            label: ClassFigures(
                float(precision[index]), float(recall[index]), float(f1[index]), int(support[index]), *areas[index]
            )
            for index, label in enumerate(labels)
        },
        confusion_matrix=confusion_matrix(truth, predicted, labels=classes).tolist(),
    )


def multilabel_figures(
    logits: NDArray[np.float64], truth: NDArray[np.bool_], labels: Sequence[str]
) -> MultilabelFigures:
    """Compare answers about each class for itself with the truth.

    Args:
        logits: float64[n, classes].
        truth: bool[n, classes], the classes that each row belongs to.
        labels: class names in class order.

    Returns:
        The figures.
    """
    from sklearn.metrics import multilabel_confusion_matrix, precision_recall_fscore_support

    predicted = decide_each(logits)

    def scores(average: str | None) -> tuple[Any, Any, Any, Any]:
        found: tuple[Any, Any, Any, Any] = precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0.0
        )
        return found

    precision, recall, f1, support = scores(None)
    means = {
        f"{average}_{name}": float(figure)
        for average in ("micro", "macro", "weighted")
        for name, figure in zip(("precision", "recall", "f1"), scores(average), strict=False)
    }
    areas = [_areas(truth[:, index], logits[:, index]) for index in range(len(labels))]
    roc_auc, pr_auc = (_mean(side) for side in zip(*areas, strict=True))
    per_class = {}
    counts = multilabel_confusion_matrix(truth, predicted)
    for index, (label, ((tn, fp), (fn, tp))) in enumerate(zip(labels, counts.tolist(), strict=True)):
        per_class[label] = SeparateClassFigures(
            precision=float(precision[index]),
            recall=float(recall[index]),
            f1=float(f1[index]),
            support=int(support[index]),
            roc_auc=areas[index][0],
            pr_auc=areas[index][1],
            tp=tp,
            fp=fp,
            fn=fn,
            tn=tn,
        )
    return MultilabelFigures(
        rows=len(truth),
        loss=-float(Sigmoid().log_likelihoods(logits, truth).mean()),
        accuracy=float((predicted == truth).all(axis=1).mean()),
        hamming_loss=float((predicted != truth).mean()),
        **means,
        roc_auc=roc_auc,
        pr_auc=pr_auc,
        per_class=per_class,
    )


def _areas(belongs: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float | None, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    if belongs.all() or not belongs.any():
        return None, None
    return float(roc_auc_score(belongs, score)), float(average_precision_score(belongs, score))


def _mean(areas: Sequence[float | None]) -> float | None:
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None
