"""Whether the classifier is better than the baselines by more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.answers import Answers
from tasks.evaluate.baselines import Baseline
from tasks.evaluate.bootstrap import Interval, Resamples, coded, interval
from tasks.evaluate.metrics import MultilabelFigures, SplitFigures, multilabel_figures, split_figures
from tasks.evaluate.reading import decide_each
from tasks.evaluate.threshold import Metric, choose_threshold

Outcome = Literal["better", "not told apart", "worse"]

# Below this many rows the percentile bootstrap says little: its intervals are too narrow.
FEWEST_ROWS = 30


@dataclass(frozen=True)
class Decided:
    """What one classifier decides on the test rows: int[n], class indices, by log probability and at its threshold."""

    likeliest: NDArray[np.integer]
    at_threshold: NDArray[np.integer] | None


@dataclass(frozen=True)
class Compared:
    """A baseline's figures on the test rows, and by how much the classifier is above it.

    `f1_at_threshold` is the positive class' F1 at the baseline's own threshold, chosen as the classifier's is; None
    where there is no positive class.
    """

    name: str
    description: str
    figures: SplitFigures | MultilabelFigures
    threshold: float | None
    f1_at_threshold: float | None
    above_it: dict[str, Interval]
    outcome: Outcome


@dataclass(frozen=True)
class Comparison:
    """Intervals of the classifier's own figures, the baselines, and what follows in one sentence."""

    intervals: dict[str, Interval]
    baselines: list[Compared]
    verdict: str


def compare(
    decided: Decided,
    test: Answers,
    validation: Answers,
    baselines: Sequence[Baseline],
    labels: list[str],
    positive: int | None,
    metric: Metric,
) -> Comparison:
    """Draw the test rows again and again, and compare in each draw.

    Args:
        decided: what the classifier decides on the test rows.
        test: the test rows.
        validation: the validation rows, on which the baselines' thresholds are chosen.
        baselines: fitted baselines.
        labels: class names in class order.
        positive: index of the positive class; None with more than two classes.
        metric: what thresholds are chosen for.

    Returns:
        Intervals, figures, verdict.
    """
    everyone = {"": decided}
    thresholds: dict[str, float | None] = {}
    for baseline in baselines:
        answered = baseline.logits
        threshold = None
        if positive is not None:
            belongs = validation.truth == positive
            threshold = choose_threshold(np.exp(answered["validation"][:, positive]), belongs, metric)
        thresholds[baseline.name] = threshold
        everyone[baseline.name] = decide(answered["test"], positive, threshold)
    predictions: dict[str, NDArray[np.integer]] = {}
    for name, decisions in everyone.items():
        predictions[name] = decisions.likeliest
        if decisions.at_threshold is not None:
            predictions[f"{name} at threshold"] = decisions.at_threshold
    resamples = Resamples(test.truth, predictions, np.eye(len(labels), dtype=np.bool_))
    figures = {name: _figures(resamples, name, positive) for name in everyone}
    own = {each.name: split_figures(each.logits["test"], test.truth, labels, positive) for each in baselines}
    return _compared(figures, baselines, own, thresholds, len(test.truth))


def compare_multilabel(
    predicted: NDArray[np.bool_], test: Answers, baselines: Sequence[Baseline], labels: list[str]
) -> Comparison:
    """Draw test rows that may belong to several classes again and again, and compare in each draw.

    Args:
        predicted: bool[n, classes], the classes that the classifier says each test row belongs to.
        test: the test rows.
        baselines: fitted baselines.
        labels: class names in class order.

    Returns:
        Intervals, figures, verdict.
    """
    everyone = {"": predicted} | {baseline.name: decide_each(baseline.logits["test"]) for baseline in baselines}
    resamples = Resamples(*coded(test.truth, everyone))
    figures = {name: _figures(resamples, name, None) for name in everyone}
    own = {baseline.name: multilabel_figures(baseline.logits["test"], test.truth, labels) for baseline in baselines}
    return _compared(figures, baselines, own, dict.fromkeys(own), len(test.truth))


def decide(log_probabilities: NDArray[np.float64], positive: int | None, threshold: float | None) -> Decided:
    """Turn probabilities into decisions.

    Args:
        log_probabilities: float64[n, classes], natural logarithms.
        positive: index of the positive class of two; None with more.
        threshold: probability from which on it is predicted; None with more than two classes.

    Returns:
        The likeliest class of each row, and the class at the threshold.
    """
    likeliest = log_probabilities.argmax(axis=1)
    if positive is None or threshold is None:
        return Decided(likeliest, None)
    above = np.exp(log_probabilities[:, positive]) >= threshold
    return Decided(likeliest, np.where(above, positive, 1 - positive))


def _figures(resamples: Resamples, name: str, positive: int | None) -> dict[str, NDArray[np.float64]]:
    figures = {"accuracy": resamples.accuracy(name), "macro_f1": resamples.macro_f1(name)}
    if positive is not None:
        figures["f1_at_threshold"] = resamples.f1(f"{name} at threshold")[:, positive]
    return figures


def _compared(
    figures: Mapping[str, Mapping[str, NDArray[np.float64]]],
    baselines: Sequence[Baseline],
    own: Mapping[str, SplitFigures] | Mapping[str, MultilabelFigures],
    thresholds: Mapping[str, float | None],
    rows: int,
) -> Comparison:
    # Figures by name of the baseline ("" is the classifier): as they are, then in each draw.
    compared = []
    for baseline in baselines:
        above = {name: interval(values - figures[baseline.name][name]) for name, values in figures[""].items()}
        at_threshold = figures[baseline.name].get("f1_at_threshold")
        compared.append(
            Compared(
                name=baseline.name,
                description=baseline.description,
                figures=own[baseline.name],
                threshold=thresholds[baseline.name],
                f1_at_threshold=None if at_threshold is None else float(at_threshold[0]),
                above_it=above,
                outcome=_outcome(above),
            )
        )
    intervals = {name: interval(values) for name, values in figures[""].items()}
    return Comparison(intervals, compared, _verdict(compared, rows))


def _outcome(above: Mapping[str, Interval]) -> Outcome:
    # Accuracy is left out: on an unbalanced set, always saying the frequent class has a high one.
    deciding = [interval for name, interval in above.items() if name != "accuracy"]
    if all(interval.low > 0 for interval in deciding):
        return "better"
    return "worse" if any(interval.high < 0 for interval in deciding) else "not told apart"


_WORDS = {"macro_f1": "macro-F1", "f1_at_threshold": "F1 at the threshold"}


def _verdict(compared: Sequence[Compared], rows: int) -> str:
    if rows < FEWEST_ROWS:
        return f"{rows} test rows are too few to tell whether the classifier is better than the baselines."
    sentences = []
    for outcome, words in (
        ("worse", "Worse than {} by more than noise: {}."),
        ("not told apart", "Not shown to be better than {} by more than noise: {}."),
        ("better", "Better than {} by more than noise: {}."),
    ):
        those = [baseline for baseline in compared if baseline.outcome == outcome]
        if those:
            names = " and ".join(baseline.name for baseline in those)
            sentences.append(words.format(names, "; ".join(_differences(baseline) for baseline in those)))
    return " ".join([*sentences, "(In brackets: 95 % intervals.)"])


def _differences(baseline: Compared) -> str:
    parts = []
    for name, words in _WORDS.items():
        if name in baseline.above_it:
            above = baseline.above_it[name]
            parts.append(f"{words} {above.estimate:+.3f} ({above.low:+.3f} to {above.high:+.3f})")
    return ", ".join(parts)
