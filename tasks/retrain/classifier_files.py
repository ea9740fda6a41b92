"""The content of a `classifier` artifact. Equal classifiers give equal bytes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.errors import StoreUnavailable
from schemas.handoff import ModelFacts, Split
from schemas.train_recipe import Monitor, TrainRecipe
from tasks.pooling import vector_width
from tasks.retrain.examples import Examples
from tasks.retrain.fit import TrainingState, best_epoch
from tasks.retrain.head import Weights
from tasks.retrain.plan import Plan
from tasks.retrain.precision import Precision
from tasks.retrain.truth import label_column


def write_weights(folder: Path, head: Weights, encoder: Weights) -> None:
    """Write `head.safetensors` and, where the encoder was trained, `encoder.safetensors`."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(head, folder / "head.safetensors")
        if encoder:
            save_file(encoder, folder / "encoder.safetensors")
    except SafetensorError as error:  # no OSError, although a full disk raises it
        raise StoreUnavailable(
            f"the weights could not be written: {error}",
            where=str(folder),
            remedy="check that the disk has space; the last checkpoint is kept, the next run goes on from it",
        ) from error


def write_description(
    folder: Path,
    facts: ModelFacts,
    labels: list[str],
    variables: list[str],
    recipe: TrainRecipe,
    plan: Plan,
    precision: Precision,
    pairs: bool,
) -> None:
    """Write `classifier.json`: all that is needed to build the classifier again from model and weights.

    Args:
        folder: the artifact's folder.
        facts: of the pretrained model.
        labels: class names in class order.
        variables: names of the encoder's variables in `encoder.safetensors`.
        recipe: task, mode, head; pooling has no meaning, and is null, where the model takes strings.
        plan: the layers that are taken; null for the model's own output.
        precision: what the encoder's layers were computed in while it was trained.
        pairs: whether it reads pairs of texts.
    """
    pooling = recipe.pooling if facts.interface == "bert_encoder" else None
    description = {
        "task": recipe.task,
        "interface": facts.interface,
        "mode": recipe.mode,
        "pooling": pooling,
        "layers": plan.layers,
        "labels": labels,
        "width": vector_width(facts.width, pooling, plan.layers),
        "hidden": recipe.hidden,
        "activation": recipe.activation,
        "max_length": recipe.max_length if pooling else None,
        "variables": variables,
        "precision": precision,
    }
    if pairs:
        description["pairs"] = True
    _write_json(folder / "classifier.json", description)


def write_history(folder: Path, state: TrainingState, monitor: Monitor) -> None:
    """Write `history.json`, one entry for each epoch, and `steps.parquet`, one row for each step."""
    import polars as pl

    best = best_epoch(state.history, monitor)
    _write_json(folder / "history.json", [asdict(entry) | {"best": entry.epoch == best} for entry in state.history])
    columns = {
        "step": pl.Series(range(1, len(state.losses) + 1), dtype=pl.Int64),
        "loss": pl.Series(state.losses, dtype=pl.Float32),
        "learning_rate": pl.Series(state.rates[: len(state.losses)], dtype=pl.Float32),
    }
    pl.DataFrame(columns).write_parquet(folder / "steps.parquet")


def write_answers(folder: Path, split: Split, examples: Examples, logits: npt.NDArray[np.float32]) -> None:
    """Write `answers/<split>.parquet`: what the classifier gives for each text, in the order of the keys."""
    import polars as pl

    table = pl.DataFrame(
        {
            "key": pl.Series([key.tobytes() for key in examples.keys], dtype=pl.Binary),
            "label": label_column(examples.labels),
            "logits": pl.Series(logits.tolist(), dtype=pl.List(pl.Float32)),
        }
    )
    (folder / "answers").mkdir(exist_ok=True)
    table.sort("key", maintain_order=True).write_parquet(folder / "answers" / f"{split}.parquet")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
