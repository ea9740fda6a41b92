"""The report on one evaluation: what it says, in which order. The most important comes first."""

from collections.abc import Callable, Sequence
from dataclasses import astuple
from typing import Any

from schemas.handoff import Split
from tasks.evaluate.bootstrap import RESAMPLES, Interval
from tasks.evaluate.calibration import BINS, Calibration
from tasks.evaluate.comparison import Compared
from tasks.evaluate.document import Block, Document, Figure, Paragraph, Section, Table, visible
from tasks.evaluate.evaluation import Evaluation
from tasks.evaluate.figures import Figures
from tasks.evaluate.learning_curves import diagnose, learning_curves
from tasks.evaluate.metrics import SplitFigures
from tasks.evaluate.mistakes import Mistake
from tasks.evaluate.slices import SMALL, Slice
from tasks.evaluate.threshold import BinaryFigures, Threshold

_TEXT_CHARACTERS, _SHORT_TEXT_CHARACTERS = 400, 100
_LABEL_CHARACTERS = 40
_SHORT_LIST = 10
# With more classes, a matrix is no longer something to look at: the most frequent confusions are listed instead.
_WIDEST_MATRIX = 20
_CONFUSIONS = 30

_METRICS = {"f1": "F1", "balanced_accuracy": "balanced accuracy", "mcc": "Matthews' correlation"}
_FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "f1_at_threshold": "F1 at the threshold"}


def report(
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
        _against_baselines(evaluation),
        _classes(test),
        _confusion(evaluation.labels, test.confusion_matrix),
        *([_threshold(evaluation.threshold, figures.threshold)] if evaluation.threshold else []),
        *([Section("Curves", figures.curves)] if figures.curves else []),
        _calibration(evaluation.calibration, figures.reliability),
        _slices(evaluation.slices, evaluation.threshold is not None),
        _mistakes(mistakes, test),
        _training(history, monitor, len(evaluation.labels)),
        _method(evaluation),
    ]
    return Document("Evaluation", [Paragraph(evaluation.verdict, strong=True), _overview(evaluation)], sections)


def _overview(evaluation: Evaluation) -> Table:
    splits: tuple[Split, ...] = ("validation", "test")
    names: dict[str, Callable[[SplitFigures], float | None]] = {
        "accuracy": lambda figures: figures.accuracy,
        "macro-F1": lambda figures: figures.macro_f1,
        "macro precision": lambda figures: figures.macro_precision,
        "macro recall": lambda figures: figures.macro_recall,
        "weighted F1": lambda figures: figures.weighted_f1,
        "weighted precision": lambda figures: figures.weighted_precision,
        "weighted recall": lambda figures: figures.weighted_recall,
        "ROC-AUC": lambda figures: figures.roc_auc,
        "PR-AUC": lambda figures: figures.pr_auc,
        "log loss": lambda figures: figures.loss,
    }
    intervals = {_FIGURES[name]: between(interval) for name, interval in evaluation.intervals.items()}
    rows = [["rows", *(f"{evaluation.splits[split].rows:,}" for split in splits), ""]]
    for name, figure in names.items():
        rows.append([name, *(number(figure(evaluation.splits[split])) for split in splits), intervals.get(name, "")])
    errors = [number(evaluation.calibration.before[split].expected_calibration_error) for split in splits]
    rows.append(["expected calibration error", *errors, ""])
    if threshold := evaluation.threshold:
        name = _FIGURES["f1_at_threshold"]
        at_threshold = [number(threshold.at_threshold[split].f1) for split in splits]
        title = f"F1 of “{_label(threshold.positive_class)}” at threshold {threshold.value:.3f}"
        rows.append([title, *at_threshold, intervals[name]])
    return Table(["", *splits, "95 % interval (test)"], rows)


def _against_baselines(evaluation: Evaluation) -> Section:
    own = evaluation.splits["test"]
    with_threshold = evaluation.threshold is not None

    def row(name: str, figures: SplitFigures, f1: float | None) -> list[str]:
        shown = [figures.accuracy, figures.macro_f1, *([f1] if with_threshold else [])]
        return [name, *map(number, [*shown, figures.roc_auc, figures.pr_auc, figures.loss])]

    f1 = evaluation.intervals["f1_at_threshold"].estimate if with_threshold else None
    baselines = evaluation.baselines
    header = ["", "accuracy", "macro-F1", *(["F1 at its threshold"] if with_threshold else [])]
    rows = [row("this classifier", own, f1)]
    rows += [row(baseline.name, baseline.figures, baseline.f1_at_threshold) for baseline in baselines]
    above = [
        [baseline.name, _FIGURES[name], f"{interval.estimate:+.3f}", between(interval)]
        for baseline in baselines
        for name, interval in baseline.above_it.items()
    ]
    return Section(
        "Against the baselines",
        [
            Table([*header, "ROC-AUC", "PR-AUC", "log loss"], rows),
            Paragraph("How far the classifier is above each, on the same test rows:"),
            Table(["baseline", "figure", "above it by", "95 % interval"], above, texts=(0, 1)),
            *_descriptions(baselines),
        ],
    )


def _descriptions(baselines: Sequence[Compared]) -> list[Paragraph]:
    return [Paragraph(f"{each.name[0].upper()}{each.name[1:]}: {each.description}") for each in baselines]


def _classes(test: SplitFigures) -> Section:
    rows = []
    for label, figures in test.per_class.items():
        shares = [figures.precision, figures.recall, figures.f1, figures.roc_auc, figures.pr_auc]
        rows.append([_label(label), *map(number, shares), f"{figures.support:,}"])
    header = ["class", "precision", "recall", "F1", "ROC-AUC", "PR-AUC", "rows"]
    return Section("Class by class", [Paragraph("The test split, each class against all others."), Table(header, rows)])


def _confusion(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Section:
    names = [_label(label) for label in labels]
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
    name = _label(threshold.positive_class)
    return Section(
        "Decision threshold",
        [
            Paragraph(
                f"“{name}” is predicted where its probability is at least {threshold.value:.4f}: of all thresholds, "
                f"the one with the highest {_METRICS[threshold.metric]} on the validation rows. Labels that the "
                "published model gives are those of the likelier class; the threshold is for who reads probabilities."
            ),
            Table(header, rows),
            *([figure] if figure else []),
        ],
    )


def _binary(figures: BinaryFigures) -> list[str]:
    shares = [figures.f1, figures.precision, figures.recall, figures.accuracy, figures.balanced_accuracy, figures.mcc]
    return [*map(number, shares), f"{figures.predicted:,}"]


def _calibration(calibration: Calibration, figure: Figure) -> Section:
    rows = []
    for split in calibration.before:
        for title, part in (
            ("1", calibration.before[split]),
            (f"{calibration.temperature:.3f}", calibration.after[split]),
        ):
            rows.append([split, title, number(part.expected_calibration_error), number(part.loss)])
    if calibration.at_limit:
        words = "which is the limit of what is tried: the validation rows do not say how sure the classifier may be"
    elif calibration.temperature > 1.05:
        words = "so the classifier is surer than it should be"
    elif calibration.temperature < 0.95:
        words = "so the classifier is less sure than it could be"
    else:
        words = "so the probabilities are about as they should be"
    return Section(
        "Calibration",
        [
            Paragraph(
                f"Fitted on the validation rows, the temperature is {calibration.temperature:.3f}, {words}. Dividing "
                "the logits by it changes no prediction. Published probabilities are those at temperature 1."
            ),
            Table(["split", "temperature", "expected calibration error", "log loss"], rows),
            figure,
        ],
    )


def _slices(slices: Sequence[Slice], with_threshold: bool) -> Section:
    header = ["by", "slice", "rows", "accuracy", "95 % interval", "macro-F1"]
    rows = []
    for part in slices:
        few = f"{part.rows:,} (few)" if part.small else f"{part.rows:,}"
        figures = [number(part.accuracy.estimate), between(part.accuracy), number(part.macro_f1)]
        f1 = [number(part.f1_at_threshold)] if with_threshold else []
        rows.append([visible(part.by, _LABEL_CHARACTERS), visible(part.value, _LABEL_CHARACTERS), few, *figures, *f1])
    header += ["F1 at the threshold"] if with_threshold else []
    note = f"Slices with fewer than {SMALL} rows say little, and are marked."
    return Section("Slices of the test split", [Paragraph(note), Table(header, rows, texts=(0, 1))])


def _mistakes(mistakes: Sequence[Mistake], test: SplitFigures) -> Section:
    wrong = test.rows - sum(row[index] for index, row in enumerate(test.confusion_matrix))
    if not mistakes:
        return Section("Most confident mistakes", [Paragraph("There is no mistake among the test rows.")])

    def blocks(most: int, characters: int) -> list[Block]:
        shown = mistakes[:most]
        rows = [
            [visible(each.text, characters), _label(each.label), _label(each.predicted), number(each.probability)]
            for each in shown
        ]
        words = f"Of {wrong:,} mistakes, the {len(shown):,} that the classifier was surest of."
        table = Table(["text", "true class", "predicted", "probability"], rows, texts=(0, 1, 2), long=0)
        return [Paragraph(f"{words} Some may be labels that are wrong."), table]

    return Section(
        "Most confident mistakes",
        blocks(len(mistakes), _TEXT_CHARACTERS),
        short=blocks(_SHORT_LIST, _SHORT_TEXT_CHARACTERS),
    )


def _training(history: list[dict[str, Any]], monitor: str, classes: int) -> Section:
    curves = Figure(learning_curves(history, monitor), "Learning curves of training and validation", wide=True)
    return Section("How training went", [Paragraph(diagnose(history, classes)), curves])


def _method(evaluation: Evaluation) -> Section:
    if evaluation.threshold:
        areas, deciding = "those of the positive class", "in macro-F1 and in F1 at the threshold"
    else:
        areas, deciding = "means over the classes", "in macro-F1"
    notes = [
        "Temperature, threshold and the baseline's strength are chosen on the validation rows; the test rows are only "
        "measured. Figures are by scikit-learn's definitions; a class that neither occurs nor is predicted counts 0 in "
        "macro figures, but slices average over the classes that they hold. PR-AUC is average precision; both areas "
        f"are {areas}.",
        f"Intervals: percentile bootstrap, {RESAMPLES:,} resamples of the test rows, the same ones for every "
        "classifier; accuracy of slices: Wilson score. They tell how the figures would move with other test rows, not "
        "with another seed of the training.",
        f"“Better by more than noise” means that the whole 95 % interval of the difference to a baseline is above 0, "
        f"{deciding}.",
        f"Expected calibration error over {BINS} bins of equal width, and temperature scaling: Guo et al. 2017.",
    ]
    return Section("How this was measured", [Paragraph(note) for note in notes])


def number(value: float | None) -> str:
    """A figure as the report shows it; "n/a" where there is none."""
    return "n/a" if value is None else f"{value:.3f}"


def between(interval: Interval) -> str:
    """An interval as the report shows it."""
    _, low, high = astuple(interval)
    return f"{low:.3f} to {high:.3f}"


def _label(label: str) -> str:
    return visible(label, _LABEL_CHARACTERS)
