"""Judges a classifier that gives each text one class."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from schemas.handoff import Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.answers import Answers
from tasks.evaluate.baselines import Texts, bag_of_words, majority_class
from tasks.evaluate.calibration import calibrate
from tasks.evaluate.comparison import compare, decide
from tasks.evaluate.evaluation import Evaluation, Judged
from tasks.evaluate.figures import draw
from tasks.evaluate.metrics import split_figures
from tasks.evaluate.mistakes import MISTAKES, confident_mistakes
from tasks.evaluate.multiclass_report import multiclass_report
from tasks.evaluate.reading import Softmax, log_softmax
from tasks.evaluate.slices import slices
from tasks.evaluate.threshold import positive_class, tune


def judge_multiclass(
    labels: list[str],
    train: Texts,
    answers: Mapping[Split, Answers],
    recipe: EvaluateRecipe,
    history: list[dict[str, Any]],
    monitor: str,
) -> Judged:
    """Judge its answers.

    Args:
        labels: class names in class order.
        train: the training rows, in the order of their keys.
        answers: the validation and the test split.
        recipe: the evaluate section.
        history: the entries of the classifier's `history.json`.
        monitor: the validation metric that said which epoch is the best.

    Returns:
        Figures, mistakes, report.

    Raises:
        InvalidRecipe: the positive class is not one of two.
    """
    positive = positive_class(recipe.positive_class, labels, train.labels)
    log_probabilities = {split: log_softmax(part.logits) for split, part in answers.items()}
    threshold = None
    if positive is not None:
        scores = {split: np.exp(part[:, positive]) for split, part in log_probabilities.items()}
        belongs = {split: part.truth == positive for split, part in answers.items()}
        threshold = tune(labels[positive], scores, belongs, recipe.threshold_metric)
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
        splits={
            split: split_figures(log_probabilities[split], part.truth, labels, positive)
            for split, part in answers.items()
        },
        intervals=comparison.intervals,
        baselines=comparison.baselines,
        verdict=comparison.verdict,
        threshold=threshold,
        calibration=calibrate(answers, Softmax()),
        slices=slices(answers["test"], decided, positive),
    )
    mistakes = confident_mistakes(answers["test"], log_probabilities["test"], labels)
    return Judged(
        evaluation,
        pl.DataFrame([asdict(mistake) for mistake in mistakes], MISTAKES),
        multiclass_report(evaluation, mistakes, history, monitor, draw(evaluation, answers, positive)),
    )
