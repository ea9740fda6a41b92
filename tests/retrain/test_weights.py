"""Rows that count more than others: what weights do to a step, to a head, and to a whole training."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import read_examples
from tasks.retrain.feature_extraction import Embedded, new_head, train_head
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.tokenise import tokenise
from tasks.retrain.training_step import TrainingStep
from tests.retrain.runs import run_training
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, MAX_LENGTH, POSITIONS, part_of, recipe

pytestmark = pytest.mark.slow


def test_a_step_counts_rows_as_they_weigh(steady_model: Path, tokens: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning", dropout=0.0)
    encoder = load_encoder(steady_model, FACTS, settings, Plan(0, None))
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    step = TrainingStep(encoder, head, head.variables, AdamW(head.variables, 0.0), SoftmaxCrossEntropy(EVEN))
    features, truth, _ = part_of(read_examples(tokens, "train"), np.arange(4))

    def loss(*weights: float) -> float:
        return float(step.take([(features, truth, np.array(weights, np.float32))], np.float32(0), 0))

    # A row that weighs nothing is none.
    alone = [loss(*row) for row in np.eye(4)]
    assert loss(1, 1, 1, 1) == pytest.approx(np.mean(alone), rel=1e-5)
    assert loss(3, 1, 0.5, 2) == pytest.approx(np.dot([3, 1, 0.5, 2], alone) / 4, rel=1e-5)


def clusters(rows: int, seed: int) -> Embedded:
    """Vectors of two classes that are easily told apart."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, rows).astype(np.int32)
    vectors = draw.normal(size=(rows, 6)) + 2 * labels[:, None]
    return Embedded(vectors.astype(np.float32), labels)


def test_a_head_learns_from_the_rows_that_count() -> None:
    start_tensorflow()
    sound, validation, loss = clusters(200, 0), clusters(100, 1), SoftmaxCrossEntropy(np.ones(2, np.float32))
    # Twice as many rows say the opposite, and hardly count.
    vectors = np.concatenate([sound.vectors] * 3)
    labels = np.concatenate([sound.labels, 1 - sound.labels, 1 - sound.labels])
    weights = np.repeat(np.array([3, 1e-3, 1e-3], np.float32), 200)
    settings = recipe(
        hidden=[], dropout=0.0, epochs=5, learning_rate=0.02, early_stopping_patience=None, monitor="loss"
    )
    states = {
        name: train_head(Embedded(vectors, labels, given), validation, 2, loss, settings, None, lambda line: None)[1]
        for name, given in (("none", None), ("even", np.ones(600, np.float32)), ("weighted", weights))
    }
    assert states["weighted"].history[-1].validation.accuracy > 0.95
    assert states["none"].history[-1].validation.accuracy < 0.2
    assert states["even"].losses == states["none"].losses


def test_weights_go_from_the_rows_into_training(model: Path, rows: Path, tmp_path: Path) -> None:
    weighted = tmp_path / "rows"
    weighted.mkdir()
    (weighted / "labels.json").write_bytes((rows / "labels.json").read_bytes())
    for split in ("train", "validation", "test"):
        table = pl.read_parquet(rows / f"{split}.parquet")
        counts = pl.when(pl.col("label") == 0).then(1000.0).otherwise(1.0).alias("weight")
        table.with_columns(counts).write_parquet(weighted / f"{split}.parquet")
    for name in ("tokens", "classifier"):
        (tmp_path / name).mkdir()
    tokenise(model, weighted, MAX_LENGTH, POSITIONS, tmp_path / "tokens", print)
    written = pl.read_parquet(tmp_path / "tokens" / "train.parquet")
    assert written.schema == {"key": pl.Binary, "ids": pl.List(pl.Int32), "label": pl.Int32, "weight": pl.Float64}
    settings = {"mode": "fine_tuning", "epochs": 1, "learning_rate": 1e-3}
    run = run_training(model, weighted, tmp_path / "tokens", tmp_path / "classifier", **settings)
    answers = pl.read_parquet(run.folder / "answers" / "test.parquet")
    said = np.array(answers["logits"].to_list()).argmax(axis=1)
    # The others count a thousandth as much as the first class.
    assert answers["label"].n_unique() == 3
    assert set(said.tolist()) == {0}
