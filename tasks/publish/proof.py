"""The proof of an export: a process with nothing but `hubtune.inference` answers the test split as was evaluated."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hubtune.errors import CorruptArtifact, ExportFailed, WorkerDied
from hubtune.inference.classifier import DECISION, Engine, Text
from hubtune.inference.pairs import BETWEEN, split_pair
from hubtune.progress import Say
from schemas.train_recipe import Task
from tasks.fresh_process import run_in_fresh_process

# Exported graphs do the same arithmetic in another order. Measured for the starter model on 2,000 questions:
# probabilities differ by 1e-5 at most. A difference of 1e-3 is a mistake and not rounding.
PROBABILITY_TOLERANCE = 1e-3
# Two classes whose evaluated probabilities are closer than this are tied within numerical precision; so are, where a
# text may belong to several, a class's probability and the one from which on it is predicted.
TIE = 1e-4

_NAMES: dict[Engine, str] = {"onnx": "ONNX model", "tensorflow": "SavedModel"}
_ROWS_SHOWN = 10
_CHARACTERS_SHOWN = 60


@dataclass(frozen=True)
class Evaluated:
    """What the trained model answered before it was exported.

    Args:
        texts: what it was asked about.
        probabilities: float32[n, classes].
        chosen: bool[n, classes], the classes that it predicted.
        tied: bool[n, classes], the ones that rounding may choose or not.
    """

    texts: list[str]
    probabilities: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    tied: NDArray[np.bool_]

    @classmethod
    def of(cls, texts: list[str], probabilities: NDArray[np.float32], task: Task) -> Self:
        """The answers that follow from probabilities.

        Args:
            texts: n texts.
            probabilities: float32[n, classes].
            task: `multiclass` predicts the most probable class, `multilabel` each that is probable enough.

        Returns:
            Probabilities, decisions and ties.
        """
        if task == "multilabel":
            return cls(texts, probabilities, probabilities >= DECISION, np.abs(probabilities - DECISION) < TIE)
        second_best, best = np.sort(probabilities, axis=1)[:, -2:].T[:, :, None]
        chosen = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
        return cls(texts, probabilities, chosen, (best - second_best <= TIE) & (probabilities >= second_best))


@dataclass(frozen=True)
class Proof:
    """How an exported file answered: `ties` counts the texts whose labels differ, all of them where it was a tie."""

    rows: int
    ties: int
    largest_difference: float


def read_evaluated(classifier: Path, rows: Path, task: Task) -> Evaluated:
    """Put the trained model's answers beside the texts of the test split.

    Args:
        classifier: folder of the classifier artifact.
        rows: folder of the rows artifact.
        task: what its logits mean.

    Returns:
        Every text of the test split with the answer that it got.

    Raises:
        CorruptArtifact: the two are not about the same texts.
    """
    test = pl.read_parquet(rows / "test.parquet", columns=["key", "text"])
    file = classifier / "answers" / "test.parquet"
    answers = pl.read_parquet(file, columns=["key", "logits"])
    joined = test.join(answers, on="key", how="inner", maintain_order="left")
    if not joined.height == test.height == answers.height:
        raise CorruptArtifact(
            f"of {test.height} test rows, {joined.height} are among the {answers.height} that were evaluated",
            where=str(file),
            remedy="run again with --refresh retrain",
        )
    logits = np.array(joined["logits"].to_list(), np.float32)
    return Evaluated.of(joined["text"].to_list(), _PROBABILITIES[task](logits), task)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    from scipy.special import expit

    return np.asarray(expit(logits))


_PROBABILITIES: dict[Task, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "multiclass": _softmax,
    "multilabel": _sigmoid,
}


def prove(folder: Path, engine: Engine, labels: list[str], evaluated: Evaluated, say: Say, timeout: float) -> Proof:
    """Let an exported file answer the test split in a fresh process, and compare.

    A label may differ only where it was a tie when the model was evaluated.

    Args:
        folder: the release's folder.
        engine: which of its files answers.
        labels: the classes in order.
        evaluated: the answers to compare with.
        say: takes a line about the result.
        timeout: seconds after which the process is given up.

    Returns:
        How the file answered.

    Raises:
        ExportFailed: the file does not load, or answers otherwise; the message shows the first rows that differ.
        WorkerDied: the process was killed, or took too long.
        UnexpectedFailure: a bug in TensorFlow or here.
    """
    asked: list[Text] = [split_pair(text) or text for text in evaluated.texts]
    answered, probabilities = _answers(folder, engine, labels, asked, timeout)
    distance = np.abs(probabilities - evaluated.probabilities).max(axis=1, initial=0.0)
    differs = answered != evaluated.chosen
    # Written so that a probability that is not a number counts as wrong.
    wrong = (differs & ~evaluated.tied).any(axis=1) | ~(distance <= PROBABILITY_TOLERANCE)
    if wrong.any():
        raise ExportFailed(
            f"the {_NAMES[engine]} answers {wrong.sum()} of {len(wrong)} test texts otherwise than the model that was "
            f"evaluated:\n{_table(np.flatnonzero(wrong), labels, evaluated, answered, probabilities)}",
            where=f"proof of the export in {engine}",
            remedy="nothing was published; report this, with the recipe",
        )
    proof = Proof(
        rows=len(wrong), ties=int(differs.any(axis=1).sum()), largest_difference=float(distance.max(initial=0.0))
    )
    ties = f", {proof.ties} of them between tied classes" if proof.ties else ""
    say(
        f"{_NAMES[engine]} proven: all {proof.rows} test texts answered as evaluated{ties} "
        f"(probabilities within {proof.largest_difference:.0e})"
    )
    return proof


def _answers(
    folder: Path, engine: Engine, labels: list[str], texts: list[Text], timeout: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    if engine == "tensorflow":
        request = {"folder": str(folder), "texts": texts}
        module = "tasks.publish.answer"
        found = run_in_fresh_process(module, request, lambda line: None, timeout_seconds=timeout)
        answers: list[dict[str, Any]] = found["answers"]
    else:
        module = "hubtune.inference"
        answers = _answers_of_onnx(folder, texts, timeout)
    if len(answers) != len(texts) or any(list(answer["probabilities"]) != labels for answer in answers):
        raise ExportFailed(
            f"the {_NAMES[engine]} gave {len(answers)} answers to {len(texts)} texts, or names other classes",
            where=f"python -m {module}",
            remedy="nothing was published; report this, with the recipe",
        )
    said = [answer["labels"] if "labels" in answer else [answer["label"]] for answer in answers]
    chosen = [[label in names for label in labels] for names in said]
    rows = [list(answer["probabilities"].values()) for answer in answers]
    shape = (len(texts), len(labels))
    return np.array(chosen, np.bool_).reshape(shape), np.array(rows, np.float32).reshape(shape)


def _answers_of_onnx(folder: Path, texts: list[Text], timeout: float) -> list[dict[str, Any]]:
    """From a process that starts as a service does, so that it also proves that TensorFlow is not needed."""
    command = [sys.executable, "-P", "-m", "hubtune.inference", str(folder), "--engine", "onnx"]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    try:
        ended = subprocess.run(
            command,
            input=lines,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorkerDied(
            f"the ONNX model had not answered {len(texts)} texts after {timeout:.0f} s",
            where="python -m hubtune.inference",
            remedy="run again, on a machine with less other work",
        ) from None
    last_words = ended.stderr.strip()[-2000:]
    if ended.returncode < 0:
        raise WorkerDied(
            f"the process that proves the ONNX model was killed by signal {-ended.returncode}\n{last_words}",
            where="python -m hubtune.inference",
            remedy="most often memory ran out: give the worker more, then run again",
        )
    if ended.returncode:
        raise ExportFailed(
            f"the ONNX model does not answer in a fresh process:\n{last_words}",
            where="python -m hubtune.inference",
            remedy="nothing was published; report this, with the recipe",
        )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def beginning(text: str) -> str:
    """What tells a text from others in a table.

    Args:
        text: as it was classified; a pair as one text.

    Returns:
        At most some 60 characters; of a pair something of both texts.
    """
    parts = split_pair(text) or (text,)
    room = _CHARACTERS_SHOWN // len(parts)
    return BETWEEN.join(part[: room - 3] + "..." if len(part) > room else part for part in parts)


def _table(
    rows: NDArray[np.intp],
    labels: list[str],
    evaluated: Evaluated,
    answered: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
) -> str:
    def answer(chosen: NDArray[np.bool_], row: NDArray[np.float32]) -> str:
        return ", ".join(f"{labels[label]} {row[label]:.4f}" for label in np.flatnonzero(chosen)) or "none"

    lines = [("text", "evaluated", "exported")]
    for row in rows[:_ROWS_SHOWN]:
        before = answer(evaluated.chosen[row], evaluated.probabilities[row])
        lines.append((beginning(evaluated.texts[row]), before, answer(answered[row], probabilities[row])))
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    table = [f"  {text:<{widths[0]}}  {before:<{widths[1]}}  {after}" for text, before, after in lines]
    left = len(rows) - _ROWS_SHOWN
    return "\n".join(table + ([f"  ... and {left} more"] if left > 0 else []))
