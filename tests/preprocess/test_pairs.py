"""Rows of which each has two texts."""

import polars as pl
import pytest

from hubtune.errors import QuarantineLimitExceeded
from hubtune.inference.pairs import join_pair
from tests.preprocess.conftest import Run, raw_table

NUMBERS = range(200)


def table(more: list[tuple[str | None, str | None, str]] | None = None) -> pl.DataFrame:
    rows = [(f"Is {number} even?", f"{number}\u00a0is  even.", str(number % 2)) for number in NUMBERS]
    firsts, seconds, labels = zip(*rows, *(more or []), strict=True)
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
