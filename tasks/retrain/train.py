"""Trains a classifier, evaluates it, and writes the content of a `classifier` artifact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.progress import Say
from schemas.handoff import SPLITS, ClassifierFacts, ModelFacts, Split
from schemas.recipe import TrainRecipe
from tasks.retrain.class_weights import class_weights
from tasks.retrain.embeddings import Embeddings
from tasks.retrain.encoder import load_encoder, require_trainable
from tasks.retrain.evaluate import Evaluation, evaluate, probabilities
from tasks.retrain.examples import Examples, read_examples, read_labels
from tasks.retrain.feature_extraction import Embedded, train_head
from tasks.retrain.fine_tuning import fine_tune, logits_function
from tasks.retrain.fit import Epoch, best_epoch
from tasks.retrain.forward import forward
from tasks.retrain.head import Head
from tasks.retrain.tensorflow_setup import start_tensorflow

Logits = dict[Split, npt.NDArray[np.float32]]


def train(
    model: Path,
    facts: ModelFacts,
    rows: Path,
    tokens: Path | None,
    embeddings: list[Path],
    recipe: TrainRecipe,
    folder: Path,
    say: Say,
) -> ClassifierFacts:
    """Train in the recipe's mode and evaluate the best weights.

    Args:
        model: a `model` artifact.
        facts: its facts.
        rows: a `rows` artifact.
        tokens: a `tokens` artifact, where the model takes token ids.
        embeddings: `embeddings` artifacts that together know every text, for feature extraction.
        recipe: a complete train section.
        folder: where the content of the `classifier` artifact is written.
        say: takes progress lines.

    Returns:
        The artifact's facts.

    Raises:
        TrainingFailed: the loss is not a number.
        UnsupportedModel: the model cannot be fine-tuned.
        InvalidRecipe: class weights name a class that does not exist.
    """
    labels = read_labels(rows)
    splits: dict[Split, Examples] = {split: read_examples(tokens or rows, split) for split in SPLITS}
    weight = class_weights(recipe.class_weights, labels, splits["train"].labels)
    start_tensorflow()
    if recipe.mode == "feature_extraction":
        head, history, logits = _extract(splits, Embeddings(embeddings), labels, weight, recipe, say)
        names: list[str] = []
    else:
        head, history, logits, tensors = _fine_tune(model, facts, splits, labels, weight, recipe, say)
        names = list(tensors)
        _write_tensors(folder / "encoder.safetensors", tensors)
    _write_tensors(folder / "head.safetensors", head.weights())
    bert = facts.interface == "bert_encoder"
    description = {
        "interface": facts.interface,
        "mode": recipe.mode,
        "pooling": recipe.pooling if bert else None,
        "labels": labels,
        "width": facts.width,
        "hidden": recipe.hidden,
        "activation": "relu",
        "max_length": recipe.max_length if bert else None,
        "variables": names,
    }
    _write_json(folder / "classifier.json", description)
    _write_json(folder / "history.json", [entry.to_json() for entry in history])
    evaluations = {split: evaluate(answers, splits[split].labels, labels) for split, answers in logits.items()}
    _write_json(folder / "evaluation.json", {split: found.to_json() for split, found in evaluations.items()})
    _write_predictions(folder / "predictions.parquet", splits["test"], logits["test"])
    test = evaluations["test"].metrics
    say(f"test split: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f}, {test.rows:,} rows")
    return ClassifierFacts(
        mode=recipe.mode,
        labels=labels,
        epochs=len(history),
        best_epoch=best_epoch(history),
        metrics={split: found.metrics for split, found in evaluations.items()},
    )


def _extract(
    splits: dict[Split, Examples],
    embeddings: Embeddings,
    labels: list[str],
    weight: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> tuple[Head, list[Epoch], Logits]:
    embedded = {
        split: Embedded(embeddings.look_up(examples.keys), examples.labels) for split, examples in splits.items()
    }
    head, history = train_head(embedded["train"], embedded["validation"], labels, weight, recipe, say)
    return head, history, {split: head.logits(part.vectors).numpy() for split, part in embedded.items()}


def _fine_tune(
    model: Path,
    facts: ModelFacts,
    splits: dict[Split, Examples],
    labels: list[str],
    weight: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> tuple[Head, list[Epoch], Logits, dict[str, npt.NDArray[np.float32]]]:
    encoder = load_encoder(model, facts, recipe.pooling, recipe.seed)
    require_trainable(encoder, facts)
    hidden = recipe.hidden or []
    head = Head(facts.width, hidden, len(labels), dropout=recipe.dropout, seed=recipe.seed, drop_input=True)
    history = fine_tune(encoder, head, splits["train"], splits["validation"], labels, weight, recipe, say)
    compute = logits_function(encoder, head)
    # The training split is left out: a forward pass over it costs a third of an epoch and tells little.
    held_out: tuple[Split, ...] = ("validation", "test")
    logits: Logits = {
        split: forward(compute, splits[split].inputs, len(labels), say, f"Evaluating {split}") for split in held_out
    }
    return head, history, logits, {variable.name: variable.numpy() for variable in encoder.variables}


def _write_tensors(path: Path, tensors: dict[str, npt.NDArray[np.float32]]) -> None:
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_predictions(path: Path, test: Examples, logits: npt.NDArray[np.float32]) -> None:
    import polars as pl

    pl.DataFrame(
        {
            "key": [key.tobytes() for key in test.keys],
            "label": test.labels,
            "predicted": logits.argmax(axis=1).astype(np.int32),
            "probabilities": pl.Series(probabilities(logits).tolist(), dtype=pl.List(pl.Float32)),
        },
        schema_overrides={"key": pl.Binary, "label": pl.Int32, "predicted": pl.Int32},
    ).sort("key").write_parquet(path)
