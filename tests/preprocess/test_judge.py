import pytest

from schemas.rows import Reason
from tests.preprocess.conftest import Row, judged

LABELS = {"0": "sincere", "1": "insincere", "one": "insincere"}


def reasons(rows: list[Row], labels: dict[str, str] | None = LABELS, longest: int = 100) -> list[str | None]:
    return judged(rows, labels, max_characters=longest)["reason"].to_list()


@pytest.mark.parametrize(
    ("text", "label", "reason"),
    [
        ("Why?", "0", None),
        ("  Why\n\tnow? ", " 1 ", None),
        ("caf\ufffd?", "0", Reason.UNDECODABLE_BYTES),
        ("Why?", "\ufffd", Reason.UNDECODABLE_BYTES),
        (None, "0", Reason.NULL_TEXT),
        ("", "0", Reason.BLANK_TEXT),
        (" \u00a0\u200b\ufeff\u3000\n", "0", Reason.BLANK_TEXT),
        ("a" * 100, "0", None),
        ("a" * 101, "0", Reason.TOO_LONG),
        (" " * 50 + "a" * 100, "0", None),
        ("\ufdfa" * 10, "0", Reason.TOO_LONG),
        ("Why?", "2", Reason.UNKNOWN_LABEL),
        ("Why?", "sincere", Reason.UNKNOWN_LABEL),
        ("Why?", None, Reason.MISSING_LABEL),
        ("Why?", " \t", Reason.MISSING_LABEL),
        ("Why?", "", Reason.MISSING_LABEL),
    ],
)
def test_a_row_by_itself(text: str | None, label: str | None, reason: Reason | None) -> None:
    assert reasons([(text, label)]) == [reason]


def test_the_first_reason_of_the_enumeration_is_given() -> None:
    order = list(Reason)
    rows: list[Row] = [(None, "\ufffd"), (None, None), ("\u200b", "9"), ("a" * 101, "9"), ("Why?", None)]
    found = [Reason(reason or "") for reason in reasons(rows)]
    assert found == [
        Reason.UNDECODABLE_BYTES,
        Reason.NULL_TEXT,
        Reason.BLANK_TEXT,
        Reason.TOO_LONG,
        Reason.MISSING_LABEL,
    ]
    assert sorted(found, key=order.index) == found


def test_every_reason_has_words_and_a_sentence() -> None:
    for reason in Reason:
        assert reason.words
        assert reason.sentence.endswith(".")


def test_all_copies_of_a_text_with_two_classes_are_turned_away() -> None:
    rows: list[Row] = [("Why?", "0"), ("How?", "0"), (" Ｗｈｙ?", "1"), ("Why?", "0"), ("Who?", "1")]
    conflict = Reason.CONFLICTING_LABELS
    assert reasons(rows) == [conflict, None, conflict, conflict, None]


def test_labels_of_one_class_and_bad_labels_do_not_conflict() -> None:
    assert reasons([("Why?", "1"), ("Why?", "one"), ("Why?", "maybe")]) == [None, "duplicate", "unknown_label"]


def test_without_a_map_every_label_is_a_class() -> None:
    assert reasons([("Why?", "1"), ("Why? ", " 1"), ("Who?", "one")], labels=None) == [None, "duplicate", None]


def test_the_first_copy_is_kept() -> None:
    found = judged([("Who?", "0"), ("Why?", "1"), ("Why\u00a0?", "1"), ("Why ?", "1")], LABELS)
    assert found["reason"].to_list() == [None, None, None, "duplicate"]
    assert found["first_copy"].to_list() == [None, None, None, 2]


def test_of_given_splits_test_wins_over_validation_over_train() -> None:
    rows: list[Row] = [
        ("everywhere", "0", "train"),
        ("train only", "0", "train"),
        ("train only", "0", "train"),
        ("train and validation", "1", "train"),
        ("everywhere", "0", "validation"),
        ("train and validation", "1", "validation"),
        ("everywhere", "0", "test"),
        ("everywhere", "0", "test"),
    ]
    duplicate = "duplicate"
    assert reasons(rows) == [duplicate, None, duplicate, duplicate, duplicate, None, None, duplicate]


def test_short_texts() -> None:
    rows: list[Row] = [(" Ｗ ", "0"), ("Why", "0"), ("Why?", "9"), ("ﬁﬁ", "0"), ("", "0")]
    too_short, blank, unknown = Reason.TOO_SHORT, Reason.BLANK_TEXT, Reason.UNKNOWN_LABEL
    # What counts is the normalised text: the ligatures are four letters.
    found = judged(rows, LABELS, min_characters=4)["reason"].to_list()
    assert found == [too_short, too_short, unknown, None, blank]


def test_labels_that_are_not_wanted_are_dropped() -> None:
    rows: list[Row] = [("Why?", "2"), ("Why?", "0"), ("", "2"), ("Who?", None), ("Who?", "one"), ("How?", "\ufffd")]
    found = judged(rows, LABELS, unmapped="drop")["reason"].to_list()
    # Nor do they conflict with those that are, or count as bad. What cannot be read may have been wanted.
    unmapped, missing, undecodable = Reason.UNMAPPED_LABEL, Reason.MISSING_LABEL, Reason.UNDECODABLE_BYTES
    assert found == [unmapped, None, unmapped, missing, None, undecodable]


def test_of_several_labels_those_that_are_not_wanted_are_left_out() -> None:
    rows: list[Row] = [("Why?", "0,2"), ("Why?", "0"), ("Who?", "2"), ("How?", '["0", null]'), ("When?", "['0', '2']")]
    found = judged(rows, LABELS, separator=",", unmapped="drop")
    unknown = Reason.UNKNOWN_LABEL
    assert found["reason"].to_list() == [None, Reason.DUPLICATE, None, unknown, unknown]
    assert found["classes"].to_list() == [["sincere"], ["sincere"], [], None, None]


def test_keys_belong_to_the_normalised_text() -> None:
    keys = judged([("Why?", "0"), ("  Ｗhy?\u200b", "0"), ("Who?", "0"), (None, "0")], LABELS)["key"]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0].hex() == "18e243fa4f6335fa85944ae20e5a879b"
    assert keys[3] is None
