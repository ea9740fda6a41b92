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
from schemas.train_recipe import Task
from tasks.evaluate.answers import Answers
from tasks.evaluate.evaluate import evaluate

SUBJECTS = ["plants", "taxes", "old maps", "bread", "rivers", "glaciers", "violins", "ferries", "trains", "stars"]
ASKED = {
    "sincere": ["How do {} work?", "Where can I read about {}?", "What do {} cost?"],
    "insincere": ["Isn't it obvious that {} are a fraud?", "Why do fools trust {}?"],
    "shouting": ["{} NOW!!!"],
}


TOPICS = ["plants", "taxes", "old maps"]
SHARES = [0.6, 0.3, 0.15]


@dataclass(frozen=True)
class Part:
    """Rows of one split: class indices, or lists of them. `logits` are what is answered; None where nobody asked."""

    texts: Sequence[str]
    truth: Sequence[int] | Sequence[Sequence[int]]
    logits: Any = None
    columns: Mapping[str, Sequence[str | None]] | None = None


@dataclass(frozen=True)
class Inputs:
    rows: Path
    classifier: Path
    task: Task = "multiclass"

    def evaluate(self, folder: Path, **recipe: Any) -> tuple[EvaluationFacts, dict[str, Any]]:
        folder.mkdir(parents=True)
        settings = EvaluateRecipe(**recipe)
        facts = evaluate(self.rows, self.classifier, settings, "macro_f1", folder, lambda line: None, self.task)
        return facts, json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def write(folder: Path, labels: Sequence[str], parts: Mapping[Split, Part], task: Task = "multiclass") -> Inputs:
    """Write both artifacts. Rows lie in the order given, answers in that of their keys."""
    inputs = Inputs(folder / "rows", folder / "classifier", task)
    kind = pl.Int32 if task == "multiclass" else pl.List(pl.Int32)
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
    (inputs.classifier / "classifier.json").write_text(json.dumps({"labels": list(labels)}), encoding="utf-8")
    steps = {"step": range(1, 21), "loss": [0.5] * 20, "learning_rate": [1e-3] * 20}
    pl.DataFrame(steps, {"step": pl.Int64, "loss": pl.Float32, "learning_rate": pl.Float32}).write_parquet(
        inputs.classifier / "steps.parquet"
    )
    for split in SPLITS:
        part = parts[split]
        rows = pl.DataFrame(
            {
                "key": pl.Series([key(text) for text in part.texts], dtype=pl.Binary),
                "text": pl.Series(part.texts, dtype=pl.String),
                "label": pl.Series(part.truth, dtype=kind),
                **{
                    f"slice.{name}": pl.Series(values, dtype=pl.String) for name, values in (part.columns or {}).items()
                },
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


def topics(labels: Sequence[str], rows: int, seed: int) -> Part:
    """Different texts that name what they are about: some nothing, some several topics, some topics seldom."""
    random = np.random.default_rng(seed)
    belongs = random.random((rows, len(labels))) < np.resize(SHARES, len(labels))
    texts = []
    for number, row in enumerate(belongs):
        about = " and ".join(label for label, named in zip(labels, row, strict=True) if named) or "nothing"
        texts.append(f"{'Please tell me ' * (number % 4)}about {about} ({'ab'[seed % 2]}{number})")
    logits = 3 * belongs - 1.5 + random.normal(size=belongs.shape)
    kinds = [("mail", "chat", None)[number % 3] for number in range(rows)]
    return Part(texts, [np.flatnonzero(row).tolist() for row in belongs], logits.astype(np.float32), {"kind": kinds})


def usual_topics(folder: Path, labels: Sequence[str] = TOPICS, rows: int = 120) -> Inputs:
    """Rows that may belong to several classes, and answers, of which nothing is unusual."""
    parts: dict[Split, Part] = {split: topics(labels, rows, seed) for seed, split in enumerate(SPLITS)}
    return write(folder, labels, parts, "multilabel")


def answers(truth: Sequence[int], logits: Any, texts: Sequence[str] | None = None, **columns: Any) -> Answers:
    """One split as the evaluation reads it."""
    shown = list(texts) if texts is not None else [f"text {number}" for number in range(len(truth))]
    keys = [number.to_bytes(16, "big") for number in range(len(truth))]
    return Answers(keys, shown, np.array(truth, np.int32), np.array(logits, np.float64), columns, [None] * len(keys))


def answers_of_each(truth: Any, logits: Any, texts: Sequence[str] | None = None, **columns: Any) -> Answers:
    """One split whose rows may belong to several classes, as the evaluation reads it."""
    belongs = np.array(truth, np.bool_)
    known = answers([0] * len(belongs), logits, texts, **columns)
    return Answers(known.keys, known.texts, belongs, known.logits, known.columns, known.ids)
