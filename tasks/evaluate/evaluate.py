"""Rows + classifier -> every figure, the mistakes, and the report in two forms."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from hubtune.progress import Say
from schemas.handoff import EvaluationFacts, Split
from schemas.recipe import EvaluateRecipe
from schemas.train_recipe import Task
from tasks.document_html import html_page
from tasks.document_markdown import markdown_page
from tasks.evaluate.answers import read_answers
from tasks.evaluate.baselines import Texts
from tasks.evaluate.evaluation import Judged
from tasks.evaluate.multiclass import judge_multiclass
from tasks.evaluate.multilabel import judge_multilabel
from tasks.evaluate.reading import READINGS

HELD_OUT: tuple[Split, ...] = ("validation", "test")
_JUDGES = {"multiclass": judge_multiclass, "multilabel": judge_multilabel}


def evaluate(
    rows: Path,
    classifier: Path,
    recipe: EvaluateRecipe,
    monitor: str,
    folder: Path,
    say: Say,
    task: Task = "multiclass",
) -> EvaluationFacts:
    """Judge a classifier by its answers to the held-out splits.

    What is chosen (temperature, thresholds, strength of a baseline) is chosen on the validation rows; the test rows are
    only measured.

    Args:
        rows: a `rows` artifact.
        classifier: a `classifier` artifact that was trained on them.
        recipe: the evaluate section.
        monitor: the validation metric that said which epoch is the best.
        folder: where the content of the `evaluation` artifact is written.
        say: takes progress lines.
        task: whether each text belongs to one class, or to any number of them.

    Returns:
        The figures in brief.

    Raises:
        CorruptArtifact: rows and classifier do not belong together.
        InvalidRecipe: the positive class is not one of two, or there can be none.
        InvalidData: a split has no rows.
    """
    labels: list[str] = json.loads((rows / "labels.json").read_bytes())
    reading = READINGS[task]
    training = pl.read_parquet(rows / "train.parquet", columns=["key", "text", "label"]).sort("key")
    train = Texts(training["text"].to_list(), reading.truth(training["label"], len(labels)))
    answers = {split: read_answers(rows, classifier, split, len(labels), reading) for split in HELD_OUT}
    history: list[dict[str, Any]] = json.loads((classifier / "history.json").read_bytes())
    judged = _JUDGES[task](labels, train, answers, recipe, history, monitor)
    _write(folder, judged)
    test = judged.evaluation.splits["test"]
    say(f"test: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on {test.rows:,} rows")
    return EvaluationFacts(metrics={split: figures.in_brief() for split, figures in judged.evaluation.splits.items()})


def _write(folder: Path, judged: Judged) -> None:
    figures = json.dumps(asdict(judged.evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(figures + "\n", encoding="utf-8")
    judged.mistakes.write_parquet(folder / "mistakes.parquet")
    (folder / "report.md").write_text(markdown_page(judged.report), encoding="utf-8")
    (folder / "report.html").write_text(html_page(judged.report), encoding="utf-8")
