"""The decision threshold: best where it was chosen, and never worse there than 0.5."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
)

from hubtune.errors import InvalidRecipe
from tasks.evaluate.threshold import Metric, binary_figures, choose_threshold, metric_at, positive_class

METRICS: tuple[Metric, ...] = get_args(Metric)
# Few different scores, so that many are equal; and any.
SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.floats(0, 1))
ROWS = st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=40)


@settings(deadline=None, max_examples=200)
@given(ROWS, st.sampled_from(METRICS))
@example([(0.0, False), (5e-324, True)], "f1")
@example([(0.5, False), (float(np.nextafter(0.5, 1)), True)], "mcc")
def test_no_other_threshold_is_better(rows: list[tuple[float, bool]], metric: Metric) -> None:
    scores = np.array([score for score, _ in rows])
    belongs = np.array([truth for _, truth in rows])
    threshold = choose_threshold(scores, belongs, metric)
    assert 0 <= threshold <= 1
    reached = getattr(binary_figures(belongs, scores >= threshold), metric)
    for other in (*scores, *np.minimum(np.nextafter(scores, 2), 1), 0.0, 0.5):
        assert reached >= getattr(binary_figures(belongs, scores >= other), metric) - 1e-9


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_binary_figures_are_those_of_scikit_learn(rows: list[tuple[bool, bool]]) -> None:
    belongs, predicted = (np.array(side) for side in zip(*rows, strict=True))
    figures = binary_figures(belongs, predicted)
    assert figures.accuracy == pytest.approx(accuracy_score(belongs, predicted))
    assert figures.f1 == pytest.approx(f1_score(belongs, predicted, zero_division=0))
    assert figures.precision == pytest.approx(precision_score(belongs, predicted, zero_division=0))
    assert figures.recall == pytest.approx(recall_score(belongs, predicted, zero_division=0))
    if len({*belongs, *predicted}) == 2:  # scikit-learn warns otherwise
        assert figures.mcc == pytest.approx(matthews_corrcoef(belongs, predicted))
    if len(set(belongs)) == 2:
        assert figures.balanced_accuracy == pytest.approx(balanced_accuracy_score(belongs, predicted))
    assert figures.predicted == predicted.sum()


def test_the_threshold_stands_in_the_middle_between_two_scores() -> None:
    scores, belongs = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True])
    assert choose_threshold(scores, belongs, "f1") == pytest.approx(0.25)
    # An unbalanced set: the rare class is found well below 0.5.
    assert metric_at(np.array([0.25, 0.5]), scores, belongs, "f1").tolist() == [1.0, 0.0]


def test_where_every_threshold_is_as_good_it_stays_at_a_half() -> None:
    assert choose_threshold(np.array([0.1, 0.9]), np.array([False, False]), "f1") == 0.5
    assert choose_threshold(np.array([0.2, 0.8]), np.array([False, True]), "mcc") == 0.5
    # Scores that say nothing: of all and none, all give the higher F1.
    constant = choose_threshold(np.full(4, 0.3), np.array([True, False, False, False]), "f1")
    assert constant < 0.3


@pytest.mark.parametrize(("rows", "metric"), [(70_000, "mcc"), (70_000, "f1")])
def test_many_rows_do_not_overflow(rows: int, metric: Metric) -> None:
    belongs = np.arange(rows) % 2 == 0
    figures = binary_figures(belongs, belongs)
    assert getattr(figures, metric) == pytest.approx(1.0)


def test_the_positive_class_is_the_rarer_one_unless_named() -> None:
    training = np.array([0, 0, 1], np.int32)
    assert positive_class(None, ["no", "yes"], training) == 1
    assert positive_class(None, ["no", "yes"], 1 - training) == 0
    assert positive_class(None, ["no", "yes"], np.array([0, 1], np.int32)) == 1
    assert positive_class("no", ["no", "yes"], training) == 0
    assert positive_class(None, ["a", "b", "c"], training) is None


@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "perhaps"]])
def test_a_positive_class_that_is_not_one_of_two_is_refused(labels: list[str]) -> None:
    with pytest.raises(InvalidRecipe, match=r"'perhaps'.*classes: " + ", ".join(labels)) as caught:
        positive_class("perhaps", labels, np.array([0, 1], np.int32))
    assert "evaluate.positive_class" in caught.value.where
