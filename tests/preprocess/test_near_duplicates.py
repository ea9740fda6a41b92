"""Texts that nearly repeat another: which are found, which copy is kept, and what the report says of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.preprocess.near_duplicates import Copy, _bands, near_duplicates
from tests.preprocess.conftest import Row, Run, sound_rows

SENTENCE = "My neighbour asks every morning whether the tram to the old harbour still runs on Sundays in winter."


def similarity(one: str, other: str) -> float:
    """Written out: the runs of five characters that both have, over those that either has."""
    runs = [{text.casefold()[start : start + 5] for start in range(max(1, len(text) - 4))} for text in (one, other)]
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def found_among(texts: list[str], threshold: float) -> dict[int, Copy]:
    return near_duplicates(texts, [0] * len(texts), threshold, lambda line: None)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("ab .", max_size=14), unique=True, max_size=15), st.sampled_from([0.5, 0.8, 0.99]))
def test_what_is_found_is_that_similar_to_an_earlier_text_that_is_kept(texts: list[str], threshold: float) -> None:
    found = found_among(texts, threshold)
    for position, copy in found.items():
        assert copy.of < position
        assert copy.of not in found
        assert copy.similarity == pytest.approx(similarity(texts[position], texts[copy.of]))
        assert copy.similarity >= threshold
    assert found_among(texts, threshold) == found


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1), unique_by=str.casefold, min_size=1, max_size=8))
def test_texts_of_the_same_runs_are_always_found(texts: list[str]) -> None:
    others = [text.swapcase() for text in texts]
    pairs = [(text, other) for text, other in zip(texts, others, strict=True) if text != other]
    both = [text for text, _ in pairs] + [other for _, other in pairs]
    assert set(found_among(both, 0.99)) >= set(range(len(pairs), len(both)))


def test_nearly_all_texts_with_a_letter_changed_are_found() -> None:
    draw = random.Random(3)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(400)]
    texts = [" ".join(draw.choices(words, k=18)) for _ in range(300)]
    changed = [f"{text[:middle]}#{text[middle + 1 :]}" for text in texts for middle in [len(text) // 2]]
    found = found_among(texts + changed, 0.8)
    assert not set(found) & set(range(len(texts)))
    right = [position for position, copy in found.items() if copy.of == position - len(texts)]
    assert len(right) > 0.98 * len(texts)


@pytest.mark.parametrize("threshold", [0.5, 0.75, 0.99])
def test_few_pairs_that_are_just_similar_enough_are_missed(threshold: float) -> None:
    bands, rows = _bands(threshold)
    assert bands * rows <= 128
    assert (1 - threshold**rows) ** bands <= 0.01 < (1 - threshold ** (rows + 1)) ** (128 // (rows + 1))


def test_an_exact_copy_of_a_near_copy_names_the_text_that_is_kept(run: Run) -> None:
    near = SENTENCE.replace("winter", "summer")
    rows: list[Row] = [*sound_rows(), (SENTENCE, "0"), (near, "0"), (near, "0")]
    report = run(rows, near_duplicates=0.75).report
    (exact,) = report["duplicates"]["listed"]
    (other,) = report["near_duplicates"]["listed"]
    assert (exact["row"], exact["kept"]["row"]) == (63, 61)
    assert (other["row"], other["kept"]["row"]) == (62, 61)


def test_one_of_similar_texts_with_the_same_class_is_kept(run: Run) -> None:
    added: list[Row] = [
        (SENTENCE, "0"),
        (SENTENCE.replace("winter", "summer"), "0"),
        (SENTENCE.upper(), "1"),
        (SENTENCE.replace("old", "new"), "1"),
        (SENTENCE, "0"),
    ]
    rows = [*sound_rows(), *added]
    kept = set(run(rows, near_duplicates=0.75).kept["text"])
    plain = run(rows)
    assert set(plain.kept["text"]) - kept == {SENTENCE.replace("winter", "summer"), SENTENCE.replace("old", "new")}
    outcome = run(rows, near_duplicates=0.75, max_quarantine=0)
    assert (outcome.away.duplicates, outcome.away.near_duplicates, outcome.away.quarantined) == (1, 2, 0)
    assert outcome.away.rows_in == outcome.away.rows_out + 3
    listed = outcome.report["near_duplicates"]["listed"]
    assert [(row["row"], row["kept"]["row"]) for row in listed] == [(62, 61), (64, 63)]
    assert listed[0]["kept"]["similarity"] == round(similarity(added[0][0] or "", added[1][0] or ""), 3)
    assert "2 near duplicates dropped" in outcome.page
    assert "| data.csv | 62 | row 61 |" in outcome.page
    assert outcome.turned_away["reason"].to_list().count("near_duplicate") == 2
    assert plain.report["near_duplicates"]["rows"] == 0
    assert "Near duplicates" not in plain.page


def test_of_given_splits_the_copy_that_is_held_out_is_kept(run: Run) -> None:
    given: list[Row] = [
        (f"{split} {number} is a number", str(number % 2), split) for split in ("train", "test") for number in range(60)
    ]
    rows: list[Row] = [*given, (SENTENCE, "0", "train"), (SENTENCE.replace("winter", "summer"), "0", "test")]
    outcome = run(rows, given="train test", near_duplicates=0.75)
    leaks = outcome.report["near_duplicates"]["leakage"]
    assert {"removed_from": "train", "kept_in": "test", "rows": 1} in leaks
    assert SENTENCE not in set(outcome.kept["text"])
    assert SENTENCE.replace("winter", "summer") in set(outcome.split("test")["text"])
    assert "Leakage: " in outcome.page
