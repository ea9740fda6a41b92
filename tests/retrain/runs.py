"""Trainings on the small inputs, in this process, and what they left behind."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file

from schemas.handoff import ClassifierFacts
from tasks.bert import read_weights
from tasks.retrain.encoder import Encoder, load_encoder, trained_groups
from tasks.retrain.examples import Inputs, read_examples
from tasks.retrain.fine_tuning import fine_tune
from tasks.retrain.fit import Keeper, TrainingState
from tasks.retrain.head import Head
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.plan import make_plan, with_learning_rate
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.train import train
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, WIDTH, recipe

Weights = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """A training, and the content of its `classifier` artifact."""

    folder: Path
    facts: ClassifierFacts
    lines: list[str]

    @property
    def encoder(self) -> Weights:
        path = self.folder / "encoder.safetensors"
        return load_file(path) if path.exists() else {}

    @property
    def head(self) -> Weights:
        return load_file(self.folder / "head.safetensors")

    @property
    def history(self) -> list[dict[str, Any]]:
        history: list[dict[str, Any]] = json.loads((self.folder / "history.json").read_bytes())
        return history

    @property
    def description(self) -> dict[str, Any]:
        description: dict[str, Any] = json.loads((self.folder / "classifier.json").read_bytes())
        return description

    @property
    def steps(self) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "steps.parquet")

    def answers(self, split: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "answers" / f"{split}.parquet")


Training = Callable[..., Run]
"""`run_training` with the folders filled in: the model, and fields of the recipe."""


def run_training(model: Path, rows: Path, tokens: Path, folder: Path, **settings: Any) -> Run:
    """The whole training, as a worker does it."""
    lines: list[str] = []
    facts = train(model, FACTS, rows, tokens, [], recipe(**settings), None, folder, lines.append)
    return Run(folder, facts, lines)


@dataclass(frozen=True)
class Tuned:
    """Encoder and head after training, in memory."""

    encoder: Encoder
    head: Head
    state: TrainingState
    lines: list[str]
    inputs: Inputs

    @property
    def weights(self) -> Weights:
        return {variable.name: variable.numpy() for group in self.encoder.groups for variable in group}


def tune(
    model: Path, texts: Path, keeper: Keeper | None = None, encoder: Encoder | None = None, **settings: Any
) -> Tuned:
    """The training of encoder and head alone: nothing is computed beforehand, no word is left out."""
    start_tensorflow()
    settings = {"mode": "fine_tuning", "early_stopping_patience": None} | settings
    wanted, lines = with_learning_rate(FACTS, recipe(**settings)), list[str]()
    plan = make_plan(FACTS, wanted)
    encoder = encoder or load_encoder(model, FACTS, wanted, plan)
    groups = trained_groups(encoder, plan.frozen_groups, FACTS)
    train, validation = (read_examples(texts, split) for split in ("train", "validation"))
    head, state, _ = fine_tune(
        encoder,
        groups,
        (train.inputs, train.labels, train.weights),
        (validation.inputs, validation.labels),
        len(LABELS),
        SoftmaxCrossEntropy(EVEN),
        wanted,
        keeper,
        lines.append,
    )
    return Tuned(encoder, head, state, lines, train.inputs)


def pretrained(model: Path) -> Weights:
    """The weights that training starts from, by the names of their variables."""
    known = read_weights(model)
    assert known is not None
    return {f"{name}:0": values for name, values in known[1]}


def with_effect(weights: Weights) -> Weights:
    """Weights without the biases of the attention's keys.

    They move every score of a token by the same amount, which softmax does not see: their true gradient is 0, and Adam
    makes steps of full size out of the rounding errors that are left of it.
    """
    cut = "/query_key_value/bias:0"
    queries = slice(0, WIDTH)
    values = slice(2 * WIDTH, 3 * WIDTH)
    parts: Weights = {}
    for name, value in weights.items():
        if name.endswith(cut):
            parts |= {f"{name} of queries": value[queries], f"{name} of values": value[values]}
        else:
            parts[name] = value
    return parts
