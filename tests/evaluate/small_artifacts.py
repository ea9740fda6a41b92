"""Writes small `rows` and `classifier` artifacts: what the evaluation reads of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from schemas.handoff import SPLITS, EvaluationFacts, Split
from schemas.recipe import EvaluateRecipe
from tasks.evaluate.answers import Answers
from tasks.evaluate.evaluate import evaluate

SUBJECTS = ["plants", "taxes", "old maps", "bread", "rivers", "glaciers", "violins", "ferries", "trains", "stars"]
ASKED = {
    "sincere": ["How do {} work?", "Where can I read about {}?", "What do {} cost?"],
    "insincere": ["Isn't it obvious that {} are a fraud?", "Why do fools trust {}?"],
    "shouting": ["{} NOW!!!"],
}


@dataclass(frozen=True)
class Part:
    """Rows of one split. `logits` are what the classifier answers; None where it was not asked."""

    texts: Sequence[str]
    truth: Sequence[int]
    logits: Any = None
    columns: Mapping[str, Sequence[str | None]] | None = None


@dataclass(frozen=True)
class Inputs:
    rows: Path
    classifier: Path

    def evaluate(self, folder: Path, **recipe: Any) -> tuple[EvaluationFacts, dict[str, Any]]:
        folder.mkdir(parents=True)
        facts = evaluate(self.rows, self.classifier, EvaluateRecipe(**recipe), "macro_f1", folder, lambda line: None)
        return facts, json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def write(folder: Path, labels: Sequence[str], parts: Mapping[Split, Part]) -> Inputs:
    """Write both artifacts. Rows lie in the order given, answers in that of their keys."""
    inputs = Inputs(folder / "rows", folder / "classifier")
    inputs.rows.mkdir(parents=True)
    (inputs.classifier / "answers").mkdir(parents=True)
    (inputs.rows / "labels.json").write_text(json.dumps(list(labels)), encoding="utf-8")
    history = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "learning_rate": 1e-3,
            "train_loss": 1 / epoch,
            "validation": {"loss": 1.1 / epoch, "accuracy": 0.7, "macro_f1": 0.6},
            "best": epoch == 2,
        }
        for epoch in (1, 2)
    ]
    (inputs.classifier / "history.json").write_text(json.dumps(history), encoding="utf-8")
    for split in SPLITS:
        part = parts[split]
        rows = pl.DataFrame(
            {
                "key": pl.Series([key(text) for text in part.texts], dtype=pl.Binary),
                "text": pl.Series(part.texts, dtype=pl.String),
                "label": pl.Series(part.truth, dtype=pl.Int32),
                **{name: pl.Series(values, dtype=pl.String) for name, values in (part.columns or {}).items()},
            }
        )
        rows.write_parquet(inputs.rows / f"{split}.parquet")
        if part.logits is not None:
            logits = pl.Series([[float(value) for value in row] for row in part.logits], dtype=pl.List(pl.Float32))
            answers = rows.select("key", "label").with_columns(logits=logits)
            answers.sort("key").write_parquet(inputs.classifier / "answers" / f"{split}.parquet")
    return inputs


def key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def questions(labels: Sequence[str], rows: int, seed: int) -> Part:
    """Different questions whose words tell their class, answered by a classifier that is right most of the time."""
    random = np.random.default_rng(seed)
    truth = random.permutation(np.arange(rows) % len(labels))
    texts = []
    for number, index in enumerate(truth):
        forms = ASKED[labels[index]]
        subject = SUBJECTS[number % len(SUBJECTS)]
        texts.append(f"{forms[number % len(forms)].format(subject)} ({'ab'[seed % 2]}{number})")
    return Part(texts, [int(index) for index in truth], noisy_logits(truth, len(labels), random))


def noisy_logits(truth: NDArray[np.integer], classes: int, random: np.random.Generator) -> NDArray[np.float32]:
    right = np.eye(classes)[truth]
    return np.asarray(2 * right + random.normal(size=right.shape), np.float32)


def usual(folder: Path, labels: Sequence[str] = ("sincere", "insincere"), rows: int = 120) -> Inputs:
    """Rows and answers of which nothing is unusual."""
    parts: dict[Split, Part] = {split: questions(labels, rows, seed) for seed, split in enumerate(SPLITS)}
    return write(folder, labels, parts)


def answers(truth: Sequence[int], logits: Any, texts: Sequence[str] | None = None, **columns: Any) -> Answers:
    """One split as the evaluation reads it."""
    shown = list(texts) if texts is not None else [f"text {number}" for number in range(len(truth))]
    keys = [number.to_bytes(16, "big") for number in range(len(truth))]
    return Answers(keys, shown, np.array(truth, np.int32), np.array(logits, np.float64), columns)
