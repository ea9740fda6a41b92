"""The files of a `classifier` artifact and of its `rows`, as training leaves them behind, written by hand."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

LABELS = ("sincere", "insincere", "a | *third* <b>class</b> for $5$")


def write_rows(folder: Path, texts: Sequence[str], labels: Sequence[str] = LABELS) -> None:
    """`test.parquet` and `labels.json`; text i is of class i % classes."""
    folder.mkdir(parents=True)
    pl.DataFrame(
        {
            "key": pl.Series([_key(text) for text in texts], dtype=pl.Binary),
            "text": texts,
            "label": pl.Series([number % len(labels) for number in range(len(texts))], dtype=pl.Int32),
        }
    ).write_parquet(folder / "test.parquet")
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")


def write_classifier(folder: Path, rows: Path, epochs: int = 4, steps: int = 10, right: float = 0.7) -> None:
    """A training whose test answers are right for about this share of the rows; the last epoch but one was kept."""
    (folder / "answers").mkdir(parents=True)
    labels = json.loads((rows / "labels.json").read_bytes())
    (folder / "classifier.json").write_text(json.dumps({"labels": labels, "mode": "fine_tuning"}), encoding="utf-8")
    best = max(epochs - 1, 1)
    history = [
        {
            "epoch": epoch,
            "step": epoch * steps,
            "learning_rate": 1e-3 / epoch,
            "train_loss": 1 / epoch,
            "validation": {"loss": 1.2 / epoch + 0.02 * epoch**2, "accuracy": 0.5 + 0.1 * epoch, "macro_f1": 0.6},
            "best": epoch == best,
        }
        for epoch in range(1, epochs + 1)
    ]
    (folder / "history.json").write_text(json.dumps(history), encoding="utf-8")
    count = np.arange(1, epochs * steps + 1)
    pl.DataFrame(
        {
            "step": pl.Series(count, dtype=pl.Int64),
            "loss": pl.Series(2 / np.sqrt(count), dtype=pl.Float32),
            "learning_rate": pl.Series(1e-3 * (1 - (count - 1) / len(count)), dtype=pl.Float32),
        }
    ).write_parquet(folder / "steps.parquet")
    test = pl.read_parquet(rows / "test.parquet").sort("key")
    numbers = np.random.default_rng(7)
    logits = numbers.normal(size=(test.height, len(labels))).astype(np.float32)
    favoured = np.where(
        numbers.random(test.height) < right, test["label"].to_numpy(), numbers.integers(0, len(labels), test.height)
    )
    logits[np.arange(test.height), favoured] += 3
    answers = test.select("key", "label").with_columns(
        logits=pl.Series(logits.tolist(), dtype=pl.List(pl.Float32)),
    )
    answers.write_parquet(folder / "answers" / "test.parquet")
    answers.write_parquet(folder / "answers" / "validation.parquet")


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
