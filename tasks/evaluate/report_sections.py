"""Sections of the report that are the same whether a text belongs to one class or to several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, TypeVar

from schemas.handoff import Split
from tasks.document import Block, Figure, Paragraph, Section, Table, visible
from tasks.evaluate.bootstrap import RESAMPLES, Interval
from tasks.evaluate.calibration import BINS, Calibration
from tasks.evaluate.comparison import Compared
from tasks.evaluate.evaluation import Evaluation, MultilabelEvaluation
from tasks.evaluate.learning_curves import diagnose, learning_curves
from tasks.evaluate.metrics import MultilabelFigures, SplitFigures
from tasks.evaluate.slices import SMALL, Slice

SPLITS: tuple[Split, ...] = ("validation", "test")
METRICS = {"f1": "F1", "balanced_accuracy": "balanced accuracy", "mcc": "Matthews' correlation"}
FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "f1_at_threshold": "F1 at the threshold"}

_TEXT_CHARACTERS, _SHORT_TEXT_CHARACTERS = 400, 100
_LABEL_CHARACTERS = 40
_SHORT_LIST = 10

M = TypeVar("M")


def overview(
    evaluation: Evaluation | MultilabelEvaluation, names: Mapping[str, str], more: Sequence[Sequence[str]] = ()
) -> Table:
    """The main figures of both splits.

    Args:
        evaluation: every figure.
        names: what is shown, in order: titles, and names of fields of a split's figures.
        more: rows that are put below.

    Returns:
        A table.
    """
    intervals = {name: between(interval) for name, interval in evaluation.intervals.items()}
    rows: list[Sequence[str]] = [["rows", *(f"{evaluation.splits[split].rows:,}" for split in SPLITS), ""]]
    for title, name in names.items():
        figures = [number(getattr(evaluation.splits[split], name)) for split in SPLITS]
        rows.append([title, *figures, intervals.get(name, "")])
    errors = [number(evaluation.calibration.before[split].expected_calibration_error) for split in SPLITS]
    rows.append(["expected calibration error", *errors, ""])
    return Table(["", *SPLITS, "95 % interval (test)"], [*rows, *more])


def against_baselines(evaluation: Evaluation | MultilabelEvaluation) -> Section:
    """What the baselines reach on the same test rows, and how far the classifier is above them."""
    own = evaluation.splits["test"]
    with_threshold = evaluation.threshold is not None

    def row(name: str, figures: SplitFigures | MultilabelFigures, f1: float | None) -> list[str]:
        shown = [figures.accuracy, figures.macro_f1, *([f1] if with_threshold else [])]
        return [name, *map(number, [*shown, figures.roc_auc, figures.pr_auc, figures.loss])]

    f1 = evaluation.intervals["f1_at_threshold"].estimate if with_threshold else None
    baselines = evaluation.baselines
    header = ["", "accuracy", "macro-F1", *(["F1 at its threshold"] if with_threshold else [])]
    rows = [row("this classifier", own, f1)]
    rows += [row(baseline.name, baseline.figures, baseline.f1_at_threshold) for baseline in baselines]
    above = [
        [baseline.name, FIGURES[name], f"{interval.estimate:+.3f}", between(interval)]
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


def classes_section(test: SplitFigures | MultilabelFigures, words: str) -> Section:
    """How good the classifier is at each class; the words say what each is compared with."""
    rows = []
    for label, figures in test.per_class.items():
        shares = [figures.precision, figures.recall, figures.f1, figures.roc_auc, figures.pr_auc]
        rows.append([class_name(label), *map(number, shares), f"{figures.support:,}"])
    header = ["class", "precision", "recall", "F1", "ROC-AUC", "PR-AUC", "rows"]
    return Section("Class by class", [Paragraph(words), Table(header, rows)])


def calibration_section(calibration: Calibration, figure: Figure) -> Section:
    """Whether the probabilities are as they should be."""
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


def slices_section(slices: Sequence[Slice], with_threshold: bool) -> Section:
    """How good the classifier is on parts of the test split."""
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


def mistakes_section(
    mistakes: Sequence[M],
    found: str,
    header: Sequence[str],
    row: Callable[[M, int], Sequence[str]],
    texts: Sequence[int],
) -> Section:
    """The mistakes that the classifier was surest of.

    Args:
        mistakes: the surest first.
        found: of how many these are some, in words.
        header: column titles; the texts themselves are in the first one.
        row: the cells of one mistake, with so many characters of its text.
        texts: indices of the columns with words in them.

    Returns:
        The section.
    """
    if not mistakes:
        return Section("Most confident mistakes", [Paragraph("There is no mistake among the test rows.")])

    def blocks(most: int, characters: int) -> list[Block]:
        rows = [row(mistake, characters) for mistake in mistakes[:most]]
        words = f"Of {found}, the {len(rows):,} that the classifier was surest of. Some may be labels that are wrong."
        return [Paragraph(words), Table(header, rows, texts=texts, long=0)]

    return Section(
        "Most confident mistakes",
        blocks(len(mistakes), _TEXT_CHARACTERS),
        short=blocks(_SHORT_LIST, _SHORT_TEXT_CHARACTERS),
    )


def training_section(history: list[dict[str, Any]], monitor: str, chance: float) -> Section:
    """The curves of the training, and what they mean."""
    curves = Figure(learning_curves(history, monitor), "Learning curves of training and validation", wide=True)
    return Section("How training went", [Paragraph(diagnose(history, chance)), curves])


def measured(about_figures: str, deciding: str) -> Section:
    """How the figures were measured.

    Args:
        about_figures: sentences on the figures that differ between the kinds of classifiers.
        deciding: in which figures a classifier has to be above a baseline to be better.

    Returns:
        The last section.
    """
    notes = [
        about_figures,
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


def class_name(label: str) -> str:
    """A class name as the report shows it."""
    return visible(label, _LABEL_CHARACTERS)
