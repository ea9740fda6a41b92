"""The figures of one split, against scikit-learn and against what can be counted by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    classification_report,
    hamming_loss,
    log_loss,
    roc_auc_score,
)

from tasks.evaluate.metrics import multilabel_figures, split_figures
from tasks.evaluate.reading import log_softmax
from tests.evaluate.test_reading import of_each_class

LABELS = ["sincere", "insincere", "shouting"]


def answered(classes: int, rows: int = 200) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    random = np.random.default_rng(classes)
    truth = random.integers(0, classes, rows).astype(np.int32)
    return log_softmax(np.eye(classes)[truth] + random.normal(size=(rows, classes))), truth


@pytest.mark.parametrize("classes", [2, 3])
def test_figures_are_those_of_scikit_learn(classes: int) -> None:
    answers, truth = answered(classes)
    labels = LABELS[:classes]
    figures = split_figures(answers, truth, labels, 1 if classes == 2 else None)
    expected = classification_report(truth, answers.argmax(axis=1), target_names=labels, output_dict=True)
    assert figures.accuracy == pytest.approx(expected["accuracy"])
    for mean in ("macro", "weighted"):
        for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert getattr(figures, f"{mean}_{name}") == pytest.approx(expected[f"{mean} avg"][theirs])
    for label in labels:
        assert figures.per_class[label].f1 == pytest.approx(expected[label]["f1-score"])
        assert figures.per_class[label].support == expected[label]["support"]
    assert figures.loss == pytest.approx(log_loss(truth, np.exp(answers)))
    if classes == 2:
        assert figures.roc_auc == pytest.approx(roc_auc_score(truth, np.exp(answers[:, 1])))
        assert figures.pr_auc == pytest.approx(average_precision_score(truth, np.exp(answers[:, 1])))
    else:
        assert figures.roc_auc == pytest.approx(roc_auc_score(truth, np.exp(answers), multi_class="ovr"))
        assert figures.pr_auc == pytest.approx(average_precision_score(truth, np.exp(answers)))


def test_what_can_be_counted_by_hand() -> None:
    # Three of class 0, of which one is taken for class 1; one of class 1, which is found.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.25, 0.75]])
    figures = split_figures(np.log(probabilities), np.array([0, 0, 0, 1], np.int32), ["no", "yes"], 1)
    assert figures.confusion_matrix == [[2, 1], [0, 1]]
    assert figures.accuracy == 0.75
    yes = figures.per_class["yes"]
    assert (yes.precision, yes.recall, yes.support) == (0.5, 1.0, 1)
    assert yes.f1 == pytest.approx(2 / 3)
    assert figures.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert figures.weighted_recall == pytest.approx(0.75)
    assert figures.loss == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.75]).mean())
    assert figures.roc_auc == 1.0


def test_a_class_that_does_not_occur_counts_nothing_and_has_no_areas() -> None:
    answers = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    figures = split_figures(answers, np.array([0, 1], np.int32), LABELS, None)
    absent = figures.per_class["shouting"]
    assert (absent.f1, absent.support, absent.roc_auc, absent.pr_auc) == (0.0, 0, None, None)
    assert figures.macro_f1 == pytest.approx(2 / 3)
    assert (figures.roc_auc, figures.pr_auc) == (1.0, 1.0)


def test_one_row_has_no_areas() -> None:
    figures = split_figures(np.log([[0.75, 0.25]]), np.array([0], np.int32), ["no", "yes"], 1)
    assert (figures.accuracy, figures.macro_f1) == (1.0, 0.5)
    assert figures.roc_auc is None
    assert figures.pr_auc is None
    assert figures.in_brief().model_dump() == {
        "rows": 1,
        "loss": pytest.approx(-np.log(0.75)),
        "accuracy": 1.0,
        "macro_f1": 0.5,
    }


@settings(deadline=None, max_examples=60)
@given(of_each_class())
def test_figures_of_each_class_are_those_of_scikit_learn(given: tuple[Any, Any]) -> None:
    logits, belongs = given
    labels = [f"class {index}" for index in range(logits.shape[1])]
    predicted = logits >= 0
    figures = multilabel_figures(logits, belongs, labels)
    assert figures.rows == len(logits)
    assert figures.accuracy == pytest.approx(accuracy_score(belongs, predicted))
    assert figures.hamming_loss == pytest.approx(hamming_loss(belongs, predicted))
    expected = classification_report(belongs, predicted, target_names=labels, output_dict=True, zero_division=0)
    for name, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        for average in ("micro", "macro", "weighted"):
            assert getattr(figures, f"{average}_{name}") == pytest.approx(expected[f"{average} avg"][theirs])
        for label in labels:
            assert getattr(figures.per_class[label], name) == pytest.approx(expected[label][theirs])
    for index, label in enumerate(labels):
        each, truth = figures.per_class[label], belongs[:, index]
        said = predicted[:, index]
        assert (each.tp, each.fp) == ((truth & said).sum(), (~truth & said).sum())
        assert (each.fn, each.tn) == ((truth & ~said).sum(), (~truth & ~said).sum())
        assert each.support == truth.sum()
        if 0 < truth.sum() < len(truth):
            assert each.roc_auc == pytest.approx(roc_auc_score(truth, logits[:, index]))
            assert each.pr_auc == pytest.approx(average_precision_score(truth, logits[:, index]))
        else:
            assert (each.roc_auc, each.pr_auc) == (None, None)
    if all(0 < side.sum() < len(side) for side in belongs.T):
        assert figures.roc_auc == pytest.approx(roc_auc_score(belongs, logits, average="macro"))
        assert figures.pr_auc == pytest.approx(average_precision_score(belongs, logits, average="macro"))


def test_decisions_on_each_class_that_can_be_counted_by_hand() -> None:
    # The first row is right, of the second one class is missed, of the third one wrongly given; the last has no class.
    belongs = np.array([[True, True], [True, True], [False, True], [False, False]])
    logits = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    figures = multilabel_figures(logits, belongs, ["a", "b"])
    assert (figures.accuracy, figures.hamming_loss) == (0.5, 0.25)
    a, b = figures.per_class.values()
    assert (a.tp, a.fp, a.fn, a.tn) == (2, 1, 0, 1)
    assert (b.tp, b.fp, b.fn, b.tn) == (2, 0, 1, 1)
    assert (a.precision, a.recall, b.precision, b.recall) == pytest.approx((2 / 3, 1.0, 1.0, 2 / 3))
    # All decisions together: 4 found, 1 wrongly given, 1 missed.
    assert figures.micro_f1 == pytest.approx(0.8)
    assert figures.loss == pytest.approx((6 * np.log1p(np.exp(-1)) + 2 * np.log1p(np.exp(1))) / 8)
    assert figures.in_brief().model_dump() == {
        "rows": 4,
        "loss": figures.loss,
        "accuracy": 0.5,
        "macro_f1": pytest.approx(0.8),
    }
