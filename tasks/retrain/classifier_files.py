"""The content of a `classifier` artifact. Equal classifiers give equal bytes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.handoff import ModelFacts, Split
from schemas.recipe import TrainRecipe
from tasks.retrain.evaluate import Evaluation, probabilities
from tasks.retrain.examples import Examples
from tasks.retrain.fit import Epoch
from tasks.retrain.head import Weights


def write_weights(folder: Path, head: Weights, encoder: Weights) -> None:
    """Write `head.safetensors` and, where the encoder was trained, `encoder.safetensors`."""
    from safetensors.numpy import save_file

    save_file(head, folder / "head.safetensors")
    if encoder:
        save_file(encoder, folder / "encoder.safetensors")


def write_description(
    folder: Path, facts: ModelFacts, labels: list[str], variables: list[str], recipe: TrainRecipe
) -> None:
    """Write `classifier.json`: all that is needed to build the classifier again from model and weights.

    Args:
        folder: the artifact's folder.
        facts: of the pretrained model.
        labels: class names in class order.
        variables: names of the encoder's variables in `encoder.safetensors`, in the loaded model's order.
        recipe: pooling and maximal length have no meaning, and are null, where the model takes strings.
    """
    takes_tokens = facts.interface == "bert_encoder"
    description = {
        "interface": facts.interface,
        "mode": recipe.mode,
        "pooling": recipe.pooling if takes_tokens else None,
        "labels": labels,
        "width": facts.width,
        "hidden": recipe.hidden,
        "activation": "relu",
        "max_length": recipe.max_length if takes_tokens else None,
        "variables": variables,
    }
    _write_json(folder / "classifier.json", description)


def write_results(
    folder: Path, labels: list[str], history: list[Epoch], best: int, evaluations: Mapping[Split, Evaluation]
) -> None:
    """Write `history.json` and `evaluation.json`."""
    epochs = [entry.to_json() | {"best": entry.epoch == best} for entry in history]
    _write_json(folder / "history.json", epochs)
    splits = {split: evaluation.to_json() for split, evaluation in evaluations.items()}
    _write_json(folder / "evaluation.json", {"labels": labels, "splits": splits})


def write_predictions(folder: Path, test: Examples, logits: npt.NDArray[np.float32]) -> None:
    """Write `predictions.parquet`: the test split with what was predicted, in the order of the keys."""
    import polars as pl

    table = pl.DataFrame(
        {
            "key": pl.Series([key.tobytes() for key in test.keys], dtype=pl.Binary),
            "label": pl.Series(test.labels, dtype=pl.Int32),
            "predicted": pl.Series(logits.argmax(axis=1), dtype=pl.Int32),
            "probabilities": pl.Series(probabilities(logits).tolist(), dtype=pl.List(pl.Float32)),
        }
    )
    table.sort("key", maintain_order=True).write_parquet(folder / "predictions.parquet")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
