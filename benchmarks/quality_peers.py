"""Quality of fine-tuning beside Trainer: the same weights, rows and hyperparameters, means over seeds.

    python -m benchmarks.quality_peers DATA --peers PEERS/bin/python [--datasets trec6 sst2] [--seeds 42 43 44]

DATA holds a folder for each data set with train.csv, validation.csv, test.csv and labels.json; the whole training file
is used. hubtune runs at its defaults for `train.mode: fine_tuning` and keeps the epoch with the best macro-F1 on
validation; so does Trainer, unless `--keep last` is given. Prints a Markdown table.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.alternate import Run, alternate, run
from benchmarks.prepare import MAX_LENGTH, prepare
from schemas.train_recipe import TrainRecipe

DATASETS = ("trec6", "sst2", "quora_insincere")
FIELDS = {"accuracy": "accuracy", "macro-F1": "macro_f1", "F1 of the rarer class": "rarer_f1"}
# Hyperparameters that Trainer is given as hubtune's recipe has them.
_SHARED = ("epochs", "batch_size", "learning_rate", "warmup_fraction", "weight_decay", "dropout", "precision")


def main() -> None:
    """Train both sides in turns, once for each seed, and print their means and deviations."""
    parser = argparse.ArgumentParser(description="Quality of fine-tuning beside Hugging Face Trainer.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", type=Path, required=True, help="the Python of the peers' environment")
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 43, 44])
    parser.add_argument("--recipe", type=json.loads, default={}, help="what is not at its default on both sides, JSON")
    parser.add_argument("--keep", choices=["best", "last"], default="best", help="which epoch of Trainer is scored")
    parser.add_argument("--rows", type=int, help="so many training rows instead of the whole file")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "hubtune-benchmarks")
    parser.add_argument("--json", type=Path, help="file for all runs")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[Run]]] = {}
    print(f"| data set | side | {' | '.join(FIELDS)} | train (s) |")
    print(f"| --- | --- | {' | '.join('---:' for _ in FIELDS)} | ---: |")
    for dataset in arguments.datasets:
        found[dataset] = _both(dataset, arguments)
        for side, runs in found[dataset].items():
            print(_row(dataset, side, runs))
        print(_difference(dataset, *found[dataset].values()), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _both(dataset: str, arguments: argparse.Namespace) -> dict[str, list[Run]]:
    from tasks.download_model.starter import package_folder
    from tasks.retrain.plan import with_learning_rate

    prepared = prepare(arguments.work, arguments.data / dataset, arguments.rows)
    recipe = {"mode": "fine_tuning", "precision": "float32"} | arguments.recipe
    section = TrainRecipe.model_validate(recipe | {"max_length": MAX_LENGTH})
    complete = with_learning_rate(prepared.facts, section).model_dump()
    flags = [f"--{name.replace('_', '-')}={complete[name]}" for name in _SHARED]

    def hubtune(repeat: int) -> Run:
        seeded = json.dumps(recipe | {"seed": arguments.seeds[repeat]})
        return run(sys.executable, "benchmarks.hubtune_side", "train", str(prepared.folder), "--recipe", seeded)

    def trainer(repeat: int) -> Run:
        more = [f"--keep={arguments.keep}", f"--seed={arguments.seeds[repeat]}"]
        where = [str(package_folder()), str(prepared.texts)]
        return run(str(arguments.peers.absolute()), "benchmarks.peers.hf_trainer", *where, *flags, *more)

    return alternate({"hubtune": hubtune, "Trainer": trainer}, len(arguments.seeds))


def _row(dataset: str, side: str, runs: list[Run]) -> str:
    cells = []
    for field in FIELDS.values():
        values = [run[field] for run in runs if field in run]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        cells.append(f"{statistics.fmean(values):.4f} ± {deviation:.4f}" if values else "")
    seconds = statistics.median(run["total_seconds"] for run in runs)
    return f"| {dataset} | {side} | {' | '.join(cells)} | {seconds:.0f} |"


def _difference(dataset: str, ours: list[Run], theirs: list[Run]) -> str:
    """How many points hubtune's means lie above Trainer's."""
    cells = []
    for field in FIELDS.values():
        means = [statistics.fmean(run[field] for run in runs) if field in runs[0] else None for runs in (ours, theirs)]
        cells.append(f"{100 * (means[0] - means[1]):+.2f}" if means[0] is not None and means[1] is not None else "")
    return f"| {dataset} | difference in points | {' | '.join(cells)} | |"


if __name__ == "__main__":
    main()
