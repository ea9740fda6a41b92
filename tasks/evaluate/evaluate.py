"""Rows + classifier -> every figure, the mistakes, and the report in two forms."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hubtune.progress import Say
from schemas.handoff import EvaluationFacts, Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.answers import Answers, read_answers
from tasks.evaluate.baselines import Texts, bag_of_words, majority_class
from tasks.evaluate.calibration import calibrate, log_softmax
from tasks.evaluate.comparison import compare, decide
from tasks.evaluate.evaluation import Evaluation
from tasks.evaluate.figures import draw
from tasks.evaluate.metrics import split_figures
from tasks.evaluate.mistakes import Mistake, confident_mistakes
from tasks.evaluate.report import report
from tasks.evaluate.report_html import html_page
from tasks.evaluate.report_markdown import markdown_page
from tasks.evaluate.slices import slices
from tasks.evaluate.threshold import Threshold, binary_figures, choose_threshold, positive_class

HELD_OUT: tuple[Split, ...] = ("validation", "test")


def evaluate(
    rows: Path, classifier: Path, recipe: EvaluateRecipe, monitor: str, folder: Path, say: Say
) -> EvaluationFacts:
    """Judge a classifier by its answers to the held-out splits.

    What is chosen (temperature, threshold, strength of a baseline) is chosen on the validation rows; the test rows are
    only measured.

    Args:
        rows: a `rows` artifact.
        classifier: a `classifier` artifact that was trained on them.
        recipe: the evaluate section.
        monitor: the validation metric that said which epoch is the best.
        folder: where the content of the `evaluation` artifact is written.
        say: takes progress lines.

    Returns:
        The figures in brief.

    Raises:
        CorruptArtifact: rows and classifier do not belong together.
        InvalidRecipe: the positive class is not one of two.
        InvalidData: a split has no rows.
    """
    labels: list[str] = json.loads((rows / "labels.json").read_bytes())
    training = pl.read_parquet(rows / "train.parquet", columns=["key", "text", "label"]).sort("key")
    train = Texts(training["text"].to_list(), training["label"].to_numpy().astype(np.int32))
    positive = positive_class(recipe.positive_class, labels, train.labels)
    answers = {split: read_answers(rows, classifier, split, len(labels)) for split in HELD_OUT}
    log_probabilities = {split: log_softmax(part.logits) for split, part in answers.items()}
    splits = {
        split: split_figures(log_probabilities[split], answers[split].truth, labels, positive) for split in HELD_OUT
    }

    threshold = _threshold(answers, positive, recipe, labels) if positive is not None else None
    decided = decide(log_probabilities["test"], positive, threshold.value if threshold else None)
    held_out = {split: Texts(part.texts, part.truth) for split, part in answers.items()}
    baselines = [
        bag_of_words(train, held_out, len(labels)),
        majority_class(train, held_out, len(labels)),
    ]
    comparison = compare(
        decided, answers["test"], answers["validation"], baselines, labels, positive, recipe.threshold_metric
    )
    evaluation = Evaluation(
        labels=labels,
        splits=splits,
        intervals=comparison.intervals,
        baselines=comparison.baselines,
        verdict=comparison.verdict,
        threshold=threshold,
        calibration=calibrate(answers),
        slices=slices(answers["test"], decided, positive),
    )
    mistakes = confident_mistakes(answers["test"], log_probabilities["test"], labels)
    figures = draw(evaluation, answers, positive)
    history: list[dict[str, Any]] = json.loads((classifier / "history.json").read_bytes())
    document = report(evaluation, mistakes, history, monitor, figures)
    _write(folder, evaluation, mistakes, markdown_page(document), html_page(document))
    test = splits["test"]
    say(f"test: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on {test.rows:,} rows")
    return EvaluationFacts(metrics={split: figures_.in_brief() for split, figures_ in splits.items()})


def _threshold(answers: dict[Split, Answers], positive: int, recipe: EvaluateRecipe, labels: list[str]) -> Threshold:
    scores = {split: np.exp(log_softmax(part.logits)[:, positive]) for split, part in answers.items()}
    belongs = {split: part.truth == positive for split, part in answers.items()}
    value = choose_threshold(scores["validation"], belongs["validation"], recipe.threshold_metric)
    return Threshold(
        positive_class=labels[positive],
        metric=recipe.threshold_metric,
        value=value,
        at_half={split: binary_figures(belongs[split], scores[split] >= 0.5) for split in answers},
        at_threshold={split: binary_figures(belongs[split], scores[split] >= value) for split in answers},
    )


def _write(folder: Path, evaluation: Evaluation, mistakes: list[Mistake], markdown: str, html: str) -> None:
    figures = json.dumps(asdict(evaluation), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "evaluation.json").write_text(figures + "\n", encoding="utf-8")
    schema = {
        "key": pl.Binary,
        "text": pl.String,
        "label": pl.String,
        "predicted": pl.String,
        "probability": pl.Float64,
        "probability_of_label": pl.Float64,
    }
    pl.DataFrame([asdict(mistake) for mistake in mistakes], schema).write_parquet(folder / "mistakes.parquet")
    (folder / "report.md").write_text(markdown, encoding="utf-8")
    (folder / "report.html").write_text(html, encoding="utf-8")
