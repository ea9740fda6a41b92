"""Whole evaluations of small artifacts: what is written, that it is the same each time, and unusual input."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hubtune.errors import CorruptArtifact, InvalidData, InvalidRecipe
from schemas.handoff import Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.evaluate import evaluate
from tests.evaluate.small_artifacts import Inputs, Part, noisy_logits, questions, usual, write

FILES = ["evaluation.json", "mistakes.parquet", "report.html", "report.md"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_an_evaluation_holds_what_the_contract_says(tmp_path: Path) -> None:
    inputs = usual(tmp_path)
    lines: list[str] = []
    (tmp_path / "out").mkdir()
    facts = evaluate(inputs.rows, inputs.classifier, EvaluateRecipe(), "macro_f1", tmp_path / "out", lines.append)
    assert sorted(contents(tmp_path / "out")) == FILES
    figures = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert set(facts.metrics) == {"validation", "test"}
    for split, metrics in facts.metrics.items():
        for name, value in metrics.model_dump().items():
            assert figures["splits"][split][name] == value
    test = facts.metrics["test"]
    assert lines == [f"test: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on 120 rows"]

    # The same figures, computed from the files alone.
    answers = pl.read_parquet(inputs.classifier / "answers" / "test.parquet")
    logits = np.array(answers["logits"].to_list())
    right = logits.argmax(axis=1) == answers["label"].to_numpy()
    assert test.accuracy == pytest.approx(right.mean())
    mistakes = pl.read_parquet(tmp_path / "out" / "mistakes.parquet")
    assert mistakes.height == (~right).sum()
    assert mistakes["probability"].is_sorted(descending=True)
    assert figures["threshold"]["positive_class"] == "insincere"
    assert set(figures["intervals"]) == {"accuracy", "macro_f1", "f1_at_threshold"}


def test_mistakes_have_the_ids_of_their_rows(tmp_path: Path) -> None:
    inputs = usual(tmp_path / "in")
    for split in ("train", "validation", "test"):
        file = inputs.rows / f"{split}.parquet"
        rows = pl.read_parquet(file)
        rows.with_columns(id=pl.format("id of {}", "text"), **{"slice.text": pl.lit("one")}).write_parquet(file)
    inputs.evaluate(tmp_path / "out")
    mistakes = pl.read_parquet(tmp_path / "out" / "mistakes.parquet")
    assert mistakes.height > 0
    assert mistakes["id"].to_list() == [f"id of {text}" for text in mistakes["text"]]
    # An id is no slice; and a slice column may be called like one of the artifact's own.
    evaluation = json.loads((tmp_path / "out" / "evaluation.json").read_bytes())
    assert {part["by"] for part in evaluation["slices"]} == {"length", "text"}


def test_two_runs_give_equal_bytes_wherever_they_run(tmp_path: Path) -> None:
    inputs = usual(tmp_path / "in", ["sincere", "insincere", "shouting"])
    inputs.evaluate(tmp_path / "here")
    (tmp_path / "elsewhere").mkdir()
    # Another process, with other hashes of strings and somebody's own style of plots.
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nsvg.fonttype: path\n")
    program = (
        "import sys; from pathlib import Path; from schemas.recipe import EvaluateRecipe; "
        "from tasks.evaluate.evaluate import evaluate; "
        "rows, classifier, folder = map(Path, sys.argv[1:]); "
        "evaluate(rows, classifier, EvaluateRecipe(), 'macro_f1', folder, print)"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(inputs.rows), str(inputs.classifier), str(tmp_path / "elsewhere")],
        env=os.environ | {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc"), "PYTHONHASHSEED": "7"},
        check=True,
    )
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")


def test_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    inputs = usual(tmp_path / "in")
    inputs.evaluate(tmp_path / "a")
    for split in ("train", "validation", "test"):
        file = inputs.rows / f"{split}.parquet"
        pl.read_parquet(file).reverse().write_parquet(file)
    inputs.evaluate(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_texts_and_names_are_shown_as_they_are(tmp_path: Path) -> None:
    labels = ["<b>yes</b> | no", "<script>alert('label')</script>"]
    truth = np.arange(60) % 2
    texts = [
        f"<script>alert({number})</script> | {'plants' if number % 2 else 'taxes'}\n`{number}`" for number in truth
    ]
    texts = [f"{text} {number}" for number, text in enumerate(texts)]
    logits = noisy_logits(truth, 2, np.random.default_rng(0))
    part = Part(texts, truth.tolist(), logits, {"<i>kind</i>": ["<u>x</u>", None] * 30})
    write(tmp_path / "in", labels, {"train": part, "validation": part, "test": part}).evaluate(tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in page
    for tag in ("<script", "<b>", "<i>", "<u>"):
        assert tag not in page
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "&lt;b&gt;yes&lt;/b&gt; \\| no" in markdown


def test_both_reports_are_small_and_need_nothing_else(tmp_path: Path) -> None:
    parts: dict[Split, Part] = {
        "train": questions(["sincere", "insincere"], 500, 0),
        "validation": questions(["sincere", "insincere"], 500, 1),
        "test": questions(["sincere", "insincere"], 3000, 2),
    }
    write(tmp_path / "in", ["sincere", "insincere"], parts).evaluate(tmp_path / "out")
    for name in ("report.md", "report.html"):
        page = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert len(page.encode()) < 500_000
        assert page.count("data:image/svg+xml;base64,") == 5
        assert "http" not in page.replace("http-equiv", "")


def test_the_threshold_is_that_of_the_recipe(tmp_path: Path) -> None:
    inputs = usual(tmp_path / "in", rows=300)
    figures = inputs.evaluate(tmp_path / "out", threshold_metric="mcc", positive_class="sincere")[1]
    threshold = figures["threshold"]
    assert (threshold["positive_class"], threshold["metric"]) == ("sincere", "mcc")
    assert threshold["at_threshold"]["validation"]["mcc"] >= threshold["at_half"]["validation"]["mcc"]
    assert figures["intervals"]["f1_at_threshold"]["estimate"] == threshold["at_threshold"]["test"]["f1"]


def part_of(truth: list[int], logits: Any) -> Part:
    return Part([f"text {number} of {label}" for number, label in enumerate(truth)], truth, logits)


HALVES = part_of([0, 1] * 10, np.eye(2)[[0, 1] * 10])


@pytest.mark.parametrize(
    "test",
    [
        part_of([0] * 10, np.eye(2)[[0, 1] * 5]),  # a class that does not occur
        part_of([1], [[0.5, 0.25]]),  # one row
        part_of([0, 1] * 5, np.tile([3.0, 0.0], (10, 1))),  # one class is all that is predicted
        part_of([0, 1] * 5, np.zeros((10, 2))),  # scores that say nothing
        part_of([0, 1] * 5, 1000 * np.eye(2)[[0, 1] * 5]),  # probabilities of exactly 0 and 1, all right
        part_of([0, 1] * 5, 1000 * np.eye(2)[[1, 0] * 5]),  # and all wrong
    ],
    ids=["absent class", "one row", "one predicted", "constant", "all right", "all wrong"],
)
@pytest.mark.parametrize("as_validation", [False, True])
def test_unusual_answers_are_reported_too(tmp_path: Path, test: Part, as_validation: bool) -> None:
    splits: dict[Split, Part] = {"train": HALVES, "validation": test if as_validation else HALVES, "test": test}
    facts, figures = write(tmp_path / "in", ["no", "yes"], splits).evaluate(tmp_path / "out")
    assert facts.metrics["test"].rows == len(test.truth)
    assert 0 <= figures["threshold"]["value"] <= 1
    assert "# Evaluation" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_many_classes_are_listed_instead_of_drawn(tmp_path: Path) -> None:
    classes = 25
    truth = np.arange(250) % classes
    random = np.random.default_rng(0)
    part = Part(
        [f"words {index} {n}" for n, index in enumerate(truth)], truth.tolist(), noisy_logits(truth, classes, random)
    )
    labels = [f"class {index}" for index in range(classes)]
    _, figures = write(tmp_path / "in", labels, {"train": part, "validation": part, "test": part}).evaluate(
        tmp_path / "out"
    )
    assert figures["threshold"] is None
    assert len(figures["splits"]["test"]["confusion_matrix"]) == classes
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "## Most frequent confusions" in page
    assert "## Decision threshold" not in page
    assert len(page) < 500_000


def broken(inputs: Inputs, change: Any) -> None:
    file = inputs.classifier / "answers" / "test.parquet"
    change(pl.read_parquet(file)).write_parquet(file)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.head(100), "of 120 test rows, 100 are among the 100"),
        (lambda table: table.with_columns(label=1 - pl.col("label")), "of 120 test rows, 0 are among the 120"),
        (lambda table: table.with_columns(logits=pl.col("logits").list.head(1)), "2 classes, and not every answer"),
        (
            lambda table: table.with_columns(logits=pl.concat_list(pl.lit(None, pl.Float32).fill_null(np.nan), 0.0)),
            "not finite",
        ),
    ],
)
def test_answers_that_do_not_belong_to_the_rows_are_refused(tmp_path: Path, change: Any, told: str) -> None:
    inputs = usual(tmp_path / "in")
    broken(inputs, change)
    with pytest.raises(CorruptArtifact, match=told) as caught:
        inputs.evaluate(tmp_path / "out")
    assert caught.value.where.endswith("answers/test.parquet")


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    splits: dict[Split, Part] = {"train": HALVES, "validation": HALVES, "test": part_of([], [])}
    with pytest.raises(InvalidData, match="the test split has no rows"):
        write(tmp_path / "in", ["no", "yes"], splits).evaluate(tmp_path / "out")


def test_a_positive_class_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="'perhaps'"):
        usual(tmp_path / "in").evaluate(tmp_path / "out", positive_class="perhaps")
