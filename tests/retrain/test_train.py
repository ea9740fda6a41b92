"""The classifier artifact: what is in it, and that equal runs in different processes give equal bytes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from hubtune.errors import InvalidRecipe
from schemas.handoff import ClassifierFacts
from tasks.retrain import worker
from tasks.retrain.encoder import load_encoder
from tasks.retrain.examples import read_examples
from tasks.retrain.train import train
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, WIDTH, recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(model: Path, rows: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both modes in two processes, at the same time, so that each disturbs the other's timing."""
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    module = [sys.executable, "-m", "tests.retrain.both_modes", str(model), str(rows), str(tokens)]
    processes = [
        subprocess.Popen([*module, str(folder / "out")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for folder in folders
    ]
    for process in processes:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    return [folder / "out" for folder in folders]


def test_equal_runs_give_equal_bytes(runs: list[Path]) -> None:
    first, second = ({path.relative_to(run): path.read_bytes() for path in run.rglob("*.*")} for run in runs)
    assert sorted(map(str, first)) == [
        "embeddings/keys.npy",
        "embeddings/vectors.npy",
        *(f"feature_extraction/{name}" for name in sorted(FILES - {"encoder.safetensors"})),
        *(f"fine_tuning/{name}" for name in sorted(FILES)),
    ]
    assert [str(path) for path in first if first[path] != second[path]] == []


FILES = {
    "classifier.json",
    "encoder.safetensors",
    "evaluation.json",
    "head.safetensors",
    "history.json",
    "predictions.parquet",
}


@pytest.mark.parametrize("mode", ["feature_extraction", "fine_tuning"])
def test_the_files_say_all_that_is_needed_to_predict_the_same(
    mode: str, runs: list[Path], model: Path, tokens: Path
) -> None:
    folder = runs[0] / mode
    description = json.loads((folder / "classifier.json").read_bytes())
    encoder = load_encoder(model, FACTS, "mean", seed=0)
    if mode == "fine_tuning":
        weights = load_file(folder / "encoder.safetensors")
        assert description["variables"] == [variable.name for variable in encoder.variables]
        for variable in encoder.variables:
            variable.assign(weights[variable.name])
    assert {key: description[key] for key in ("interface", "mode", "pooling", "labels", "width", "max_length")} == {
        "interface": "bert_encoder",
        "mode": mode,
        "pooling": "mean",
        "labels": LABELS,
        "width": WIDTH,
        "max_length": MAX_LENGTH,
    }
    test = read_examples(tokens, "test")
    x = encoder.text_vectors(test.inputs.batch(np.arange(len(test))), training=False).numpy()
    head = load_file(folder / "head.safetensors")
    for number in range(len(description["hidden"])):
        x = np.maximum(x @ head[f"dense_{number}/kernel"] + head[f"dense_{number}/bias"], 0)
    x = x @ head["logits/kernel"] + head["logits/bias"]
    shares = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    predictions = pl.read_parquet(folder / "predictions.parquet")
    schema = {"key": pl.Binary, "label": pl.Int32, "predicted": pl.Int32, "probabilities": pl.List(pl.Float32)}
    assert predictions.schema == schema
    keys = predictions["key"].to_list()
    assert keys == sorted(keys)
    order = np.argsort([key.tobytes() for key in test.keys])
    assert predictions["label"].to_list() == test.labels[order].tolist()
    np.testing.assert_allclose(np.array(predictions["probabilities"].to_list()), shares[order], atol=1e-4)
    assert predictions["predicted"].to_list() == shares[order].argmax(axis=1).tolist()


@pytest.mark.parametrize("mode", ["feature_extraction", "fine_tuning"])
def test_results(mode: str, runs: list[Path]) -> None:
    folder = runs[0] / mode
    predictions = pl.read_parquet(folder / "predictions.parquet")
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    assert evaluation["labels"] == LABELS
    # Evaluating the training rows would cost fine-tuning a third of an epoch.
    assert list(evaluation["splits"]) == [*(["train"] if mode == "feature_extraction" else []), "validation", "test"]
    test = evaluation["splits"]["test"]
    assert test["rows"] == predictions.height
    assert test["accuracy"] == pytest.approx((predictions["label"] == predictions["predicted"]).mean())
    assert test["accuracy"] > 0.5
    assert np.sum(test["confusion_matrix"]) == predictions.height
    history = json.loads((folder / "history.json").read_bytes())
    assert [entry["epoch"] for entry in history] == list(range(1, len(history) + 1))
    (best,) = (entry for entry in history if entry["best"])
    assert best["validation_macro_f1"] == max(entry["validation_macro_f1"] for entry in history)
    assert best["validation_loss"] == pytest.approx(evaluation["splits"]["validation"]["loss"], abs=1e-4)
    assert not {"seconds", "time"} & {key for entry in history for key in entry}


def test_the_worker_does_the_same_in_a_process_of_its_own(
    runs: list[Path], model: Path, rows: Path, tokens: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    settings = recipe(epochs=3, dropout=0.3, learning_rate=5e-3)
    embeddings = [runs[0] / "embeddings"]
    assert worker.embed(model, FACTS, tokens, settings, embeddings, tmp_path, lines.append) is None
    assert lines == ["360 distinct texts, 360 of them embedded before"]
    facts = worker.train(model, FACTS, rows, tokens, embeddings, settings, tmp_path, lines.append)
    assert facts.best_epoch <= facts.epochs <= 3
    assert isinstance(facts, ClassifierFacts)
    assert set(facts.metrics) == {"train", "validation", "test"}
    assert lines[-1].startswith("test: accuracy ")
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (runs[0] / "feature_extraction" / path.name).read_bytes()


def test_class_weights_of_unknown_classes_are_refused_before_anything_is_loaded(
    rows: Path, tokens: Path, tmp_path: Path
) -> None:
    settings = recipe(class_weights={"sport": 2.0})
    with pytest.raises(InvalidRecipe, match="'sport', which is no class"):
        train(tmp_path / "no model", FACTS, rows, tokens, [], settings, tmp_path, print)
