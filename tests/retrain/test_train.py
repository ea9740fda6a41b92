"""The classifier artifact: what is in it, and that equal runs in different processes give equal bytes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import erf

from hubtune.errors import InvalidRecipe
from schemas.handoff import ClassifierFacts
from tasks import fork_server
from tasks.retrain import worker
from tasks.retrain.embeddings import read_keys
from tasks.retrain.examples import read_examples
from tasks.retrain.plan import with_learning_rate
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.train import train
from tasks.retrain.validation import validate
from tests.retrain.every_mode import SETTINGS
from tests.retrain.runs import Training
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, WIDTH, recipe

pytestmark = pytest.mark.slow

FILES = {
    "answers/test.parquet",
    "answers/validation.parquet",
    "classifier.json",
    "encoder.safetensors",
    "head.safetensors",
    "history.json",
    "steps.parquet",
}
TUNED = sorted(set(SETTINGS) - {"feature_extraction"})
ACTIVATIONS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
}


def test_equal_runs_give_equal_bytes(runs: list[Path]) -> None:
    first, second = ({str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*.*")} for run in runs)
    assert sorted(first) == sorted(
        [
            "embeddings/keys.npy",
            "embeddings/vectors.npy",
            *(f"feature_extraction/{name}" for name in FILES - {"encoder.safetensors"}),
            *(f"{mode}/{name}" for mode in TUNED for name in FILES),
        ]
    )
    assert sorted(second) == sorted(f"layer_extraction/{name}" for name in FILES)
    assert [path for path in second if first[path] != second[path]] == []


@pytest.mark.parametrize(
    ("kind", "settings", "left"),
    [
        ("model", {"mode": "fine_tuning"}, True),
        ("model", {"mode": "partial"}, True),
        ("saved_model", {"mode": "fine_tuning"}, False),
        ("accelerator", {"mode": "fine_tuning"}, False),
    ],
)
def test_graphs_of_known_layers_are_left_as_they_are(
    kind: str,
    settings: dict[str, Any],
    left: bool,
    training: Training,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []
    if kind == "accelerator":
        # MOCK: what an accelerator computes is computed on this processor.
        monkeypatch.setattr("tasks.retrain.train.on_processors", lambda strategy: False)
        kind = "model"
    monkeypatch.setattr("tasks.retrain.train.leave_graphs_as_they_are", lambda: asked.append(True))
    training(request.getfixturevalue(kind), epochs=1, **settings)
    assert asked == [True] * left


def by_hand(model: Path, folder: Path, features: Any) -> NDArray[np.float32]:
    """The logits: the encoder is the SavedModel with the weights put in, pooling and head are NumPy."""
    tf = start_tensorflow()
    description = json.loads((folder / "classifier.json").read_bytes())
    encoder = tf.saved_model.load(str(model / "encoder"))
    weights = load_file(folder / "encoder.safetensors") if description["variables"] else {}
    assert list(weights) == sorted(description["variables"])
    variables = {variable.name: variable for variable in encoder.trainable_variables}
    for name in description["variables"]:
        variables[name].assign(weights[name])
    outputs = encoder(features, training=False)
    layers = description["layers"]
    chosen = [outputs["encoder_outputs"][layer - 1] for layer in layers] if layers else [outputs["sequence_output"]]
    parts = []
    for tokens in chosen:
        texts = [row[: mask.sum()] for row, mask in zip(tokens.numpy(), features["input_mask"], strict=True)]
        if description["pooling"] in ("mean", "mean_max"):
            parts.append(np.array([text.mean(axis=0) for text in texts]))
        if description["pooling"] in ("max", "mean_max"):
            parts.append(np.array([text.max(axis=0) for text in texts]))
    x = np.concatenate(parts, axis=1)
    assert x.shape[1] == description["width"]
    head = load_file(folder / "head.safetensors")
    for number in range(len(description["hidden"])):
        x = x @ head[f"dense_{number}/kernel"] + head[f"dense_{number}/bias"]
        x = ACTIVATIONS[description["activation"]](x)
    logits: NDArray[np.float32] = x @ head["logits/kernel"] + head["logits/bias"]
    return logits


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("mode", SETTINGS)
def test_the_files_say_all_that_is_needed_to_answer_the_same(
    mode: str, split: Any, runs: list[Path], model: Path, tokens: Path
) -> None:
    folder = runs[0] / mode
    description = json.loads((folder / "classifier.json").read_bytes())
    settings = recipe(mode=mode, **SETTINGS[mode])
    assert (description.pop("variables") == []) is (mode == "feature_extraction")
    assert description == {
        "task": "multiclass",
        "interface": "bert_encoder",
        "mode": mode,
        "pooling": settings.pooling,
        "layers": settings.layers,
        "labels": LABELS,
        "width": WIDTH * (2 if mode in ("partial", "layer_extraction") else 1),
        "hidden": settings.hidden,
        "activation": settings.activation,
        "max_length": MAX_LENGTH,
        "precision": "float32",
    }
    examples = read_examples(tokens, split)
    logits = by_hand(model, folder, examples.inputs.batch(np.arange(len(examples))))

    answers = pl.read_parquet(folder / "answers" / f"{split}.parquet")
    assert answers.schema == {"key": pl.Binary, "label": pl.Int32, "logits": pl.List(pl.Float32)}
    keys = answers["key"].to_list()
    order = np.argsort([key.tobytes() for key in examples.keys])
    assert keys == sorted(keys) == [examples.keys[row].tobytes() for row in order]
    assert answers["label"].to_list() == examples.labels[order].tolist()
    np.testing.assert_allclose(np.array(answers["logits"].to_list()), logits[order], atol=1e-4)


@pytest.mark.parametrize("mode", SETTINGS)
def test_history_and_steps(mode: str, runs: list[Path]) -> None:
    folder, settings = runs[0] / mode, recipe(mode=mode, **SETTINGS[mode])
    history = json.loads((folder / "history.json").read_bytes())
    assert [entry["epoch"] for entry in history] == list(range(1, len(history) + 1))
    assert [entry["step"] for entry in history] == [8 * entry["epoch"] for entry in history]
    (best,) = (entry for entry in history if entry["best"])
    assert best["validation"]["macro_f1"] == max(entry["validation"]["macro_f1"] for entry in history)
    assert set(history[0]) == {"epoch", "step", "learning_rate", "train_loss", "validation", "best"}  # no times

    steps = pl.read_parquet(folder / "steps.parquet")
    assert steps.schema == {"step": pl.Int64, "loss": pl.Float32, "learning_rate": pl.Float32}
    assert steps["step"].to_list() == list(range(1, 8 * len(history) + 1))
    assert steps["learning_rate"].max() == pytest.approx(settings.learning_rate)
    for entry in history:
        epoch = steps[entry["step"] - 8 : entry["step"]]
        # Seven batches of 32 rows and one of 16, wherever in the epoch it comes.
        assert entry["train_loss"] == pytest.approx(epoch["loss"].mean(), abs=0.1)
        assert entry["learning_rate"] == pytest.approx(epoch["learning_rate"][-1])

    # The weights of the best epoch are the ones that are kept.
    answers = pl.read_parquet(folder / "answers" / "validation.parquet")
    logits = np.array(answers["logits"].to_list(), np.float32)
    found = validate(logits, answers["label"].to_numpy())
    assert found.loss == pytest.approx(best["validation"]["loss"], abs=1e-4)
    assert found.accuracy == pytest.approx(best["validation"]["accuracy"])
    assert found.accuracy > 0.45


def test_the_worker_does_the_same_in_a_process_of_its_own(
    runs: list[Path], model: Path, rows: Path, tokens: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    mode = "feature_extraction"
    settings = recipe(mode=mode, **SETTINGS[mode])
    embeddings = [runs[0] / "embeddings"]
    vectors = tmp_path / "vectors"
    vectors.mkdir()
    embedded = worker.embed(model, FACTS, tokens, embeddings[0], (100, 300), settings, vectors, lines.append)
    assert embedded.texts == 200
    assert (read_keys(vectors) == read_keys(embeddings[0])[100:300]).all()
    tmp_path = tmp_path / "classifier"
    tmp_path.mkdir()
    facts = worker.train(model, FACTS, rows, tokens, embeddings, settings, None, tmp_path, lines.append)
    assert isinstance(facts, ClassifierFacts)
    assert facts.best_epoch <= facts.epochs <= 3
    assert lines[-1].startswith(f"epoch {facts.epochs}/3: ")
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")}
    assert set(map(str, written)) == FILES - {"encoder.safetensors"}
    for path in written:
        assert (tmp_path / path).read_bytes() == (runs[0] / mode / path).read_bytes()


def test_a_process_that_is_not_forked_does_the_same(
    runs: list[Path], model: Path, rows: Path, tokens: Path, tmp_path: Path
) -> None:
    mode, lines = "fine_tuning", list[str]()
    (tmp_path / "vectors").mkdir()
    # So that there is one that could be forked from, and is ended.
    worker.embed(model, FACTS, tokens, runs[0] / "embeddings", (0, 1), recipe(), tmp_path / "vectors", lines.append)
    (tmp_path / mode).mkdir()
    worker.train(
        model, FACTS, rows, tokens, [], recipe(mode=mode, **SETTINGS[mode]), None, tmp_path / mode, lines.append
    )
    assert not any(server.runs() for server in fork_server._servers)
    written = {str(path.relative_to(tmp_path / mode)) for path in (tmp_path / mode).rglob("*.*")}
    assert written == FILES
    for path in written:
        assert (tmp_path / mode / path).read_bytes() == (runs[0] / mode / path).read_bytes(), path


def test_equal_runs_of_a_saved_model_are_equal_too(saved_model: Path, training: Training) -> None:
    settings = {"mode": "fine_tuning", "epochs": 1, "batch_size": 48}
    first, again = training(saved_model, **settings), training(saved_model, **settings)
    for path in first.folder.rglob("*.*"):
        assert path.read_bytes() == (again.folder / path.relative_to(first.folder)).read_bytes()


def test_class_weights_of_unknown_classes_are_refused_before_anything_is_loaded(
    rows: Path, tokens: Path, tmp_path: Path
) -> None:
    settings = recipe(class_weights={"sport": 2.0})
    with pytest.raises(InvalidRecipe, match="'sport', which is no class"):
        train(tmp_path / "no model", FACTS, rows, tokens, [], settings, None, tmp_path, print)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mode": "partial", "freeze_layers": 4}, "freeze_layers"),
        ({"mode": "layer_extraction", "layers": [9]}, "layers"),
    ],
)
def test_layers_that_are_not_there_are_refused_before_anything_is_loaded(
    changes: dict[str, Any], field: str, rows: Path, tokens: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRecipe, match=f"train.{field} names layer") as refused:
        train(tmp_path / "no model", FACTS, rows, tokens, [], recipe(**changes), None, tmp_path, print)
    assert refused.value.where == f"train.{field}"


@pytest.mark.parametrize(
    ("changes", "settings", "rate"),
    [
        ({"width": 384}, {}, 1e-4),
        ({"width": 767}, {"mode": "partial"}, 1e-4),
        ({"width": 768}, {}, 5e-5),
        ({"width": 1024}, {"mode": "layer_extraction"}, 5e-5),
        ({"interface": "text_embedding", "width": 128}, {}, 5e-5),
        ({"width": 384}, {"learning_rate": 3e-5}, 3e-5),
        ({"width": 384}, {"mode": "feature_extraction"}, 5e-4),
    ],
    ids=str,
)
def test_the_learning_rate_follows_from_the_encoder_unless_it_is_given(
    changes: dict[str, Any], settings: dict[str, Any], rate: float
) -> None:
    train_section = recipe(**{"mode": "fine_tuning"} | settings)
    complete = with_learning_rate(FACTS.model_copy(update=changes), train_section)
    assert complete == train_section.model_copy(update={"learning_rate": rate})


def test_a_learning_rate_that_was_left_open_is_told(model: Path, training: Training) -> None:
    run = training(model, mode="fine_tuning", epochs=1)
    assert run.steps["learning_rate"].max() == pytest.approx(1e-4, rel=0.1)
    assert "learning rate 0.0001" in run.lines
