"""Rows of which each has two texts."""

from collections.abc import Sequence

import polars as pl
import pytest

from hubtune.errors import QuarantineLimitExceeded
from hubtune.inference.pairs import join_pair
from tests.preprocess.conftest import Run, raw_table, sound_rows

NUMBERS = range(200)


def table(more: Sequence[tuple[str | None, str | None, str]] = ()) -> pl.DataFrame:
    rows = [(f"Is {number} even?", f"{number}\u00a0is  even.", str(number % 2)) for number in NUMBERS]
    firsts, seconds, labels = zip(*rows, *more, strict=True)
    return raw_table(list(zip(firsts, labels, strict=True))).with_columns(
        pl.Series("text_pair", seconds, dtype=pl.String)
    )


def test_both_texts_are_normalised_and_kept_as_one(run: Run) -> None:
    outcome = run(table())
    texts = set(outcome.kept["text"])
    assert texts == {join_pair(f"Is {number} even?", f"{number} is even.") for number in NUMBERS}
    assert outcome.split("train").columns == ["key", "text", "label"]
    assert outcome.report["normalised"]["changes"] == {"white space": 200}
    assert r"Is 0 even? ｜ 0\\u00a0is␣␣even." in outcome.page


def test_each_text_of_a_pair_must_be_sound(run: Run) -> None:
    bad = [
        (None, "It is.", "0", "null_text"),
        ("Is it?", None, "0", "null_text"),
        ("\u200b", "It is.", "0", "blank_text"),
        ("Is it?", " ", "0", "blank_text"),
        ("Is it?", "b", "0", "too_short"),
        ("a" * 300, "It is.", "0", "too_long"),
        ("Is it?", "It \ufffd is.", "0", "undecodable_bytes"),
        ("Is 1 even?", "1 is even.", "1", "duplicate"),
        ("Is 2 even?", "2 is even.", "1", "conflicting_labels"),
    ]
    outcome = run(table([row[:3] for row in bad]), max_quarantine=1, min_characters=2, max_characters=250)
    away = outcome.turned_away
    given = zip(*away.select("text", "text_pair", "label", "reason"), strict=True)
    assert [row for row in given if row[0] != "Is 2 even?"] == [row for row in bad if row[0] != "Is 2 even?"]
    assert away["reason"].to_list().count("conflicting_labels") == 2
    assert outcome.facts.train + outcome.facts.validation + outcome.facts.test == 199
    assert "(none) ｜ It is." in outcome.page


def test_a_text_may_occur_in_many_pairs(run: Run) -> None:
    rows = table([("Is 0 even?", f"{number} is odd.", str(number % 2)) for number in NUMBERS])
    outcome = run(rows)
    assert outcome.kept.height == 400
    assert outcome.away.duplicates == outcome.away.quarantined == 0


def test_where_too_many_are_bad_both_texts_are_shown(run: Run) -> None:
    rows = table([("Is 2 even?", "2 is even.", "9")])
    with pytest.raises(QuarantineLimitExceeded, match=r"label 9, text Is 2 even\? ｜ 2 is even\."):
        run(rows, {"0": "yes", "1": "no"}, max_quarantine=0)


def test_pairs_are_near_duplicates_where_both_texts_are(run: Run) -> None:
    passage = " ".join(
        f"In the year {number} the duke moved his court to another town." for number in range(1600, 1610)
    )
    more = [
        (passage, "What language did the people adopt?", "0"),
        (passage, "Who formed the duchy by treaty?", "0"),
        ("Who formed the duchy by treaty?", passage, "0"),
        (passage + "!", "Who formed the duchy by a treaty?", "0"),
    ]
    outcome = run(table(more), near_duplicates=0.7, max_characters=5000)
    assert outcome.away.near_duplicates == 1
    assert outcome.report["near_duplicates"]["listed"][0]["text"].endswith("Who formed the duchy by a treaty?")
    # Each text is shown, however long the other one is.
    assert f"… ({len(passage)} characters) ｜ Who formed the duchy by treaty?" in outcome.page


def test_what_is_replaced_is_counted_in_both_texts(run: Run) -> None:
    more = [("See https://a.org", "It is.", "0"), ("It is a ｜ b.", "See http://b.org", "1")]
    outcome = run(table(more), replace=["urls", "users"])
    kinds = {"white space": 200, "web addresses": 2, "compatibility characters": 1}
    assert outcome.report["normalised"]["changes"] == kinds


def test_lengths_are_those_of_the_texts(run: Run) -> None:
    outcome = run(table())
    assert outcome.report["lengths"]["words"]["max"] == 6
    assert outcome.report["lengths"]["characters"]["max"] == len("Is 199 even? 199 is even.")


def test_pairs_with_a_text_in_common_can_be_kept_together(run: Run) -> None:
    spellings = ["Is {} even?", " Is  {} even?", "Is\u00a0{}\u200b even？"]
    texts = [(spellings[number % 3].format(number % 50), str(number % 2)) for number in range(400)]
    rows = raw_table(texts).with_columns(text_pair=pl.format("Answer {}.", "row"), group="text")
    columns = {"text": "question", "text_pair": "answer", "group": "question"}
    kept = run(rows, columns=columns, validation_fraction=0.2, test_fraction=0.2).kept
    asked = kept.select(pl.col("text").str.split(" ｜ ").list.first(), "split").unique()
    assert kept.height == 400
    assert asked.height == asked["text"].n_unique() == 50
    turned = rows.rename({"text": "text_pair", "text_pair": "text"})
    columns = {"text": "answer", "text_pair": "question", "group": "question"}
    other = run(turned, columns=columns, validation_fraction=0.2, test_fraction=0.2).kept
    assert set(other.select(pl.col("text").str.split(" ｜ ").list.last(), "split").unique().rows()) == set(asked.rows())


def test_what_only_looks_like_a_pair_is_shown_in_one_line(run: Run) -> None:
    text = " ｜ ".join(["ab"] * 3000)
    outcome = run(raw_table([*sound_rows(), (text, "0"), (text, "0"), (text[:5000], "1")]), max_characters=100)
    (first, *_) = (line for line in outcome.page.splitlines() if "｜" in line)
    assert len(first) < 200


def test_a_contract_sees_both_texts(
    run: Run, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "pairs_contract.py").write_text(
        "import pandera.polars as pa\n"
        "class Pair(pa.DataFrameModel):\n"
        "    text: str = pa.Field(str_endswith='?')\n"
        "    text_pair: str = pa.Field(str_endswith='.')\n"
        "    label: str\n"
    )
    monkeypatch.chdir(folder)
    outcome = run(table([("Is it?", "No", "0"), ("Is it", "No.", "0")]), contract="pairs_contract:Pair")
    assert outcome.turned_away.select("text", "reason").rows() == [
        ("Is it?", "broken_contract"),
        ("Is it", "broken_contract"),
    ]
    assert outcome.turned_away["broken"].to_list()[0].startswith("text_pair: ")
