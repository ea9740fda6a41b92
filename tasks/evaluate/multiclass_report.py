"""The report on a classifier that gives each text one class: what it says, in which order.

The most important comes first.
"""

from collections.abc import Sequence
from typing import Any

from tasks.document import Document, Figure, Paragraph, Section, Table, visible
from tasks.evaluate.evaluation import Evaluation
from tasks.evaluate.figures import Figures
from tasks.evaluate.learning_curves import chance_of_one
from tasks.evaluate.metrics import SplitFigures
from tasks.evaluate.mistakes import Mistake
from tasks.evaluate.report_sections import (
    METRICS,
    SPLITS,
    against_baselines,
    between,
    calibration_section,
    class_name,
    classes_section,
    measured,
    mistakes_section,
    number,
    overview,
    slices_section,
    training_section,
)
from tasks.evaluate.threshold import BinaryFigures, Threshold

# With more classes, a matrix is no longer something to look at: the most frequent confusions are listed instead.
_WIDEST_MATRIX = 20
_CONFUSIONS = 30

_OVERVIEW = {
    "accuracy": "accuracy",
    "macro-F1": "macro_f1",
    "macro precision": "macro_precision",
    "macro recall": "macro_recall",
    "weighted F1": "weighted_f1",
    "weighted precision": "weighted_precision",
    "weighted recall": "weighted_recall",
    "ROC-AUC": "roc_auc",
    "PR-AUC": "pr_auc",
    "log loss": "loss",
}


def multiclass_report(
    evaluation: Evaluation, mistakes: Sequence[Mistake], history: list[dict[str, Any]], monitor: str, figures: Figures
) -> Document:
    """Put the report together.

    Args:
        evaluation: every figure.
        mistakes: the most confident ones, the surest first.
        history: the entries of the classifier's `history.json`.
        monitor: the validation metric that said which epoch is the best.
        figures: the drawings.

    Returns:
        The report.
    """
    test = evaluation.splits["test"]
    sections = [
        against_baselines(evaluation),
        classes_section(test, "The test split, each class against all others."),
        _confusion(evaluation.labels, test.confusion_matrix),
        *([_threshold(evaluation.threshold, figures.threshold)] if evaluation.threshold else []),
        *([Section("Curves", figures.curves)] if figures.curves else []),
        calibration_section(evaluation.calibration, figures.reliability),
        slices_section(evaluation.slices, evaluation.threshold is not None),
        _mistakes(mistakes, test),
        training_section(history, monitor, chance_of_one(len(evaluation.labels))),
        _method(evaluation),
    ]
    return Document("Evaluation", [Paragraph(evaluation.verdict, strong=True), _overview(evaluation)], sections)


def _overview(evaluation: Evaluation) -> Table:
    more = []
    if threshold := evaluation.threshold:
        at_threshold = [number(threshold.at_threshold[split].f1) for split in SPLITS]
        title = f"F1 of “{class_name(threshold.positive_class)}” at threshold {threshold.value:.3f}"
        more.append([title, *at_threshold, between(evaluation.intervals["f1_at_threshold"])])
    return overview(evaluation, _OVERVIEW, more)


def _confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Section:
    names = [class_name(label) for label in labels]
    if len(labels) > _WIDEST_MATRIX:
        pairs = [
            (count, true, predicted)
            for true, row in enumerate(matrix)
            for predicted, count in enumerate(row)
            if true != predicted and count
        ]
        pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
        rows = [
            [names[true], names[predicted], f"{count:,}", f"{count / sum(matrix[true]):.1%}"]
            for count, true, predicted in pairs[:_CONFUSIONS]
        ]
        table = Table(["true class", "predicted", "rows", "of the true class"], rows, texts=(0, 1))
        return Section("Most frequent confusions", [table])
    shades = [[0.0, *(0.75 * count / max(sum(row), 1) for count in row)] for row in matrix]
    rows = [[name, *(f"{count:,}" for count in row)] for name, row in zip(names, matrix, strict=True)]
    return Section(
        "Confusion matrix",
        [
            Paragraph("The test split. Lines: true class; columns: predicted class."),
            Table(["", *names], rows, shades=shades),
        ],
    )


def _threshold(threshold: Threshold, figure: Figure | None) -> Section:
    rows = []
    for split, at_half in threshold.at_half.items():
        for title, figures in (("0.5", at_half), (f"{threshold.value:.3f}", threshold.at_threshold[split])):
            rows.append([split, title, *_binary(figures)])
    header = ["split", "threshold", "F1", "precision", "recall", "accuracy", "balanced accuracy", "MCC", "predicted"]
    name = class_name(threshold.positive_class)
    return Section(
        "Decision threshold",
        [
            Paragraph(
                f"“{name}” is predicted where its probability is at least {threshold.value:.4f}: of all thresholds, "
                f"the one with the highest {METRICS[threshold.metric]} on the validation rows. Labels that the "
                "published model gives are those of the likelier class; the threshold is for who reads probabilities."
            ),
            Table(header, rows),
            *([figure] if figure else []),
        ],
    )


def _binary(figures: BinaryFigures) -> list[str]:
    shares = [figures.f1, figures.precision, figures.recall, figures.accuracy, figures.balanced_accuracy, figures.mcc]
    return [*map(number, shares), f"{figures.predicted:,}"]


def _mistakes(mistakes: Sequence[Mistake], test: SplitFigures) -> Section:
    wrong = test.rows - sum(row[index] for index, row in enumerate(test.confusion_matrix))

    def row(each: Mistake, characters: int) -> list[str]:
        names = [class_name(each.label), class_name(each.predicted)]
        return [visible(each.text, characters), *names, number(each.probability)]

    header = ["text", "true class", "predicted", "probability"]
    return mistakes_section(mistakes, f"{wrong:,} mistakes", header, row, texts=(0, 1, 2))


def _method(evaluation: Evaluation) -> Section:
    if evaluation.threshold:
        areas, deciding = "those of the positive class", "in macro-F1 and in F1 at the threshold"
    else:
        areas, deciding = "means over the classes", "in macro-F1"
    return measured(
        "Temperature, threshold and the baseline's strength are chosen on the validation rows; the test rows are only "
        "measured. Figures are by scikit-learn's definitions; a class that neither occurs nor is predicted counts 0 in "
        "macro figures, but slices average over the classes that they hold. PR-AUC is average precision; both areas "
        f"are {areas}.",
        deciding,
    )
