"""The recipe that hubtune grew out of: strings into a frozen hub layer, computed again in every epoch.

    python -m benchmarks.peers.seed_recipe MODEL TEXTS

Runs in hubtune's own environment. MODEL is a `model` artifact's folder (preprocessor/ and encoder/), TEXTS one with
train.csv, validation.csv and test.csv (two classes). As in course notebooks on TF Hub text classification: the texts
go through `hub.KerasLayer(trainable=False)` at the preprocessor's fixed length of 128, the head is 256-64-1 with ReLU
and a sigmoid, Adam with 1e-4 minimises binary cross-entropy in batches of 32, and validation runs after each epoch. A
few epochs are measured and scaled to ten. Prints one JSON line.
"""

import argparse
import json
import os
import statistics
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.peers.report import cores, peak_mb, read_texts, scores, versions

EPOCHS = 10


def main() -> None:
    """Train, and print the figures."""
    parser = argparse.ArgumentParser(description="String into a frozen hub layer, recomputed every epoch.")
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--epochs", type=int, default=2, help=f"epochs to measure; scaled to {EPOCHS}")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        report = train(arguments.model, arguments.texts, arguments.epochs, arguments.seed)
    print(json.dumps(report))


def train(model_folder: Path, folder: Path, epochs: int, seed: int) -> dict[str, Any]:
    """Train on the training split, watch validation, predict the test split.

    Args:
        model_folder: the hub model.
        folder: the texts.
        epochs: how many are measured.
        seed: of the head.

    Returns:
        The figures. `total_seconds` is that of ten epochs and of predicting the test split: the first epoch (which
        traces the graph) as it was, the others with the median of those that were measured.
    """
    asked = time.perf_counter()
    # The same kernels as hubtune's.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import numpy as np
    import tensorflow as tf
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401  (the preprocessor's ops)

    imported = time.perf_counter()
    tf.keras.utils.set_random_seed(seed)
    text = tf.keras.layers.Input(shape=(), dtype=tf.string)
    tokens = hub.KerasLayer(str(model_folder / "preprocessor"))(text)
    outputs = hub.KerasLayer(str(model_folder / "encoder"), trainable=False)(tokens)
    # The mean over tokens, for which these weights were trained; the pooled output of BERT would cost the same.
    share = tf.cast(tokens["input_mask"], tf.float32)[:, :, None]
    x = tf.reduce_sum(outputs["sequence_output"] * share, 1) / tf.reduce_sum(share, 1)
    for width in (256, 64):
        x = tf.keras.layers.Dense(width, activation="relu")(x)
    model = tf.keras.Model(text, tf.keras.layers.Dense(1, activation="sigmoid")(x))
    model.compile(tf.keras.optimizers.Adam(1e-4), "binary_crossentropy", [tf.keras.metrics.BinaryAccuracy()])
    loaded = time.perf_counter()

    splits = {split: read_texts(folder, split) for split in ("train", "validation", "test")}
    data = {split: (tf.constant(texts), np.array(labels)) for split, (texts, labels) in splits.items()}
    times = [time.perf_counter()]
    timer = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))
    history = model.fit(
        *data["train"], batch_size=32, epochs=epochs, validation_data=data["validation"], callbacks=[timer], verbose=0
    )
    trained = time.perf_counter()
    test = model.predict(data["test"][0], batch_size=32, verbose=0)
    predicted = time.perf_counter()
    validation = model.predict(data["validation"][0], batch_size=32, verbose=0)
    epoch_seconds = np.diff(times).tolist()
    later = statistics.median(epoch_seconds[1:] or epoch_seconds)
    return {
        "program": "hub layer, frozen, recomputed",
        "rows": len(splits["train"][0]),
        "epochs_measured": epochs,
        "epoch_seconds": epoch_seconds,
        "test_seconds": predicted - trained,
        "total_seconds": epoch_seconds[0] + (EPOCHS - 1) * later + predicted - trained,
        "examples_per_second": len(splits["train"][0]) / later,
        "import_seconds": imported - asked,
        "load_seconds": loaded - imported,
        "start_up_seconds": loaded - asked,
        "peak_mb": peak_mb(),
        "losses": history.history["loss"],
        **scores(_two(test), splits["test"][1], _two(validation), splits["validation"][1]),
        "threads": cores(),
        "versions": versions("tensorflow", "tensorflow-hub", "tensorflow-text", "tf-keras"),
    }


def _two(probabilities: Any) -> Any:
    """Logits of both classes from the second one's probability."""
    import numpy as np

    second = np.clip(np.asarray(probabilities, np.float64).reshape(-1), 1e-12, 1 - 1e-12)
    return np.stack([np.log(1 - second), np.log(second)], 1)


if __name__ == "__main__":
    main()
