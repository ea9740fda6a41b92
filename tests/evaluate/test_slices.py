"""Slices by length and by column, and the mistakes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import accuracy_score, f1_score

from tasks.evaluate.comparison import Decided, decide
from tasks.evaluate.mistakes import confident_mistakes, confident_wrong_decisions
from tasks.evaluate.reading import log_softmax
from tasks.evaluate.slices import MOST_VALUES, NO_VALUE, OTHERS, Slice, multilabel_slices, slices
from tests.evaluate.small_artifacts import answers, answers_of_each
from tests.evaluate.test_reading import of_each_class


def sliced(texts: list[str], right: list[bool], **columns: list[str | None]) -> list[Slice]:
    truth = [number % 2 for number in range(len(texts))]
    said = np.array([label if ok else 1 - label for label, ok in zip(truth, right, strict=True)])
    return slices(answers(truth, np.eye(2)[said], texts, **columns), Decided(said, said), 1)


def test_quarters_by_length_hold_every_row_once() -> None:
    texts = ["x" * (1 + number % 40) for number in range(400)]
    found = sliced(texts, [True] * 400)
    assert [each.value for each in found] == [
        "1 to 10 characters",
        "11 to 20 characters",
        "21 to 30 characters",
        "31 to 40 characters",
    ]
    assert [each.rows for each in found] == [100] * 4
    assert not any(each.small for each in found)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["same", "long"], ["4 characters"]),
        (["a"], ["1 characters"]),
        (["a"] * 9 + ["long one"], ["1 characters", "2 to 8 characters"]),
    ],
)
def test_equal_lengths_make_fewer_slices(texts: list[str], values: list[str]) -> None:
    found = sliced(texts, [True] * len(texts))
    assert [each.value for each in found] == values
    assert sum(each.rows for each in found) == len(texts)
    assert all(each.small for each in found)


def test_every_value_of_a_column_is_a_slice() -> None:
    source: list[str | None] = ["mail", "mail", "mail", "chat", "chat", None]
    right = [True, True, False, False, False, True]
    mail, chat, none = sliced(["text"] * 6, right, source=source)[1:]
    assert [(each.by, each.value, each.rows) for each in (mail, chat, none)] == [
        ("source", "mail", 3),
        ("source", "chat", 2),
        ("source", NO_VALUE, 1),
    ]
    # Truth of the mails: 0, 1, 0, of which the last is taken for 1.
    assert mail.accuracy.estimate == pytest.approx(2 / 3)
    assert mail.macro_f1 == pytest.approx(2 / 3)
    assert mail.f1_at_threshold == pytest.approx(2 / 3)
    # Wilson's interval of 2 out of 3.
    assert (mail.accuracy.low, mail.accuracy.high) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert chat.accuracy.estimate == chat.macro_f1 == 0.0
    assert none.macro_f1 == 1.0


def test_without_a_positive_row_there_is_no_f1() -> None:
    first, second = sliced(["text"] * 2, [True, True], kind=["a", "b"])[1:]
    assert (first.f1_at_threshold, second.f1_at_threshold) == (None, 1.0)


def test_rare_values_are_one_slice() -> None:
    kinds = [str(number % 40) for number in range(100)]
    found = sliced(["text"] * 100, [True] * 100, kind=list(kinds))[1:]
    assert len(found) == MOST_VALUES + 1
    assert found[-1].value == OTHERS
    assert sum(each.rows for each in found) == 100
    # The more frequent first, equally frequent ones by name.
    assert [each.value for each in found[:3]] == ["0", "1", "10"]


def test_the_surest_mistakes_come_first() -> None:
    truth = [0, 1, 1, 0]
    test = answers(truth, [[0.0, 1.0], [3.0, 0.0], [0.0, 9.0], [0.0, 1.0]], ["a", "b", "c", "d"])
    mistakes = confident_mistakes(test, log_softmax(test.logits), ["no", "yes"])
    assert [(each.text, each.label, each.predicted) for each in mistakes] == [
        ("b", "yes", "no"),
        ("a", "no", "yes"),
        ("d", "no", "yes"),
    ]
    assert mistakes[0].probability == pytest.approx(1 / (1 + np.exp(-3)))
    assert mistakes[0].probability_of_label == pytest.approx(1 - mistakes[0].probability)


def test_at_most_fifty_mistakes() -> None:
    test = answers([0] * 80, np.tile([0.0, 1.0], (80, 1)))
    mistakes = confident_mistakes(test, log_softmax(test.logits), ["no", "yes"])
    assert [each.text for each in mistakes] == [f"text {number}" for number in range(50)]
    assert confident_mistakes(answers([1], [[0.0, 1.0]]), np.log([[0.3, 0.7]]), ["no", "yes"]) == []


def test_slices_of_three_classes_have_no_threshold() -> None:
    test = answers([0, 1, 2], np.eye(3))
    (only,) = slices(test, decide(log_softmax(test.logits), None, None), None)
    assert only.f1_at_threshold is None


def test_slices_of_rows_that_may_belong_to_several_classes() -> None:
    belongs = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]], np.bool_)
    said = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], np.bool_)
    test = answers_of_each(belongs, said - 0.5, ["text"] * 4, kind=["a", "a", "b", "c"])
    everything, a, b, c = multilabel_slices(test, said)
    assert [(each.value, each.rows) for each in (a, b, c)] == [("a", 2), ("b", 1), ("c", 1)]
    # Whole sets: the second and the last row are wrong. The first class has an F1 of 1, the second of 2/3.
    assert everything.accuracy.estimate == 0.5
    assert (everything.accuracy.low, everything.accuracy.high) == pytest.approx((0.1500, 0.8500), abs=1e-4)
    assert everything.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    # In slices, classes that neither occur nor are predicted do not count.
    assert a.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert (b.accuracy.estimate, b.macro_f1) == (1.0, None)
    assert (c.accuracy.estimate, c.macro_f1) == (0.0, 0.0)
    assert {each.f1_at_threshold for each in (everything, a, b, c)} == {None}


@settings(deadline=None, max_examples=30)
@given(of_each_class())
def test_the_slice_of_all_rows_has_the_figures_of_scikit_learn(given: tuple[Any, Any]) -> None:
    logits, belongs = given
    said = logits >= 0
    everything = multilabel_slices(answers_of_each(belongs, logits, ["text"] * len(logits)), said)[0]
    assert everything.accuracy.estimate == pytest.approx(accuracy_score(belongs, said))
    occurring = [index for index in range(belongs.shape[1]) if belongs[:, index].any() or said[:, index].any()]
    if occurring:
        expected = f1_score(belongs, said, labels=occurring, average="macro", zero_division=0)
        assert everything.macro_f1 == pytest.approx(expected)
    else:
        assert everything.macro_f1 is None


def test_the_surest_wrong_decisions_come_first() -> None:
    belongs = [[1, 0], [1, 1], [0, 0]]
    test = answers_of_each(belongs, [[-2.0, 3.0], [1.0, -40.0], [40.0, -9.0]], ["a", "b", "c"])
    wrong = confident_wrong_decisions(test, ["plants", "taxes"])
    assert [(each.text, each.label, each.predicted, each.labels) for each in wrong] == [
        ("b", "taxes", False, ["plants", "taxes"]),
        ("c", "plants", True, []),
        ("a", "taxes", True, ["plants"]),
        ("a", "plants", False, ["plants"]),
    ]
    expected = [1 / (1 + np.exp(40)), 1 / (1 + np.exp(-40)), 1 / (1 + np.exp(-3)), 1 / (1 + np.exp(2))]
    assert [each.probability for each in wrong] == pytest.approx(expected)


def test_at_most_fifty_wrong_decisions() -> None:
    test = answers_of_each(np.zeros((80, 2)), np.tile([1.0, -1.0], (80, 1)))
    assert [each.text for each in confident_wrong_decisions(test, ["a", "b"])] == [f"text {n}" for n in range(50)]
    assert confident_wrong_decisions(answers_of_each([[1, 0]], [[0.0, -1.0]]), ["a", "b"]) == []
