import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.errors import InvalidData, QuarantineLimitExceeded
from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from tasks.preprocess import write_rows
from tasks.preprocess.clean import preprocess
from tasks.preprocess.texts import raw_shards
from tests.preprocess.conftest import RAW_SCHEMA, Outcome, Row, Run, in_buckets, raw_table, sound_rows

MAP = {"0": "sincere", "1": "insincere"}


def test_what_is_written(run: Run) -> None:
    outcome = run([*sound_rows(), ("", "0")], labels=MAP)
    assert json.loads((outcome.rows / "labels.json").read_text()) == ["sincere", "insincere"]
    assert outcome.facts.labels == ["sincere", "insincere"]
    sizes = {name: outcome.split(name).height for name in ("train", "validation", "test")}
    assert sizes == {
        "train": outcome.facts.train,
        "validation": outcome.facts.validation,
        "test": outcome.facts.test,
    }
    assert sum(sizes.values()) == 60
    for name in sizes:
        assert outcome.split(name).schema == {"key": pl.Binary, "text": pl.String, "label": pl.Int32}
    labels = dict(outcome.kept.select("text", "label").iter_rows())
    assert labels["Is 7 a good number?"] == 1
    assert labels["Is 8 a good number?"] == 0
    assert all(len(key) == 16 for key in outcome.kept["key"])
    assert outcome.turned_away.rows() == [(61, "data.csv", "blank_text", None, "", "0")]
    assert outcome.away.model_dump() == {
        "rows_in": 61,
        "rows_out": 60,
        "quarantined": 1,
        "duplicates": 0,
        "near_duplicates": 0,
        "dropped": 0,
        "reasons": {"blank_text": 1},
    }


def test_the_map_decides_the_order_of_classes(run: Run) -> None:
    outcome = run(sound_rows(), labels={"1": "insincere", "0": "sincere"})
    assert outcome.facts.labels == ["insincere", "sincere"]
    assert dict(outcome.kept.select("text", "label").iter_rows())["Is 7 a good number?"] == 0


def test_several_labels_may_be_one_class(run: Run) -> None:
    rows: list[Row] = [(f"Is {number} a number?", str(number % 4)) for number in range(80)]
    outcome = run(rows, labels={"0": "low", "1": "low", "2": "high", "3": "high"})
    assert outcome.facts.labels == ["low", "high"]
    assert outcome.kept["label"].sum() == 40


def test_texts_are_kept_normalised_and_quarantined_as_they_came(run: Run) -> None:
    outcome = run([*sound_rows(), ("  What\u00a0is\r\n½ of\u200b it? ", " 1"), ("\u200b \n", "0")])
    assert "What is 1⁄2 of it?" in outcome.kept["text"].to_list()
    assert outcome.turned_away["text"].to_list() == ["\u200b \n"]


def test_more_rows_move_no_text(run: Run) -> None:
    few, many = run(sound_rows(100)).kept, run(list(reversed(sound_rows(200)))).kept
    both = few.join(many, on=["key", "text", "label", "split"])
    assert both.height == few.height


def given_rows() -> list[Row]:
    rows = sound_rows(120)
    names = ["train", "validation", "test", "train"]
    return [(text, label, names[number // 2 % 4]) for number, (text, label, *_) in enumerate(rows)]


def test_given_splits_are_respected(run: Run) -> None:
    rows = given_rows()
    outcome = run(rows, given="train validation test")
    assert set(outcome.kept.select("text", "split").iter_rows()) == {(row[0], row[2]) for row in rows if len(row) == 3}


def test_a_missing_validation_split_is_cut_out_of_train(run: Run) -> None:
    rows: list[Row] = [
        (text, label, "test" if number % 3 else "train") for number, (text, label, *_) in enumerate(sound_rows(300))
    ]
    outcome = run(rows, given="train test")
    assert outcome.facts.test == 200
    assert 0 < outcome.facts.validation < 30
    assert outcome.facts.train + outcome.facts.validation == 100
    train = {row[0] for row in rows if row[-1] == "train"}
    assert set(outcome.split("validation")["text"]) <= train


def test_rows_that_are_not_wanted_are_counted_and_no_more(run: Run) -> None:
    rows: list[Row] = [*sound_rows(), *[(f"{number} of another kind", "other") for number in range(40)]]
    outcome = run(rows, labels=MAP, unmapped="drop", max_quarantine=0)
    assert (outcome.away.rows_in, outcome.away.rows_out, outcome.away.dropped) == (100, 60, 40)
    assert outcome.turned_away.is_empty()
    assert outcome.report["sources"] == [
        {
            "source": "data.csv",
            "split": None,
            "in": 100,
            "kept": 60,
            "quarantined": 0,
            "duplicates": 0,
            "near_duplicates": 0,
            "dropped": 40,
        }
    ]
    assert "40 dropped since their labels are not wanted" in outcome.page
    assert outcome.report["dropped"] == [{"label": "other", "rows": 40}]
    assert "| other | 40 |" in outcome.page
    # They are no part of the rows that a share may be bad of.
    bad: list[Row] = [("", "0")] * 4
    assert run([*rows, *bad], labels=MAP, unmapped="drop", max_quarantine=4 / 64).away.quarantined == 4
    with pytest.raises(QuarantineLimitExceeded, match=r"4 of 64 rows are bad(?s:.*)blank text +4 +6\.2%"):
        run([*rows, *bad], labels=MAP, unmapped="drop", max_quarantine=0.06)
    with pytest.raises(InvalidData, match=r"have none \(100 rows were dropped, since data.labels does not map"):
        run(rows, labels={"yes": "a", "no": "b"}, unmapped="drop")
    with pytest.raises(QuarantineLimitExceeded, match="unknown label"):
        run(rows, labels=MAP)


def test_exact_shares(run: Run) -> None:
    rows: list[Row] = [(f"Is {number} a good number?", "1" if number < 30 else "0") for number in range(300)]
    exact = {"validation_fraction": 0.1, "test_fraction": 0.2, "exact_shares": True}
    kept = run(rows, **exact).kept
    counts = kept.group_by("split", "label").agg(pl.len()).sort("split", "label").rows()
    assert counts == [
        *(("test", 0, 54), ("test", 1, 6)),
        *(("train", 0, 189), ("train", 1, 21)),
        *(("validation", 0, 27), ("validation", 1, 3)),
    ]
    # The test split is given, and stays: shares are those of the training rows.
    given: list[Row] = [
        (text, label, "test" if number % 3 else "train") for number, (text, label, *_) in enumerate(rows)
    ]
    outcome = run(given, given="train test", **exact)
    assert (outcome.facts.train, outcome.facts.validation, outcome.facts.test) == (90, 10, 200)
    assert set(outcome.split("test")["text"]) == {row[0] for row in given if row[-1] == "test"}


def test_texts_of_held_out_splits_are_taken_out_of_train(run: Run) -> None:
    rows = given_rows()
    leaks: list[Row] = [(f" {text}", label, "train") for text, label, *rest in rows if rest == ["test"]]
    outcome = run([*leaks, *rows], given="train validation test")
    assert outcome.away.duplicates == len(leaks)
    assert outcome.away.quarantined == 0
    assert outcome.facts.test == len(leaks)
    assert outcome.report["duplicates"]["leakage"] == [{"removed_from": "train", "kept_in": "test", "rows": len(leaks)}]
    assert "**Leakage: " in outcome.page


def test_too_many_bad_rows(run: Run) -> None:
    rows: list[Row] = [*sound_rows(88), *[("Why?" + "\u200b" * number, "maybe") for number in range(7)], (None, "0")]
    rows += [("caf\ufffd | x\ny", "1"), ("", "0"), ("Who?", "0"), ("Who?", "1")]
    with pytest.raises(QuarantineLimitExceeded) as caught:
        run(rows, labels=MAP)
    message = str(caught.value)
    assert "12 of 100 rows are bad (12.00%), and preprocess.max_quarantine allows 5.00%" in message
    lines = message.splitlines()
    assert any(
        "undecodable bytes" in line and "data.csv, row 97: label 1, text caf\ufffd | x⏎y" in line for line in lines
    )
    assert any("unknown label" in line and "7.0%" in line for line in lines)
    assert any("conflicting labels" in line and " 2 " in line for line in lines)
    assert "data.source: data.csv" in caught.value.where
    assert "'maybe'" in caught.value.remedy
    assert run(rows, labels=MAP, max_quarantine=0.12).away.quarantined == 12


def test_duplicates_do_not_count_towards_the_limit(run: Run) -> None:
    rows = sound_rows()
    assert run(rows + rows, max_quarantine=0).away.duplicates == 60


@pytest.mark.parametrize("labels", [None, MAP])
def test_one_class_only(run: Run, labels: dict[str, str] | None) -> None:
    with pytest.raises(InvalidData, match="at least two classes"):
        run([(text, "1") for text, *_ in sound_rows()], labels=labels)


def test_no_clean_rows(run: Run) -> None:
    with pytest.raises(InvalidData, match="0 clean rows have none"):
        run([("", "1"), (None, "0")], max_quarantine=1)


def test_a_split_without_rows_of_a_class(run: Run) -> None:
    with pytest.raises(InvalidData) as caught:
        run([*sound_rows(), ("A class of its own?", "2")])
    lines = [line.split() for line in str(caught.value).splitlines()]
    assert ["class", "train", "validation", "test"] in lines
    (scarce,) = [line for line in lines if line[0] == "2"]
    assert sorted(scarce[1:]) == ["0", "0", "1"]
    assert "preprocess.test_fraction" in caught.value.remedy


def test_a_class_of_the_map_without_rows(run: Run) -> None:
    with pytest.raises(InvalidData, match=r"third +0 +0 +0"):
        run(sound_rows(), labels=MAP | {"3": "third"})


def test_a_label_column_that_holds_no_classes(run: Run) -> None:
    with pytest.raises(InvalidData, match="and 40 more"):
        run([(text, f"id {number}") for number, (text, *_) in enumerate(sound_rows())])


def test_equal_rows_give_equal_bytes_in_another_process_and_in_other_shards(run: Run, tmp_path: Path) -> None:
    rows: list[Row] = [*sound_rows(), ("", "0"), ("Is 3 a good number?", "1"), ("Ｗho?", "0")]
    first = run(rows)
    raw = first.rows.parent / "raw"
    other = tmp_path / "raw" / "rows"
    other.mkdir(parents=True)
    table = pl.concat(map(pl.read_parquet, raw_shards(raw)))
    assert table.schema == RAW_SCHEMA
    table.head(20).write_parquet(other / "00000.parquet")
    table.slice(20).write_parquet(other / "00001.parquet")
    program = """
import sys, pathlib
from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from tasks.preprocess.clean import preprocess
from tasks.preprocess.texts import raw_shards
raw, rows, quarantine = map(pathlib.Path, sys.argv[1:])
rows.mkdir(), quarantine.mkdir()
shards, elsewhere = raw_shards(raw), DataRecipe(source="elsewhere.csv")
preprocess(shards, PreprocessRecipe(), elsewhere, None, rows, quarantine, print)
"""
    folders = [tmp_path / "raw", tmp_path / "rows", tmp_path / "quarantine"]
    # Nor does it matter how many cores Polars has.
    threads = os.environ | {"POLARS_MAX_THREADS": "1" if pl.thread_pool_size() > 1 else "2"}
    command = [sys.executable, "-c", program, *map(str, folders)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=threads)
    written = {path.name: path.read_bytes() for folder in folders[1:] for path in folder.iterdir()}
    assert written == first.contents()
    shutil.rmtree(tmp_path / "raw")


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one label": ({}, {"replace": ["html_entities", "urls", "users"], "near_duplicates": 0.8}),
    "pairs": ({"text_pair": "text_pair", "weight": "weight", "id": "id", "slices": ["s"]}, {}),
    "several labels": ({"label_separator": ","}, {"exact_shares": False}),
    "given splits": ({"source": None, "train": "train.csv", "test": "test.csv"}, {"exact_shares": True}),
    "groups": ({"group": "group"}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_files_do_not_depend_on_shards_or_buckets(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_rows, "_GROUP_ROWS", 16)
    data, recipe = CASES[case]
    rows = []
    for number in range(400):
        odd, text = number % 2, f"Is  {number % 380}&amp; {'an odd' if number % 2 else 'a good'} number?"
        row = {"row": number + 1, "source": "data.csv", "split": None, "text": text, "label": str(odd)}
        row |= {"text": "\u200b"} if number % 97 == 0 else {"label": "2"} if number % 89 == 0 else {}
        row |= {"text_pair": f"Or\t{number}?", "weight": "2.5", "id": f"n{number}", "slice.s": "ab"[odd]}
        row |= {"group": f"g{number // 3}"}
        if case == "given splits":
            split = "train" if number < 300 else "test"
            row |= {"split": split, "source": f"{split}.csv", "text": text.replace("380", "0")}
        rows.append(row)
    wanted = [*RAW_SCHEMA, *(name for name in ("text_pair", "weight", "id", "group") if name in data)]
    table = pl.DataFrame(rows).select(*wanted, *(["slice.s"] if "slices" in data else [])).cast(RAW_SCHEMA)  # type: ignore[arg-type]
    settings = DataRecipe.model_validate({"source": "data.csv", "labels": {"0": "even", "1": "odd"}} | data)
    contents = []
    wanted_recipe = PreprocessRecipe(**recipe)
    for cuts, buckets in (([0, 400], 0), ([0, 0, 1, 150, 150, 399, 400], 0), ([0, 150, 400], 5)):
        folder = tmp_path / f"{len(cuts)}"
        for name in ("raw/rows", "rows", "quarantine"):
            (folder / name).mkdir(parents=True)
        for shard, (start, end) in enumerate(itertools.pairwise(cuts)):
            table[start:end].write_parquet(folder / "raw" / "rows" / f"{shard:05d}.parquet")
        places = folder / "rows", folder / "quarantine"
        shards = raw_shards(folder / "raw")
        read, verdicts = in_buckets(shards, buckets, wanted_recipe, settings, folder) if buckets else ([], [])
        facts = preprocess(
            shards, wanted_recipe, settings, None, *places, lambda line: None, read=read, verdicts=verdicts
        )
        contents.append(Outcome(*facts, *places).contents())
        assert facts[1].quarantined > 0
    assert contents[0] == contents[1] == contents[2]


def test_texts_are_not_all_in_memory_at_once(tmp_path: Path) -> None:
    rows, shards, characters = 24_000, 24, 8_000
    for name in ("raw/rows", "rows", "quarantine"):
        (tmp_path / name).mkdir(parents=True)
    for shard in range(shards):
        numbers = range(shard * rows // shards, (shard + 1) * rows // shards)
        texts = [f"Text {number} {'and so on ' * (characters // 10)}" for number in numbers]
        table = raw_table([(text, str(number % 2)) for text, number in zip(texts, numbers, strict=True)])
        table.write_parquet(tmp_path / "raw" / "rows" / f"{shard:05d}.parquet")
    program = """
import pathlib, resource, sys
from schemas.data_recipe import DataRecipe
from schemas.recipe import PreprocessRecipe
from tasks.preprocess import shards as module
from tasks.preprocess.clean import preprocess
from tasks.preprocess.texts import raw_shards
folder, module._TOGETHER = pathlib.Path(sys.argv[1]), 1
shards, wanted = raw_shards(folder / "raw"), PreprocessRecipe(max_characters=20_000)
peaks = []
for part in (shards[:12], shards):
    places = [folder / f"{len(part)}" / name for name in ("rows", "quarantine")]
    for place in places:
        place.mkdir(parents=True)
    preprocess(part, wanted, DataRecipe(source="data.csv"), None, *places, lambda line: None)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(peaks[1] - peaks[0])
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    # Twice as many texts: those that are more would be there several times over.
    assert int(ended.stdout) < rows / 2 * characters / 2
