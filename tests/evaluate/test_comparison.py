"""Better than the baselines by more than noise, or not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.evaluate.baselines import Baseline
from tasks.evaluate.comparison import Comparison, compare, compare_multilabel, decide
from tasks.evaluate.metrics import multilabel_figures
from tasks.evaluate.reading import decide_each, log_softmax
from tests.evaluate.small_artifacts import answers, answers_of_each

ROWS = 400
TRUTH = np.arange(ROWS, dtype=np.int32) % 10 // 8  # a fifth is of class 1


def classifier(right: float, seed: int, sureness: float = 2.0) -> NDArray[np.float64]:
    """Logits that are right for about this share of the rows."""
    random = np.random.default_rng(seed)
    said = np.where(random.random(ROWS) < right, TRUTH, 1 - TRUTH)
    return sureness * np.eye(2)[said]


def compared(own: NDArray[np.float64], other: NDArray[np.float64], rows: int = ROWS) -> Comparison:
    test = answers(TRUTH[:rows].tolist(), own[:rows])
    baseline = Baseline("other", "Another.", {"validation": log_softmax(other), "test": log_softmax(other[:rows])})
    decided = decide(log_softmax(test.logits), 1, 0.5)
    return compare(decided, test, answers(TRUTH.tolist(), own), [baseline], ["no", "yes"], 1, "f1")


@pytest.mark.parametrize(
    ("own", "other", "outcome", "verdict"),
    [
        (0.95, 0.75, "better", "Better than other by more than noise: macro-F1 +0."),
        (0.75, 0.95, "worse", "Worse than other by more than noise: macro-F1 -0."),
        (0.85, 0.85, "not told apart", "Not shown to be better than other by more than noise: macro-F1 "),
    ],
)
def test_the_verdict_follows_from_the_interval_of_the_difference(
    own: float, other: float, outcome: str, verdict: str
) -> None:
    comparison = compared(classifier(own, 1), classifier(other, 2))
    (baseline,) = comparison.baselines
    assert baseline.outcome == outcome
    assert comparison.verdict.startswith(verdict)
    for name in ("macro_f1", "f1_at_threshold"):
        above = baseline.above_it[name]
        assert above.low < above.estimate < above.high
        assert (above.low > 0) == (outcome == "better")
        assert (above.high < 0) == (outcome == "worse")


def test_a_high_accuracy_on_an_unbalanced_set_is_not_better() -> None:
    # Always "no": 80 % accuracy. The classifier finds every "yes", and pays with a lower accuracy.
    always = np.tile([1.0, 0.0], (ROWS, 1))
    own = classifier(0.75, 3)
    own[TRUTH == 1] = [0, 2]
    comparison = compared(own, always)
    (baseline,) = comparison.baselines
    assert baseline.figures.accuracy == 0.8
    assert baseline.above_it["accuracy"].estimate < 0.01
    assert baseline.outcome == "better"
    # Where all scores are equal, the best threshold is the one that says "yes" of all: 2 * 0.2 / 1.2.
    assert baseline.f1_at_threshold == pytest.approx(1 / 3)


def test_few_rows_tell_nothing() -> None:
    comparison = compared(classifier(1.0, 1), classifier(0.0, 2), rows=29)
    assert comparison.verdict.startswith("29 test rows are too few to tell")


def test_decisions_at_a_threshold() -> None:
    probabilities = np.log([[0.7, 0.3], [0.8, 0.2], [0.1, 0.9]])
    assert decide(probabilities, 1, 0.25).likeliest.tolist() == [0, 0, 1]
    for positive, threshold in ((1, 0.25), (0, 0.75)):
        at_threshold = decide(probabilities, positive, threshold).at_threshold
        assert at_threshold is not None
        assert at_threshold.tolist() == [1, 0, 1]
    assert decide(probabilities, None, None).at_threshold is None


BELONGS = np.random.default_rng(4).random((ROWS, 3)) < [0.6, 0.3, 0.1]


def classifier_of_each(right: float, seed: int) -> NDArray[np.float64]:
    """Logits of each class that are right for about this share of the decisions."""
    random = np.random.default_rng(seed)
    return np.where((random.random(BELONGS.shape) < right) == BELONGS, 2.0, -2.0)


@pytest.mark.parametrize(
    ("own", "other", "outcome", "verdict"),
    [
        (0.95, 0.75, "better", "Better than other by more than noise: macro-F1 +0."),
        (0.75, 0.95, "worse", "Worse than other by more than noise: macro-F1 -0."),
        (0.85, 0.85, "not told apart", "Not shown to be better than other by more than noise: macro-F1 "),
    ],
)
def test_the_verdict_on_several_classes_for_a_row(own: float, other: float, outcome: str, verdict: str) -> None:
    logits, others = classifier_of_each(own, 1), classifier_of_each(other, 2)
    baseline = Baseline("other", "Another.", {"test": others})
    labels = ["a", "b", "c"]
    comparison = compare_multilabel(decide_each(logits), answers_of_each(BELONGS, logits), [baseline], labels)
    (compared,) = comparison.baselines
    assert compared.outcome == outcome
    assert comparison.verdict.startswith(verdict)
    assert set(comparison.intervals) == set(compared.above_it) == {"accuracy", "macro_f1"}
    assert (compared.threshold, compared.f1_at_threshold) == (None, None)
    figures = {name: multilabel_figures(each, BELONGS, labels) for name, each in (("", logits), ("other", others))}
    assert compared.figures == figures["other"]
    for name, above in compared.above_it.items():
        assert comparison.intervals[name].estimate == pytest.approx(getattr(figures[""], name))
        difference = getattr(figures[""], name) - getattr(figures["other"], name)
        assert above.estimate == pytest.approx(difference)
        assert above.low < above.estimate < above.high
