"""Whatever the rows are: each is kept, quarantined or a duplicate, and what is kept keeps its promises."""

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from hubtune.inference.normalise import normalise
from schemas.rows import QUARANTINE_REASONS
from tasks.preprocess.split import text_key
from tests.preprocess.conftest import Row, Run, sound_rows

# A few texts again and again, in dirty disguises, so that copies and conflicts are common.
few = st.sampled_from(
    ["Why?", "Wh\u200by?", " Why?\n", "Ｗｈｙ？", "Who  is it?", "Who is it?", "ﬁ", "fi", "Is 3 a good number?"]
)
dirt = st.sampled_from([None, "", " ", "\u00a0", "\u200b", "caf\ufffd", "a" * 51, "\x00", "\u0301", "|`<b>*"])
texts = few | dirt | st.text(max_size=30)
labels = st.sampled_from(["0", "1", " 0", "1\t", "2", "", " ", None, "\ufffd", "0.0"]) | st.text(max_size=3)
splits = st.sampled_from(["train", "validation", "test"])

SETTINGS = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@SETTINGS
@given(
    dirty=st.lists(st.tuples(texts, labels), max_size=30),
    mapped=st.sampled_from([True, True, True, False]),
    drop=st.booleans(),
)
@example(dirty=[("Is it a class?", "\x1c")], mapped=True, drop=True)
def test_one_source(run: Run, dirty: list[Row], mapped: bool, drop: bool) -> None:
    check(run, [*dirty, *sound_rows()], mapped, "", drop=drop and mapped)


@SETTINGS
@given(dirty=st.lists(st.tuples(texts, labels, splits), max_size=30), mapped=st.sampled_from([True, True, True, False]))
def test_given_splits(run: Run, dirty: list[Row], mapped: bool) -> None:
    names = ["train", "validation", "test"]
    sound: list[Row] = [(text, label, names[number // 2 % 3]) for number, (text, label, *_) in enumerate(sound_rows())]
    check(run, [*dirty, *sound], mapped, "train validation test")


def check(run: Run, rows: list[Row], mapped: bool, given: str, *, drop: bool = False) -> None:
    unmapped = "drop" if drop else "quarantine"
    labels = {"0": "no", "1": "yes"} if mapped else None
    outcome, refusal = None, ""
    try:
        outcome = run(rows, labels=labels, given=given, unmapped=unmapped, max_quarantine=1, max_characters=50)
    except InvalidData as error:
        refusal = str(error)
    if outcome is None:
        # Without a map, a stray label is a class that some split has no rows of.
        assert not mapped
        assert "Each split needs rows of each class" in refusal
        return
    facts, away, kept = outcome.facts, outcome.away, outcome.kept
    assert away.rows_in == len(rows) == away.rows_out + away.quarantined + away.duplicates + away.dropped
    assert away.dropped == 0 or drop
    assert away.rows_out == kept.height == facts.train + facts.validation + facts.test
    assert outcome.turned_away.height == away.quarantined + away.duplicates
    assert sum(away.reasons.values()) == away.quarantined
    assert set(away.reasons) <= {reason.value for reason in QUARANTINE_REASONS}
    assert kept["key"].n_unique() == kept.height
    for key, text in kept.select("key", "text").iter_rows():
        assert text
        assert text == normalise(text)
        assert len(text) <= 50
        assert key == text_key(text)
    if given:
        came = {(normalise(row[0]), row[-1]) for row in rows if row[0]}
        assert set(kept.select("text", "split").iter_rows()) <= came
    # Nothing that came is forgotten: a kept text is kept once, and every other text has a row that was turned away.
    # Unlike Python, Unicode does not count U+001C to U+001F as white space: such a label is not blank.
    stripped = pl.Series([row[1] for row in rows], dtype=pl.String).str.strip_chars().fill_null("").to_list()
    wanted = [row[0] for row, label in zip(rows, stripped, strict=True) if not drop or label in ("", "0", "1")]
    lost = {normalise(text) for text in wanted if text} - set(kept["text"])
    assert lost <= {normalise(text) for text in outcome.turned_away["text"] if text}
    report = outcome.report
    assert len(report["quarantined"]["listed"]) == away.quarantined
    assert len(report["duplicates"]["listed"]) == away.duplicates


def test_the_page_survives_any_text(run: Run) -> None:
    ugly = "a|b\r\n`c` <img src=x onerror=alert(1)> [d](javascript:e) **f** https://example.com \u202eg"
    outcome = run([*sound_rows(), (ugly, "0"), (ugly, "1"), (ugly + "!", "0")])
    line = next(line for line in outcome.page.splitlines() if "conflicting labels | data.csv" in line)
    assert "a\\|b⏎\\`c\\` &lt;img" in line
    assert "\\[d\\](javascript:e) \\*\\*f\\*\\*" in line
    assert "<" not in outcome.page
    assert "://" not in outcome.page
    assert "\u202e" not in outcome.page


@pytest.mark.parametrize("count", [99, 101])
def test_long_lists_are_cut(run: Run, count: int) -> None:
    rows: list[Row] = [*sound_rows(), *([("", "0")] * (count - 1)), (None, "0")]
    outcome = run(rows, max_quarantine=1)
    listed = outcome.report["quarantined"]["listed"]
    assert outcome.report["quarantined"]["complete"] == (count <= 100)
    assert len(listed) == (count if count <= 100 else 6)
    assert outcome.turned_away.height == count
