"""Rows that belong to several classes, or to none."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.errors import InvalidData, QuarantineLimitExceeded
from schemas.rows import Reason
from tasks.preprocess.labels import split_labels
from tests.preprocess.conftest import Row, Run, judged

LABELS = {"w": "weather", "f": "food", "m": "music", "song": "music"}

separators = st.sampled_from([",", ";", "|", " / ", "::"])
names = st.text(max_size=6).map(str.strip).filter(bool)
spaces = st.sampled_from(["", " ", "\t", " \u00a0"])


def sound_rows(count: int = 60) -> list[Row]:
    """Rows of which each split has some of each class, "w" and "f", and some of none."""
    return [(f"Is {number} a good number?", ["w", "f", "w,f", ","][number % 4]) for number in range(count)]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("w", ["w"]),
        ("f, w ,f", ["f", "w"]),
        ("w,,f,", ["w", "f"]),
        (",", []),
        (" , ,", []),
        ("w;f", ["w;f"]),
        ('["f", " w", "f"]', ["f", "w"]),
        ('["w,f"]', ["w,f"]),
        ("[]", []),
        ('[""]', []),
        ('["w", null]', ["w", None]),
        ("[1, 2, true]", ["1", "2", None]),
        ("['w', 'f']", [None]),
        ('[["w"]]', [None]),
        ('["\\ud800"]', [None]),
        ("[w], f", ["[w]", "f"]),
    ],
)
def test_labels_of_a_row(value: str, labels: list[str | None]) -> None:
    assert split_labels(value, ",") == labels


@given(separators, st.data())
def test_what_was_joined_is_split(separator: str, data: st.DataObject) -> None:
    sound = names.filter(lambda name: not set(name) & set(separator) and not name.startswith("["))
    labels = data.draw(st.lists(sound, max_size=6))
    cells = [data.draw(spaces) + label + data.draw(spaces) for label in labels]
    assert split_labels(separator.join(cells), separator) == list(dict.fromkeys(labels))


@given(st.lists(names | st.none(), max_size=6), separators)
def test_lists_are_taken_as_they_are(labels: list[str | None], separator: str) -> None:
    assert split_labels(json.dumps(labels, ensure_ascii=False), separator) == list(dict.fromkeys(labels))


@given(st.text(max_size=40) | st.text('[]",\\ a1', max_size=12), separators)
def test_any_value_has_distinct_labels_that_can_be_stored(value: str, separator: str) -> None:
    labels = split_labels(value, separator)
    assert len(set(labels)) == len(labels)
    assert all(label is None or (label and label == label.strip()) for label in labels)
    pl.Series(labels, dtype=pl.String)


@pytest.mark.parametrize(
    ("label", "reason", "classes"),
    [
        ("w", None, ["weather"]),
        (" m, w ", None, ["music", "weather"]),
        ("m,song", None, ["music"]),
        (",", None, []),
        ('["song", "f"]', None, ["food", "music"]),
        ("[]", None, []),
        ("w,rain", Reason.UNKNOWN_LABEL, None),
        ("rain", Reason.UNKNOWN_LABEL, None),
        ('["w", null]', Reason.UNKNOWN_LABEL, None),
        ("w;f", Reason.UNKNOWN_LABEL, None),
        ("w,\ufffd", Reason.UNDECODABLE_BYTES, None),
        (None, Reason.MISSING_LABEL, None),
        ("", Reason.MISSING_LABEL, None),
        (" \t", Reason.MISSING_LABEL, None),
    ],
)
def test_a_row_by_itself(label: str | None, reason: Reason | None, classes: list[str] | None) -> None:
    found = judged([("Why?", label)], LABELS, ",")
    assert found["reason"].to_list() == [reason]
    assert found["classes"].to_list() == [classes]


def test_copies_conflict_where_their_sets_differ() -> None:
    rows: list[Row] = [
        ("Why?", "w,f"),
        ("Why? ", '["f", "w"]'),
        ("Who?", "w"),
        ("Who?", "w,f"),
        ("How?", ","),
        ("How?", "[]"),
        ("When?", ","),
        ("When?", "w"),
        ("Where?", "m"),
        ("Where?", "song,m"),
    ]
    conflict, duplicate = Reason.CONFLICTING_LABELS, Reason.DUPLICATE
    found = judged(rows, LABELS, ",")["reason"].to_list()
    assert found == [None, duplicate, conflict, conflict, None, duplicate, conflict, conflict, None, duplicate]


def test_clean_rows_have_the_indices_of_their_classes(run: Run) -> None:
    outcome = run([*sound_rows(), ("Both?", "f , w,f")], labels={"w": "weather", "f": "food"}, separator=",")
    assert (outcome.facts.task, outcome.facts.labels) == ("multilabel", ["weather", "food"])
    kept = outcome.kept
    assert kept.schema["label"] == pl.List(pl.Int32)
    labels = dict(kept.select("text", "label").iter_rows())
    assert [labels[f"Is {number} a good number?"] for number in range(4)] == [[0], [1], [0, 1], []]
    assert labels["Both?"] == [0, 1]


def test_without_a_map_every_label_is_a_class(run: Run) -> None:
    outcome = run(sound_rows(), separator=",")
    assert outcome.facts.labels == ["f", "w"]
    labels = dict(outcome.kept.select("text", "label").iter_rows())
    assert [labels[f"Is {number} a good number?"] for number in range(4)] == [[1], [0], [0, 1], []]


def test_a_separator_alone_does_not_change_rows_of_one_class(run: Run) -> None:
    rows: list[Row] = [(f"Is {number} a good number?", str(number % 2)) for number in range(60)]
    one, several = run(rows), run(rows, separator=",")
    assert (one.facts.task, several.facts.task) == ("multiclass", "multilabel")
    assert several.kept["label"].to_list() == [[label] for label in one.kept["label"]]
    assert several.kept.drop("label").equals(one.kept.drop("label"))
    assert several.report == one.report | {"none_of_the_classes": 0}


def test_the_report_counts_rows_of_each_class_and_of_none(run: Run) -> None:
    outcome = run(
        [*sound_rows(), ("Odd?", ", ;")], max_quarantine=1, labels={"w": "weather", "f": "food"}, separator=","
    )
    report = outcome.report
    assert report["none_of_the_classes"] == 15
    assert [(entry["class"], entry["rows"], entry["share"]) for entry in report["classes"]] == [
        ("weather", 30, 0.5),
        ("food", 30, 0.5),
    ]
    assert report["quarantined"]["listed"][0]["label"] == ", ;"
    assert outcome.turned_away["label"].to_list() == [", ;"]
    assert "15 rows have none" in outcome.page


def test_the_labels_that_are_unknown_are_named_one_by_one(run: Run) -> None:
    rows: list[Row] = [*sound_rows(), *((f"{number}?", f"w,rain{number % 2},snow") for number in range(30))]
    with pytest.raises(QuarantineLimitExceeded) as caught:
        run(rows, labels={"w": "weather", "f": "food"}, separator=",")
    assert "unknown: 'snow', 'rain0', 'rain1'" in caught.value.remedy


def test_a_class_that_all_training_rows_have_is_refused(run: Run) -> None:
    rows: list[Row] = [(f"Is {number} a good number?", ["w", "w,f"][number % 2]) for number in range(60)]
    with pytest.raises(InvalidData, match=r"Each of the \d+ training rows has the class 'w'"):
        run(rows, separator=",")


def test_a_class_that_a_split_lacks_is_refused(run: Run) -> None:
    with pytest.raises(InvalidData, match=r"Each split needs rows of each class[\s\S]*\n  m +[01] "):
        run([*sound_rows(), ("Which song?", "w,m")], separator=",")


@pytest.mark.parametrize("label", [",", "w"])
def test_fewer_than_two_classes_are_refused(run: Run, label: str) -> None:
    with pytest.raises(InvalidData, match="needs at least two classes"):
        run([(f"Is {number} a good number?", label) for number in range(60)], separator=",")


def test_equal_rows_give_equal_files(run: Run) -> None:
    assert run(sound_rows(), separator=",").contents() == run(sound_rows(), separator=",").contents()
