"""What TensorBoard shows of the answers to the test rows: figures, rows, mistakes, and a picture of the decisions."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from tasks.evaluate.answers import Answers
from tasks.evaluate.metrics import multilabel_figures
from tasks.evaluate.mistakes import confident_wrong_decisions
from tasks.evaluate.reading import decide_each, log_softmax, sigmoid
from tasks.markdown import table

_SHOWN_ROWS = 20
_SHOWN_CHARACTERS = 200
_NO_MISTAKES = "There are no mistakes on the test rows."
# Above this many classes the numbers in the picture could not be read.
_MOST_NUMBERED_CLASSES = 25


@dataclass(frozen=True)
class Page:
    """Figures by name; rows and mistakes as Markdown; a picture, PNG, and its title."""

    figures: dict[str, float]
    rows: str
    mistakes: str
    title: str
    picture: bytes


def multiclass_page(test: Answers, labels: list[str]) -> Page:
    """What is shown where each text belongs to one class: the picture is the confusion matrix.

    Args:
        test: the test rows in the order of their keys.
        labels: class names in class order.

    Returns:
        The page.
    """
    from sklearn.metrics import confusion_matrix, f1_score

    logs = log_softmax(test.logits)
    predicted = logs.argmax(axis=1)
    everyone, classes = np.arange(len(logs)), np.arange(len(labels))
    answers = pl.DataFrame(
        {
            "key": test.keys,
            "text": test.texts,
            "label": test.truth,
            "predicted": predicted,
            "probability": np.exp(logs[everyone, predicted]),
        }
    )
    # Keys are hashes of texts, so the first rows in their order are a fair sample.
    each = max(_SHOWN_ROWS // len(labels), 1)
    sample = answers.group_by("label", maintain_order=True).head(each).sort("label", "key").head(_SHOWN_ROWS)
    mistakes = answers.filter(pl.col("label") != pl.col("predicted"))
    worst = mistakes.sort("probability", "key", descending=[True, False]).head(_SHOWN_ROWS)
    counts = confusion_matrix(test.truth, predicted, labels=classes)
    names = [_short(label) for label in labels]
    return Page(
        # The figures that trainings are compared by, defined as in the history.
        figures={
            "accuracy": float((test.truth == predicted).mean()),
            "loss": float((-logs[everyone, test.truth]).mean()),
            "macro_f1": float(f1_score(test.truth, predicted, labels=classes, average="macro", zero_division=0.0)),
        },
        rows=_table_of_answers(sample, labels),
        mistakes=_table_of_answers(worst, labels) if worst.height else _NO_MISTAKES,
        title="confusion matrix",
        picture=_picture(_Counts(counts, counts.sum(axis=1, keepdims=True), names, names, "true", "predicted")),
    )


def multilabel_page(test: Answers, labels: list[str]) -> Page:
    """What is shown where a text may belong to several classes: the picture has a line of counts for each class.

    Args:
        test: the test rows in the order of their keys.
        labels: class names in class order.

    Returns:
        The page.
    """
    figures = multilabel_figures(test.logits, test.truth, labels)
    probabilities, predicted = sigmoid(test.logits), decide_each(test.logits)

    def named(row: int, classes: npt.NDArray[np.bool_]) -> str:
        return ", ".join(
            f"{_escaped(labels[index])} ({probabilities[row, index]:.3f})" for index in np.flatnonzero(classes)
        )

    # Keys are hashes of texts, so the first rows of each class, and of those without one, are a fair sample.
    groups = [*test.truth.T, ~test.truth.any(axis=1)]
    most = max(_SHOWN_ROWS // len(groups), 1)
    sample = np.unique(np.concatenate([np.flatnonzero(group)[:most] for group in groups]))[:_SHOWN_ROWS]
    rows = [
        [_escaped(_cut(test.texts[row])), named(row, test.truth[row]), named(row, predicted[row])] for row in sample
    ]
    worst = [
        [
            _escaped(_cut(mistake.text)),
            _escaped(mistake.label),
            "wrongly given" if mistake.predicted else "missed",
            f"{mistake.probability:.3f}",
        ]
        for mistake in confident_wrong_decisions(test, labels)[:_SHOWN_ROWS]
    ]
    counts = np.array([(each.tp, each.fn, each.fp, each.tn) for each in figures.per_class.values()])
    sides = np.repeat(counts.reshape(-1, 2, 2).sum(axis=2), 2, axis=1)  # rows of the class, and all others
    columns = ["found", "missed", "wrongly given", "rightly not given"]
    return Page(
        figures={"accuracy": figures.accuracy, "loss": figures.loss, "macro_f1": figures.macro_f1},
        rows=table(["Text", "Truth (probability)", "Prediction (probability)"], rows),
        mistakes=table(["Text", "Class", "Decision", "Probability"], worst, right=(3,)) if worst else _NO_MISTAKES,
        title="decisions",
        picture=_picture(_Counts(counts, sides, [_short(label) for label in labels], columns, "class", "decision")),
    )


def _table_of_answers(rows: pl.DataFrame, labels: Sequence[str]) -> str:
    shown = []
    for row in rows.iter_rows(named=True):
        words = map(_escaped, (_cut(row["text"]), labels[row["label"]], labels[row["predicted"]]))
        shown.append([*words, f"{row['probability']:.3f}"])
    return table(["Text", "Truth", "Prediction", "Probability"], shown, right=(3,))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


def _short(label: str) -> str:
    name = " ".join(label.split())
    return name if len(name) <= 24 else f"{name[:23]}…"


def _escaped(text: str) -> str:
    """A text as TensorBoard's Markdown, which knows fewer escapes: whatever could be formatting becomes an entity."""
    plain = " ,;?'\"…"
    return "".join(
        character if character.isalnum() or character in plain or character > "\x7f" else f"&#{ord(character)};"
        for character in text
    )


@dataclass(frozen=True)
class _Counts:
    """A matrix of counts: `wholes` are what each is a part of, `rows` and `columns` names, `y` and `x` titles."""

    counts: npt.NDArray[np.integer]
    wholes: npt.NDArray[np.integer]
    rows: Sequence[str]
    columns: Sequence[str]
    y: str
    x: str


def _picture(matrix: _Counts) -> bytes:
    """A PNG: the colour is the share of the whole, the number a count."""
    import warnings

    import matplotlib as mpl
    from matplotlib.figure import Figure

    shares = matrix.counts / np.maximum(matrix.wholes, 1)
    height, width = (min(2.0 + 0.4 * len(names), 12.0) for names in (matrix.rows, matrix.columns))  # inches
    size = min(10.0, 600 / len(matrix.rows))  # points; names do not overlap
    png = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        # Class names may be in any script; what matplotlib's font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure = Figure(figsize=(width + 0.8, height), dpi=150, layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        # parse_math: a "$" in a name is a dollar sign.
        x, y = range(len(matrix.columns)), range(len(matrix.rows))
        axes.set_xticks(
            x, matrix.columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=size, parse_math=False
        )
        axes.set_yticks(y, matrix.rows, fontsize=size, parse_math=False)
        axes.set(xlabel=matrix.x, ylabel=matrix.y)
        if len(matrix.rows) <= _MOST_NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(matrix.counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
