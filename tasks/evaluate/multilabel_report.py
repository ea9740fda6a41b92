"""The report on a classifier that says of each class by itself whether a text belongs to it.

The most important comes first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.document import Block, Document, Paragraph, Section, Table, visible
from tasks.evaluate.evaluation import MultilabelEvaluation
from tasks.evaluate.figures import Figures
from tasks.evaluate.metrics import MultilabelFigures
from tasks.evaluate.mistakes import WrongDecision
from tasks.evaluate.report_sections import (
    METRICS,
    SPLITS,
    against_baselines,
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
from tasks.evaluate.threshold import Threshold

NO_CLASS = "(none)"

_OVERVIEW = {
    "accuracy (all classes of a row)": "accuracy",
    "Hamming loss": "hamming_loss",
    "macro-F1": "macro_f1",
    "macro precision": "macro_precision",
    "macro recall": "macro_recall",
    "micro-F1": "micro_f1",
    "micro precision": "micro_precision",
    "micro recall": "micro_recall",
    "weighted F1": "weighted_f1",
    "weighted precision": "weighted_precision",
    "weighted recall": "weighted_recall",
    "ROC-AUC": "roc_auc",
    "PR-AUC": "pr_auc",
    "log loss": "loss",
}


def multilabel_report(
    evaluation: MultilabelEvaluation,
    mistakes: Sequence[WrongDecision],
    history: list[dict[str, Any]],
    monitor: str,
    chance: float,
    figures: Figures,
) -> Document:
    """Put the report together.

    Args:
        evaluation: every figure.
        mistakes: the most confident ones, the surest first.
        history: the entries of the classifier's `history.json`.
        monitor: the validation metric that said which epoch is the best.
        chance: the macro-F1 of answers that ignore the text.
        figures: the drawings.

    Returns:
        The report.
    """
    test = evaluation.splits["test"]
    sections = [
        against_baselines(evaluation),
        classes_section(test, "The test split, each class by itself; a row may belong to several, or to none."),
        _decisions(test),
        _thresholds(evaluation.thresholds),
        *([Section("Curves", figures.curves)] if figures.curves else []),
        calibration_section(evaluation.calibration, figures.reliability),
        slices_section(evaluation.slices, with_threshold=False),
        _mistakes(mistakes, test),
        training_section(history, monitor, chance),
        _method(),
    ]
    summary: list[Block] = [Paragraph(evaluation.verdict, strong=True), overview(evaluation, _OVERVIEW)]
    return Document("Evaluation", summary, sections)


def _decisions(test: MultilabelFigures) -> Section:
    rows, shades = [], []
    for label, figures in test.per_class.items():
        belong, others = max(figures.tp + figures.fn, 1), max(figures.fp + figures.tn, 1)
        rows.append([class_name(label), *(f"{count:,}" for count in (figures.tp, figures.fn, figures.fp, figures.tn))])
        shares = (figures.tp / belong, figures.fn / belong, figures.fp / others, figures.tn / others)
        shades.append([0.0, *(0.75 * share for share in shares)])
    header = ["class", "found", "missed", "wrongly given", "rightly not given"]
    words = (
        "The test split, decided at a probability of 0.5. Found and missed: rows of the class; given and not given: "
        "all other rows."
    )
    return Section("Right and wrong decisions", [Paragraph(words), Table(header, rows, shades=shades)])


def _thresholds(thresholds: Sequence[Threshold]) -> Section:
    metric = thresholds[0].metric
    rows = []
    for threshold in thresholds:
        figures = [
            number(getattr(part[split], metric))
            for split in SPLITS
            for part in (threshold.at_half, threshold.at_threshold)
        ]
        rows.append([class_name(threshold.positive_class), number(threshold.value), *figures])
    columns = [f"{split}, {at}" for split in SPLITS for at in ("at 0.5", "at the threshold")]
    at_half, at_threshold = (
        float(np.mean([part["test"].f1 for part in parts]))
        for parts in zip(*((each.at_half, each.at_threshold) for each in thresholds), strict=True)
    )
    return Section(
        "Decision thresholds",
        [
            Paragraph(
                f"For each class, of all thresholds the one with the highest {METRICS[metric]} on the validation rows. "
                f"Who names the classes from their thresholds on gets a macro-F1 of {at_threshold:.3f} on the test "
                f"rows; from 0.5 on, {at_half:.3f}. Labels that the published model gives are those from 0.5 on; the "
                "thresholds are for who reads probabilities."
            ),
            Paragraph(f"{METRICS[metric][0].upper()}{METRICS[metric][1:]} of each class:"),
            Table(["class", "threshold", *columns], rows),
        ],
    )


def _mistakes(mistakes: Sequence[WrongDecision], test: MultilabelFigures) -> Section:
    wrong = sum(figures.fp + figures.fn for figures in test.per_class.values())

    def row(each: WrongDecision, characters: int) -> list[str]:
        words = "wrongly given" if each.predicted else "missed"
        belongs = ", ".join(map(class_name, each.labels)) or NO_CLASS
        return [visible(each.text, characters), class_name(each.label), words, belongs, number(each.probability)]

    header = ["text", "class", "decision", "true classes", "probability"]
    return mistakes_section(mistakes, f"{wrong:,} wrong decisions", header, row, texts=(0, 1, 2, 3))


def _method() -> Section:
    return measured(
        "A class is predicted where its probability is at least 0.5, by the baselines too: what is seldom sure of a "
        "rare class has a low macro-F1 there, while PR-AUC needs no threshold. Accuracy is the share of the rows whose "
        "classes are all right, Hamming loss the share of wrong decisions; micro figures are those of all decisions "
        "together. Temperature, thresholds and the baseline's strength are chosen on the validation rows; the test "
        "rows are only measured. Figures are by scikit-learn's definitions; a class that neither occurs nor is "
        "predicted counts 0 in macro figures, but slices average over the classes that they hold. PR-AUC is average "
        "precision; both areas are means over the classes. Log loss is the mean over rows and classes, and calibration "
        "is about the probability of every class of every row.",
        "in macro-F1",
    )
