"""hubtune's side of the side-by-side benchmarks: the product's own code, one measurement in a process of its own.

    python -m benchmarks.hubtune_side train PREPARED --recipe '{"mode": "fine_tuning", "epochs": 2}'
    python -m benchmarks.hubtune_side embed PREPARED
    python -m benchmarks.hubtune_side rerun PREPARED
    python -m benchmarks.hubtune_side peak

PREPARED is a folder that benchmarks/prepare.py made. Embedding and training run as the blocks run them, through
`tasks.retrain.worker`; times are read off the progress lines as they arrive. Prints one JSON line.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.peers.report import cores, rate, scores, shapes_summary, versions
from benchmarks.prepare import MAX_LENGTH, Prepared
from schemas.train_recipe import TrainRecipe

# New training rows of a rerun, as a share of the first run's.
NEW_ROWS = 0.05

# What the blocks say at the end of an epoch and of a forward pass. When the wording changes, it is mended here.
_EPOCH = re.compile(r"epoch (?P<number>\d+)/\d+: .*?(?P<seconds>\d+\.\d+) s(?:,|$)")
_DONE = re.compile(r"(?P<task>[A-Z][a-z ]*): (?P<count>[\d,]+) \w+ done in (?P<seconds>\d+\.\d+) s")


def main() -> None:
    """Measure one thing and print it."""
    parser = argparse.ArgumentParser(description="hubtune's side of the side-by-side benchmarks.")
    parser.add_argument("what", choices=["train", "embed", "rerun", "peak"])
    parser.add_argument("prepared", type=Path, nargs="?")
    parser.add_argument("--recipe", type=json.loads, default={}, help="the train section, as JSON")
    parser.add_argument("--vectors", type=Path, help="embed: where the vectors are kept, as an embeddings artifact")
    arguments = parser.parse_args()
    with redirect_stdout(sys.stderr):
        if arguments.what == "peak":
            report = matmul_peak()
        else:
            prepared = Prepared.read(arguments.prepared)
            recipe = TrainRecipe.model_validate({"max_length": MAX_LENGTH} | arguments.recipe)
            if arguments.what == "train":
                report = train(prepared, recipe)
            elif arguments.what == "embed":
                report = embed(prepared, recipe, arguments.vectors)
            else:
                report = rerun(prepared, recipe)
    print(json.dumps(report))


class Log:
    """Progress lines, and when they arrived, in seconds since the log was made."""

    def __init__(self) -> None:
        self._asked = time.perf_counter()
        self.lines: list[tuple[float, str]] = []

    def say(self, line: str) -> None:
        """Take a line."""
        self.lines.append((self.now(), line))
        print(line, file=sys.stderr, flush=True)

    def now(self) -> float:
        """Seconds since the log was made."""
        return time.perf_counter() - self._asked

    def done(self, task: str, count: int | None = None) -> list[tuple[float, float]]:
        """When each forward pass of this name (and over so many texts) ended, and how long it took."""
        found = [(at, match) for at, line in self.lines if (match := _DONE.match(line)) and match["task"] == task]
        counted = [(at, match) for at, match in found if count in (None, int(match["count"].replace(",", "")))]
        return [(at, float(match["seconds"])) for at, match in counted]

    def epochs(self) -> tuple[float, list[float], float]:
        """When the first epoch began, the seconds of each epoch without validation, and when the last one ended.

        Where a head was trained first, its epochs come before, counted by themselves: they belong to the start-up.
        """
        ends: list[tuple[float, float]] = []
        for at, line in self.lines:
            if match := _EPOCH.match(line):
                ends = [*([] if match["number"] == "1" else ends), (at, float(match["seconds"]))]
        if not ends:
            sys.exit("no line at the end of an epoch was recognised: mend _EPOCH in benchmarks/hubtune_side.py")
        began = ends[0][0] - ends[0][1]
        starts = [began, *(at for at, _ in ends[:-1])]
        validations = self.done("Validation")
        training = [
            end - start - sum(seconds for at, seconds in validations if start < at <= end)
            for start, (end, _) in zip(starts, ends, strict=True)
        ]
        return began, training, ends[-1][0]


def train(prepared: Prepared, recipe: TrainRecipe) -> dict[str, Any]:
    """Train and evaluate.

    Args:
        prepared: model and data.
        recipe: how to train. In feature extraction, tokenising and embedding belong to what is measured.

    Returns:
        The figures. `start_up_seconds` is what passes before the first epoch (imports, loading, building, tracing);
        `frozen_seconds`, where frozen layers are computed once, is that of the training rows; `until_trained_seconds`
        holds everything from the start of the process that trains to the end of the last epoch.
    """
    before: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        embeddings: list[Path] = []
        if recipe.mode == "feature_extraction":
            tokens, vectors = Path(scratch, "tokens"), Path(scratch, "embeddings")
            before = _embed(prepared, prepared.rows, recipe, [], tokens, vectors)
            embeddings = [vectors]
        classifier = Path(scratch, "classifier")
        classifier.mkdir()
        log = Log()
        _train(prepared, prepared.rows, prepared.tokens, embeddings, recipe, classifier, log)
        ended = log.now()
        began, epoch_seconds, trained = log.epochs()
        results = _results(classifier)
    rows = _lengths(prepared, "train")
    start_up = began + before.get("start_up_seconds", 0.0)
    return {
        "program": f"hubtune {recipe.mode}",
        "recipe": recipe.model_dump(),
        "rows": len(rows),
        "tokens": int(rows.sum()),
        "pairs": int((rows**2).sum()),
        **_shapes(rows, recipe, len(epoch_seconds)),
        "epoch_seconds": epoch_seconds,
        "total_seconds": trained - began + before.get("total_seconds", 0.0),
        "examples_per_second": rate(len(rows), epoch_seconds),
        **{name: value for name, value in before.items() if name in ("tokenise_seconds", "embed_seconds")},
        "frozen_seconds": sum(seconds for _, seconds in log.done("Frozen layers", len(rows))[:1]),
        "forward_examples_per_second": _forward_rate(log, prepared),
        "start_up_seconds": start_up,
        "until_trained_seconds": trained + before.get("process_seconds", 0.0),
        "process_seconds": ended + before.get("process_seconds", 0.0),
        **results,
        **_machine(),
    }


def embed(prepared: Prepared, recipe: TrainRecipe, keep: Path | None) -> dict[str, Any]:
    """Tokenise and embed all texts.

    Args:
        prepared: model and data.
        recipe: pooling.
        keep: where the content of the embeddings artifact is written.

    Returns:
        The figures. `seconds` counts tokenising and the forward passes, with the tracing of their graph.
    """
    with tempfile.TemporaryDirectory() as scratch:
        times = _embed(prepared, prepared.rows, recipe, [], Path(scratch, "tokens"), keep or Path(scratch, "vectors"))
    return {
        "program": "hubtune embed",
        "texts": int(times["texts"]),
        "seconds": times["total_seconds"],
        "examples_per_second": times["texts"] / times["total_seconds"],
        **times,
        **_machine(),
    }


def rerun(prepared: Prepared, recipe: TrainRecipe) -> dict[str, Any]:
    """Feature extraction, and again with some new training rows: embeddings of the first run are known by then.

    Args:
        prepared: model and data.
        recipe: feature extraction.

    Returns:
        The figures of both runs, each with the seconds of tokenising, embedding and training the head.
    """
    import polars as pl

    runs: list[dict[str, Any]] = []
    known: list[Path] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, share in (("first", 1 / (1 + NEW_ROWS)), ("rerun", 1.0)):
            rows, tokens, vectors = (Path(scratch, name, kind) for kind in ("rows", "tokens", "embeddings"))
            rows.mkdir(parents=True)
            for path in prepared.rows.iterdir():
                if path.name != "train.parquet":
                    (rows / path.name).symlink_to(path.resolve())
            table = pl.read_parquet(prepared.rows / "train.parquet")
            table.head(round(table.height * share)).write_parquet(rows / "train.parquet")
            run = _embed(prepared, rows, recipe, known, tokens, vectors)
            known = [*known, vectors]
            classifier, log = Path(scratch, name, "classifier"), Log()
            classifier.mkdir()
            _train(prepared, rows, tokens, known, recipe, classifier, log)
            began, _, trained = log.epochs()
            run["head_seconds"] = trained - began
            run["process_seconds"] += log.now()
            runs.append(run | {"rows": round(table.height * share)})
    return {"program": "hubtune rerun", "first": runs[0], "rerun": runs[1], **_machine()}


def matmul_peak() -> dict[str, Any]:
    """The most float32 operations per second that TensorFlow, as block 4 starts it, reaches in a large product."""
    from benchmarks.peers.matmul_peak import REPEATS, SIZE
    from tasks.retrain.tensorflow_setup import start_tensorflow

    tf = start_tensorflow()
    a, b = tf.random.stateless_uniform([SIZE, SIZE], [0, 0]), tf.random.stateless_uniform([SIZE, SIZE], [0, 1])
    multiply = tf.function(lambda a, b: tf.matmul(a, b)[0, 0])  # one number, so that the result is not copied
    multiply(a, b).numpy()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        multiply(a, b).numpy()
        seconds.append(time.perf_counter() - started)
    report = {
        "program": "TensorFlow matmul",
        "size": SIZE,
        "gflops": 2 * SIZE**3 / min(seconds) / 1e9,
        "median_gflops": 2 * SIZE**3 / statistics.median(seconds) / 1e9,
    }
    return report | {"threads": cores(), "versions": versions("tensorflow")}


def _train(
    prepared: Prepared, rows: Path, tokens: Path, embeddings: list[Path], recipe: TrainRecipe, folder: Path, log: Log
) -> None:
    """The one place where the block that trains is called."""
    from tasks.retrain.worker import train as train_in_worker

    # Without checkpoints: the peers save nothing either.
    train_in_worker(prepared.model, prepared.facts, rows, tokens, embeddings, recipe, None, folder, log.say)


def _embed(
    prepared: Prepared, rows: Path, recipe: TrainRecipe, known: list[Path], tokens: Path, vectors: Path
) -> dict[str, float]:
    """Tokenise and embed; the one place where those are called."""
    import polars  # noqa: F401  (so that its import is not counted as tokenising)

    from tasks.retrain.embeddings import Embeddings, distinct_keys, write_keys
    from tasks.retrain.tokenise import tokenise
    from tasks.retrain.worker import embed as embed_in_worker

    tokens.mkdir(parents=True, exist_ok=True)
    vectors.mkdir(parents=True, exist_ok=True)
    log = Log()
    tokenise(prepared.model, rows, MAX_LENGTH, prepared.facts.max_positions, tokens, log.say)
    tokenised = log.now()
    keys = distinct_keys(tokens)
    new = keys[Embeddings(known).unknown(keys)]
    write_keys(vectors, new)
    shard = (0, len(new))
    facts = embed_in_worker(prepared.model, prepared.facts, tokens, vectors, shard, recipe, vectors, log.say)
    ended = log.now()
    found = log.done("Embedding")
    if not found:
        sys.exit("no line at the end of embedding was recognised: mend _DONE in benchmarks/hubtune_side.py")
    at, seconds = found[-1]
    return {
        "texts": float(facts.texts),
        "tokenise_seconds": tokenised,
        "embed_seconds": seconds,
        "total_seconds": tokenised + seconds,
        "start_up_seconds": at - seconds - tokenised,
        "process_seconds": ended,
    }


def _results(classifier: Path) -> dict[str, Any]:
    """Losses and scores, from the content of a `classifier` artifact."""
    import polars as pl

    history = json.loads((classifier / "history.json").read_text(encoding="utf-8"))
    answers = {split: pl.read_parquet(classifier / "answers" / f"{split}.parquet") for split in ("validation", "test")}
    logits = {split: table["logits"].to_list() for split, table in answers.items()}
    labels = {split: table["label"].to_list() for split, table in answers.items()}
    return {
        "losses": [entry["train_loss"] for entry in history],
        "validation": [entry["validation"] for entry in history],
        "best_epoch": next(entry["epoch"] for entry in history if entry["best"]),
        **scores(logits["test"], labels["test"], logits["validation"], labels["validation"]),
    }


def _lengths(prepared: Prepared, split: str) -> Any:
    """Tokens of each text of a split: int64[n]."""
    import numpy as np
    import polars as pl

    table = pl.read_parquet(prepared.tokens / f"{split}.parquet", columns=["ids"])
    return table["ids"].list.len().to_numpy().astype(np.int64)


def _shapes(lengths: Any, recipe: TrainRecipe, epochs: int) -> dict[str, int]:
    """The shapes of the batches that were trained on: drawn again as training draws them."""
    import numpy as np

    from tasks.retrain.batches import training_batches

    shapes = [
        (len(rows), int(lengths[rows].max()))
        for epoch in range(epochs)
        for rows in training_batches(lengths, recipe.batch_size, np.random.default_rng([recipe.seed, epoch]))
    ]
    return shapes_summary(shapes)


def _forward_rate(log: Log, prepared: Prepared) -> float | None:
    """Texts per second of all forward passes over held-out texts but the first; None where none is told."""
    passes = [
        (len(_lengths(prepared, split)), seconds)
        for split, done in (
            ("validation", log.done("Validation")[1:]),
            ("validation", log.done("Answers on validation")),
            ("test", log.done("Answers on test")),
        )
        for _, seconds in done
    ]
    seconds = sum(each for _, each in passes)
    return sum(texts for texts, _ in passes) / seconds if seconds else None


def _machine() -> dict[str, Any]:
    return {
        "threads": cores(),
        "versions": versions("tensorflow", "tokenizers", "numpy"),
    }


if __name__ == "__main__":
    main()
