"""What every program of the side-by-side benchmarks reports, computed by the same code for hubtune and its peers.

Runs in hubtune's environment and in the peers'.
"""

import csv
import os
import platform
import resource
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

SPLITS = ("train", "validation", "test")


def read_texts(folder: Path, split: str) -> tuple[list[str], list[int]]:
    """One split of the texts that both sides read.

    Args:
        folder: holds `train.csv`, `validation.csv` and `test.csv` with the columns `text` and `label` (class index).
        split: which one.

    Returns:
        Texts and classes.
    """
    with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [int(row["label"]) for row in rows]


def rate(examples: int, epoch_seconds: Sequence[float]) -> float:
    """Examples per second while training.

    The first epoch is left out where there are others: in TensorFlow it holds the first run of each graph (in the seed
    recipe the tracing too), in torch the first allocations.

    Args:
        examples: examples in an epoch.
        epoch_seconds: seconds of each epoch, without validation.

    Returns:
        Examples per second in the median of the epochs.
    """
    return examples / statistics.median(epoch_seconds[1:] or epoch_seconds)


def scores(
    test_logits: Any, test_labels: Sequence[int], validation_logits: Any, validation_labels: Sequence[int]
) -> dict[str, float]:
    """How good predictions are.

    Args:
        test_logits: float[n, classes].
        test_labels: n class indices.
        validation_logits: float[m, classes]; here the threshold is chosen.
        validation_labels: m class indices.

    Returns:
        `accuracy`, `macro_f1`, and for two classes `rarer_f1`: F1 of the class that is rarer in validation, predicted
        where its probability reaches the `threshold` that has the highest F1 on validation.
    """
    import numpy as np
    from scipy.special import softmax
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_curve

    predicted = np.argmax(test_logits, axis=1)
    figures = {
        "accuracy": float(accuracy_score(test_labels, predicted)),
        "macro_f1": float(f1_score(test_labels, predicted, average="macro")),
    }
    counts = np.bincount(validation_labels)
    if np.shape(test_logits)[1] != 2 or len(counts) != 2:
        return figures
    rarer = int(np.argmin(counts))
    known = softmax(np.asarray(validation_logits, np.float64), axis=1)[:, rarer]
    precision, recall, thresholds = precision_recall_curve(np.asarray(validation_labels) == rarer, known)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    threshold = float(thresholds[int(np.argmax(f1[:-1]))])  # the last point has no threshold
    chosen = softmax(np.asarray(test_logits, np.float64), axis=1)[:, rarer] >= threshold
    figures["rarer_f1"] = float(f1_score(np.asarray(test_labels) == rarer, chosen))
    figures["threshold"] = threshold
    return figures


def shapes_summary(shapes: Sequence[tuple[int, int]]) -> dict[str, int]:
    """What decides the work of an epoch or more: the shapes of its batches.

    Args:
        shapes: (examples, padded length) of each batch.

    Returns:
        `batches`; `padded_tokens`, padding included; `padded_pairs`, tokens times the length they attend to.
    """
    return {
        "batches": len(shapes),
        "padded_tokens": sum(rows * length for rows, length in shapes),
        "padded_pairs": sum(rows * length * length for rows, length in shapes),
    }


def peak_mb() -> float:
    """The most memory that this process held at a time, MB."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of packages."""
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}
