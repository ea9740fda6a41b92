"""Judges a classifier that says of each class by itself whether a text belongs to it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from hubtune.errors import InvalidRecipe
from schemas.handoff import Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.answers import Answers
from tasks.evaluate.baselines import Texts, bag_of_words_each, majority_answer
from tasks.evaluate.calibration import calibrate
from tasks.evaluate.comparison import compare_multilabel
from tasks.evaluate.evaluation import Judged, MultilabelEvaluation
from tasks.evaluate.figures import draw_multilabel
from tasks.evaluate.learning_curves import chance_of_each
from tasks.evaluate.metrics import multilabel_figures
from tasks.evaluate.mistakes import WRONG_DECISIONS, confident_wrong_decisions
from tasks.evaluate.multilabel_report import multilabel_report
from tasks.evaluate.reading import Sigmoid, decide_each, sigmoid
from tasks.evaluate.slices import multilabel_slices
from tasks.evaluate.threshold import tune


def judge_multilabel(
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
        InvalidRecipe: a positive class is named.
    """
    if recipe.positive_class is not None:
        raise InvalidRecipe(
            f"evaluate.positive_class is {recipe.positive_class!r}, but where train.task is multilabel, each class has "
            "a threshold of its own",
            where="recipe, evaluate.positive_class",
            remedy="leave it out; the trained classifier is kept",
        )
    test = answers["test"]
    scores = {split: sigmoid(part.logits) for split, part in answers.items()}
    thresholds = [
        tune(
            label,
            {split: part[:, index] for split, part in scores.items()},
            {split: part.truth[:, index] for split, part in answers.items()},
            recipe.threshold_metric,
        )
        for index, label in enumerate(labels)
    ]
    predicted = decide_each(test.logits)
    held_out = {split: Texts(part.texts, part.truth) for split, part in answers.items()}
    baselines = [bag_of_words_each(train, held_out), majority_answer(train, held_out)]
    comparison = compare_multilabel(predicted, test, baselines, labels)
    evaluation = MultilabelEvaluation(
        labels=labels,
        splits={split: multilabel_figures(part.logits, part.truth, labels) for split, part in answers.items()},
        intervals=comparison.intervals,
        baselines=comparison.baselines,
        verdict=comparison.verdict,
        threshold=None,
        thresholds=thresholds,
        calibration=calibrate(answers, Sigmoid()),
        slices=multilabel_slices(test, predicted),
    )
    mistakes = confident_wrong_decisions(test, labels)
    chance = chance_of_each(answers["validation"].truth)
    figures = draw_multilabel(evaluation, test)
    return Judged(
        evaluation,
        pl.DataFrame([asdict(mistake) for mistake in mistakes], WRONG_DECISIONS),
        multilabel_report(evaluation, mistakes, history, monitor, chance, figures),
    )
