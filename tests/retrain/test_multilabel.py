"""Texts of several classes, or of none: they are learnt, and the files hold what later blocks read."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score

from tasks.retrain.embed import embed
from tasks.retrain.embeddings import distinct_keys
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import read_examples
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.fine_tuning import _padded
from tasks.retrain.loss import SigmoidCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.tokenise import tokenise
from tasks.retrain.train import train
from tasks.retrain.training_step import TrainingStep
from tests.retrain.runs import Run
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, MAX_LENGTH, POSITIONS, part_of, recipe, write_mixed_topics

pytestmark = pytest.mark.slow

MODES: dict[str, dict[str, Any]] = {
    "feature_extraction": {"epochs": 20, "learning_rate": 1e-2, "dropout": 0.0},
    "fine_tuning": {
        "epochs": 4,
        "learning_rate": 1e-2,
        "gradual_unfreezing": True,
        "accumulation_steps": 2,
        "label_smoothing": 0.05,
        "class_weights": "balanced",
    },
    "partial": {"epochs": 3, "learning_rate": 1e-2, "focal_gamma": 1.0, "monitor": "accuracy"},
}


@pytest.fixture(scope="module")
def mixed_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mixed_topics(tmp_path_factory.mktemp("mixed_rows"))


@pytest.fixture(scope="module")
def mixed_tokens(model: Path, mixed_rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed_tokens")
    tokenise(model, mixed_rows, MAX_LENGTH, POSITIONS, folder, print)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_it_learns_each_class_by_itself(
    mode: str, model: Path, mixed_rows: Path, mixed_tokens: Path, tmp_path: Path
) -> None:
    settings = recipe(task="multilabel", mode=mode, **MODES[mode])
    vectors, folder = tmp_path / "vectors", tmp_path / "classifier"
    vectors.mkdir()
    folder.mkdir()
    if mode == "feature_extraction":
        embed(model, FACTS, mixed_tokens, distinct_keys(mixed_tokens), settings, vectors, print)
    lines: list[str] = []
    facts = train(model, FACTS, mixed_rows, mixed_tokens, [vectors], settings, None, folder, lines.append)
    run = Run(folder, facts, lines)
    assert (run.description["task"], run.facts.labels) == ("multilabel", LABELS)

    for split in ("validation", "test"):
        answers = pl.read_parquet(folder / "answers" / f"{split}.parquet")
        known = pl.read_parquet(mixed_rows / f"{split}.parquet")
        assert answers.schema == {"key": pl.Binary, "label": pl.List(pl.Int32), "logits": pl.List(pl.Float32)}
        assert answers.select("key", "label").equals(known.select("key", "label").sort("key"))
    truth = np.array([[label in labels for label in range(len(LABELS))] for labels in answers["label"]])
    predicted = np.array(answers["logits"].to_list()) >= 0
    # A class belongs to two texts in five: always saying so gives an F1 of 0.57.
    assert f1_score(truth, predicted, average="macro") > 0.65
    assert {0, 1, 2} <= set(predicted[(predicted == truth).all(axis=1)].sum(axis=1).tolist())

    answers = pl.read_parquet(folder / "answers" / "validation.parquet")
    truth = np.array([[label in labels for label in range(len(LABELS))] for labels in answers["label"]])
    logits = np.array(answers["logits"].to_list())
    (best,) = (entry["validation"] for entry in run.history if entry["best"])
    assert best["accuracy"] == pytest.approx(accuracy_score(truth, logits >= 0))
    assert best["macro_f1"] == pytest.approx(f1_score(truth, logits >= 0, average="macro"))
    assert best["weighted_f1"] == pytest.approx(f1_score(truth, logits >= 0, average="weighted"))
    shares = 1 / (1 + np.exp(-logits))
    assert best["loss"] == pytest.approx(-np.log(np.where(truth, shares, 1 - shares)).mean(), abs=1e-4)


def test_rows_of_padding_change_nothing(steady_model: Path, mixed_tokens: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning", dropout=0)
    encoder = load_encoder(steady_model, FACTS, settings, Plan(0, None))
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    variables = [*(each for group in trained_groups(encoder, 0, FACTS) for each in group), *head.variables]
    step = TrainingStep(encoder, head, variables, AdamW(variables, 0.0), SigmoidCrossEntropy(EVEN))
    examples = read_examples(mixed_tokens, "train", len(LABELS))

    # Without a learning rate, each step begins with the same weights.
    def loss(rows: int, *lengths: int) -> float:
        parts = []
        for piece, fixed in zip(np.array_split(np.arange(rows), len(lengths)), lengths, strict=True):
            part = part_of(examples, piece)
            parts.append(_padded(*part, fixed, MAX_LENGTH) if fixed else part)
        return float(step.take(parts, np.float32(0), 0))

    whole = loss(29, 0)
    assert loss(29, 32) == pytest.approx(whole, rel=1e-5)
    assert loss(29, 16, 16) == pytest.approx(whole, rel=1e-5)
    assert loss(28, 0) != pytest.approx(whole, rel=1e-5)
