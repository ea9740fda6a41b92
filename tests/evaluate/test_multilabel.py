"""Whole evaluations where a text may belong to several classes, or to none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, hamming_loss, matthews_corrcoef

from hubtune.errors import CorruptArtifact, InvalidRecipe
from schemas.handoff import Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.evaluate import HELD_OUT, evaluate
from tests.evaluate.small_artifacts import TOPICS, Inputs, Part, usual, usual_topics, write
from tests.evaluate.test_evaluate import FILES, contents
from tests.test_document import Read

KEYS = ["labels", "verdict", "splits", "intervals", "baselines", "threshold", "thresholds", "calibration", "slices"]


def answered(inputs: Inputs, split: Split) -> tuple[Any, Any]:
    """Truth, bool[n, classes], and probabilities, read from the files alone."""
    table = pl.read_parquet(inputs.classifier / "answers" / f"{split}.parquet")
    logits = np.array(table["logits"].to_list(), np.float64)
    belongs = np.array([[index in row for index in range(logits.shape[1])] for row in table["label"].to_list()])
    return belongs, 1 / (1 + np.exp(-logits))


def test_an_evaluation_holds_what_the_contract_says(tmp_path: Path) -> None:
    inputs = usual_topics(tmp_path)
    lines: list[str] = []
    out = tmp_path / "out"
    out.mkdir()
    facts = evaluate(inputs.rows, inputs.classifier, EvaluateRecipe(), "loss", out, lines.append, "multilabel")
    assert sorted(contents(out)) == FILES
    figures = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert list(figures) == KEYS
    for split, metrics in facts.metrics.items():
        for name, value in metrics.model_dump().items():
            assert figures["splits"][split][name] == value
    test = facts.metrics["test"]
    assert lines == [f"test: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on 120 rows"]
    for split in HELD_OUT:
        belongs, probabilities = answered(inputs, split)
        said = probabilities >= 0.5
        assert figures["splits"][split]["accuracy"] == pytest.approx(accuracy_score(belongs, said))
        assert figures["splits"][split]["hamming_loss"] == pytest.approx(hamming_loss(belongs, said))
        assert figures["splits"][split]["macro_f1"] == pytest.approx(f1_score(belongs, said, average="macro"))
    belongs, probabilities = answered(inputs, "test")
    wrong = (probabilities >= 0.5) != belongs
    mistakes = pl.read_parquet(out / "mistakes.parquet")
    assert mistakes.height == min(wrong.sum(), 50)
    assert mistakes.select((pl.col("probability") - 0.5).abs().alias("sure"))["sure"].is_sorted(descending=True)
    for mistake in mistakes.iter_rows(named=True):
        assert (mistake["label"] in mistake["labels"]) != mistake["predicted"]
        assert (mistake["label"] in mistake["text"]) == (mistake["label"] in mistake["labels"])


def test_what_is_published_of_an_evaluation_is_there(tmp_path: Path) -> None:
    from tasks.publish.release import main_figures

    figures = usual_topics(tmp_path / "in").evaluate(tmp_path / "out")[1]
    published = main_figures(figures)
    assert set(published["baselines"]) == {"TF-IDF + one logistic regression per class", "the majority answer"}
    assert published["threshold"] is None
    assert set(published["intervals"]) == {"accuracy", "macro_f1"}


@pytest.mark.parametrize(
    ("metric", "score"),
    [("f1", f1_score), ("balanced_accuracy", balanced_accuracy_score), ("mcc", matthews_corrcoef)],
)
def test_each_class_has_a_threshold_of_its_own(tmp_path: Path, metric: str, score: Any) -> None:
    inputs = usual_topics(tmp_path / "in")
    figures = inputs.evaluate(tmp_path / "out", threshold_metric=metric)[1]
    assert figures["threshold"] is None
    assert [each["positive_class"] for each in figures["thresholds"]] == TOPICS
    for index, threshold in enumerate(figures["thresholds"]):
        assert threshold["metric"] == metric
        for split in HELD_OUT:
            belongs, probabilities = answered(inputs, split)
            for when, value in (("at_half", 0.5), ("at_threshold", threshold["value"])):
                expected = score(belongs[:, index], probabilities[:, index] >= value)
                assert threshold[when][split][metric] == pytest.approx(expected)
        assert threshold["at_threshold"]["validation"][metric] >= threshold["at_half"]["validation"][metric]
        at_half, own = threshold["at_half"]["test"], figures["splits"]["test"]["per_class"][TOPICS[index]]
        assert at_half["f1"] == pytest.approx(own["f1"])
        assert at_half["predicted"] == own["tp"] + own["fp"]


def test_a_positive_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"'plants'.*each class has a threshold of its own") as caught:
        usual_topics(tmp_path / "in").evaluate(tmp_path / "out", positive_class="plants")
    assert "evaluate.positive_class" in caught.value.where


def test_two_runs_give_equal_bytes_wherever_they_run(tmp_path: Path) -> None:
    inputs = usual_topics(tmp_path / "in")
    inputs.evaluate(tmp_path / "here")
    # The rows in another order, in another process.
    for split in ("train", "validation", "test"):
        file = inputs.rows / f"{split}.parquet"
        pl.read_parquet(file).reverse().write_parquet(file)
    (tmp_path / "elsewhere").mkdir()
    program = (
        "import sys; from pathlib import Path; from schemas.recipe import EvaluateRecipe; "
        "from tasks.evaluate.evaluate import evaluate; "
        "rows, classifier, folder = map(Path, sys.argv[1:]); "
        "evaluate(rows, classifier, EvaluateRecipe(), 'macro_f1', folder, print, 'multilabel')"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(inputs.rows), str(inputs.classifier), str(tmp_path / "elsewhere")],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        check=True,
    )
    assert contents(tmp_path / "here") == contents(tmp_path / "elsewhere")


def test_both_reports_show_the_figures_and_any_class_name(tmp_path: Path) -> None:
    labels = ["<b>yes</b> | no", "taxes", "$maps$"]
    inputs = usual_topics(tmp_path / "in", labels, rows=300)
    figures = inputs.evaluate(tmp_path / "out")[1]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    cells = Read(page).cells
    test = figures["splits"]["test"]
    for index, (label, own) in enumerate(test["per_class"].items()):
        counts = [f"{own[name]:,}" for name in ("tp", "fn", "fp", "tn")]
        shares = [f"{own[name]:.3f}" for name in ("precision", "recall", "f1", "roc_auc", "pr_auc")]
        threshold = figures["thresholds"][index]
        at = [f"{threshold[when][split]['f1']:.3f}" for split in HELD_OUT for when in ("at_half", "at_threshold")]
        for row in ([label, *counts], [label, *shares, f"{own['support']}"], [label, f"{threshold['value']:.3f}", *at]):
            assert any(cells[start : start + len(row)] == row for start in range(len(cells))), row
        escaped = "&lt;b&gt;yes&lt;/b&gt; \\| no" if index == 0 else label
        assert f"| {escaped} | {' | '.join(counts)} |" in markdown
    assert f"{test['hamming_loss']:.3f}" in cells
    assert "<b>" not in page + markdown
    for heading in ("Right and wrong decisions", "Decision thresholds", "Calibration", "Most confident mistakes"):
        assert f"## {heading}" in markdown
        assert f"<h2>{heading}</h2>" in page
    assert "Confusion matrix" not in markdown + page
    for form in (page, markdown):
        assert len(form.encode()) < 500_000
        assert form.count("data:image/svg+xml;base64,") == 4
        assert "http" not in form.replace("http-equiv", "")


def part_of(truth: list[list[int]], logits: Any) -> Part:
    return Part([f"text {number} of {label}" for number, label in enumerate(truth)], truth, logits)


USUAL = part_of([[0], [1], [0, 1], []] * 5, np.tile([[1, -1], [-1, 1], [1, 1], [-1, -1]], (5, 1)))


@pytest.mark.parametrize(
    "test",
    [
        part_of([[]] * 10, np.tile([1.0, -1.0], (10, 1))),  # no row belongs to any class
        part_of([[0, 1]] * 10, np.tile([1.0, -1.0], (10, 1))),  # every row belongs to every class
        part_of([[1]], [[0.5, 0.25]]),  # one row
        part_of([[0], [1]] * 5, np.zeros((10, 2))),  # scores that say nothing
        part_of([[0], [1]] * 5, 1000 * np.tile([[1, -1], [-1, 1]], (5, 1))),  # probabilities of 0 and 1, all right
        part_of([[0], [1]] * 5, 1000 * np.tile([[-1, 1], [1, -1]], (5, 1))),  # and all wrong
        part_of([[], []], np.full((2, 2), -1.0)),  # nothing is so, and nothing is said
    ],
    ids=["no class", "every class", "one row", "constant", "all right", "all wrong", "nothing"],
)
def test_unusual_answers_are_reported_too(tmp_path: Path, test: Part) -> None:
    splits: dict[Split, Part] = {"train": USUAL, "validation": test, "test": test}
    facts, figures = write(tmp_path / "in", ["no", "yes"], splits, "multilabel").evaluate(tmp_path / "out")
    assert facts.metrics["test"].rows == len(test.truth)
    assert all(0 <= each["value"] <= 1 for each in figures["thresholds"])
    assert "# Evaluation" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.head(100), "of 120 test rows, 100 are among the 100"),
        (lambda table: table.with_columns(label=pl.lit([0, 1, 2], pl.List(pl.Int32))), "are among the 120"),
        (lambda table: table.with_columns(logits=pl.col("logits").list.head(2)), "3 classes, and not every answer"),
    ],
)
def test_answers_that_do_not_belong_to_the_rows_are_refused(tmp_path: Path, change: Any, told: str) -> None:
    inputs = usual_topics(tmp_path / "in")
    file = inputs.classifier / "answers" / "test.parquet"
    change(pl.read_parquet(file)).write_parquet(file)
    with pytest.raises(CorruptArtifact, match=told):
        inputs.evaluate(tmp_path / "out")


def test_one_class_for_each_text_keeps_the_form_of_its_figures(tmp_path: Path) -> None:
    figures = usual(tmp_path / "in").evaluate(tmp_path / "out")[1]
    assert list(figures) == [key for key in KEYS if key != "thresholds"]
    assert "hamming_loss" not in figures["splits"]["test"]
    assert list(figures["splits"]["test"]["per_class"]["sincere"]) == [
        "precision",
        "recall",
        "f1",
        "support",
        "roc_auc",
        "pr_auc",
    ]
