"""Speed of block 4 side by side with its peers: in turns, on one machine, on the same rows.

    python -m benchmarks.speed DATA/quora_insincere --peers PEERS/bin/python [--only NAME ...]

How the peers' environment is made says benchmarks/peers/README.md. Prints Markdown tables, progress on stderr; `--json`
keeps every run. Without `--only`, all measurements are taken, which takes hours.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from benchmarks.alternate import Row, Run, alternate, compare, run, table_of_rows, table_of_runs
from benchmarks.flops import training_flops
from benchmarks.prepare import Prepared, prepare
from schemas.train_recipe import MEANT_FOR

SEED = 42
# What both sides of a comparison with Trainer train with: the same algorithm, in the same precision. These are
# hubtune's defaults for the starter, and so is the rest.
SETTINGS: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 1e-4,
    "warmup_fraction": 0.1,
    "weight_decay": 0.01,
    "dropout": 0.1,
}
FINE_TUNING = SETTINGS | {
    "mode": "fine_tuning",
    "hidden": [],
    "gradual_unfreezing": False,
    "layer_decay": 1.0,
    "early_stopping_patience": None,
}
# Of the seed recipe, and of hubtune's run beside it.
SEED_RECIPE_EPOCHS = 10
# What may reach the peer's quality sooner; others with --candidate.
CANDIDATES: list[dict[str, Any]] = [
    {"mode": "fine_tuning", "epochs": 1},
    {"mode": "fine_tuning", "epochs": 2},
    {"mode": "fine_tuning", "epochs": 2, "gradual_unfreezing": True},
    {"mode": "partial", "freeze_layers": "embeddings", "epochs": 2},
    {"mode": "partial", "freeze_layers": 4, "epochs": 3},
    {"mode": "partial", "freeze_layers": 3, "epochs": 2, "learning_rate": 2e-4},
]


class Bench:
    """The measurements. Each returns its rows, and leaves its runs in `runs`, by side.

    Args:
        arguments: of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        from tasks.download_model.starter import package_folder

        self._arguments, self._weights = arguments, str(package_folder())
        self._precision = {"precision": arguments.precision}
        self.runs: dict[str, list[Run]] = {}

    def trainer(self) -> list[Row]:
        """Fine-tuning beside Trainer with dynamic padding and batches of similar length."""
        ours, theirs = self._beside_trainer
        return [
            _rates("fine_tuning, Trainer with exact padding (examples/s)", ours, theirs, "1.2"),
            compare("peak memory (MB)", *_figures("peak_mb", ours, theirs), "1", less_is_better=True),
            compare("start-up (s)", *_figures("start_up_seconds", ours, theirs), "", less_is_better=True),
        ]

    def trainer_max_length(self) -> list[Row]:
        """Fine-tuning beside Trainer with every text padded to 128 tokens."""
        prepared, epochs = self._part, min(2, self._arguments.epochs)
        ours, theirs = self._turns(
            {
                f"hubtune fine_tuning, {epochs} epochs": lambda n: self._train(prepared, self._fine_tuning(epochs), n),
                "Trainer, max_length": lambda n: self._trainer(prepared, "max_length", epochs, n),
            }
        )
        return [_rates("fine_tuning, Trainer padding to 128 (examples/s)", ours, theirs, "6")]

    def seed_recipe(self) -> list[Row]:
        """Feature extraction beside strings into a frozen hub layer, ten epochs each."""
        prepared = self._part
        recipe = {"mode": "feature_extraction", "epochs": SEED_RECIPE_EPOCHS, "early_stopping_patience": None}
        ours, theirs = self._turns(
            {
                "hubtune feature_extraction": lambda n: self._train(prepared, recipe, n),
                "seed recipe": lambda n: run(
                    sys.executable,
                    "benchmarks.peers.seed_recipe",
                    str(prepared.model),
                    str(prepared.texts),
                    f"--seed={SEED + n}",
                ),
            }
        )
        totals = _figures("total_seconds", ours, theirs)
        starts = _figures("start_up_seconds", ours, theirs)
        whole = [[sum(both) for both in zip(*side, strict=True)] for side in zip(totals, starts, strict=True)]
        return [
            compare("feature_extraction, seed recipe (s)", *totals, "40", less_is_better=True),
            compare("the same with start-up (s)", whole[0], whole[1], "", less_is_better=True),
        ]

    def encode(self) -> list[Row]:
        """Embedding beside sentence-transformers, on the whole data set."""
        prepared = self._whole
        ours, theirs = self._turns(
            {
                "hubtune embed": lambda n: self._hubtune("embed", str(prepared.folder)),
                "sentence-transformers": lambda n: self._peer(
                    "sentence_transformers_encode", self._weights, str(prepared.texts)
                ),
            }
        )
        return [_rates("embedding, encode (texts/s)", ours, theirs, "1.2")]

    def rerun(self) -> list[Row]:
        """Feature extraction again with 5 % new training rows: what it costs as a share of the first."""
        prepared = self._whole
        recipe = json.dumps({"mode": "feature_extraction", "seed": SEED})
        (runs,) = self._turns(
            {"hubtune rerun": lambda n: self._hubtune("rerun", str(prepared.folder), "--recipe", recipe)}
        )
        parts: dict[str, Callable[[Run], float]] = {
            "tokenising and embedding": lambda each: each["total_seconds"],
            "the same with start-up": lambda each: each["total_seconds"] + each["start_up_seconds"],
            "processes as a whole, with the head": lambda each: each["process_seconds"],
        }
        return [
            compare(
                f"rerun with 5 % new rows, share of the first: {name} (s)",
                [of(each["rerun"]) for each in runs],
                [of(each["first"]) for each in runs],
                "below 0.1" if name == "tokenising and embedding" else "",
            )
            for name, of in parts.items()
        ]

    def partial(self) -> list[Row]:
        """Embeddings and 4 of 6 layers frozen, computed in every epoch or once, beside full fine-tuning."""
        recipe = {"mode": "partial", "freeze_layers": 4}
        again, once, full = self._beside_full(
            {
                "hubtune partial": recipe | {"keep_hidden_states": False},
                "hubtune partial, frozen layers computed once": recipe | {"keep_hidden_states": True},
            }
        )
        epochs = len(full[0]["epoch_seconds"])

        def seconds(runs: list[Run]) -> list[float]:
            steps = [epochs * each["rows"] / each["examples_per_second"] for each in runs]
            return [each["frozen_seconds"] + spent for each, spent in zip(runs, steps, strict=True)]

        kept = "partial, frozen layers computed once, full fine-tuning"
        return [
            _rates("partial, full fine-tuning (examples/s)", again, full, "2.0"),
            _rates(f"{kept} (examples/s)", once, full, "3"),
            # What is computed once is so for the texts of all splits, and costs the more the fewer the epochs.
            compare(f"{kept}: {epochs} epochs (s)", seconds(once), seconds(full), "3", less_is_better=True),
        ]

    def layer_extraction(self) -> list[Row]:
        """The lower 3 of 6 layers alone, all of them trained or all but the embeddings, beside full fine-tuning."""
        recipe = {"mode": "layer_extraction", "layers": [3]}
        frozen = {"freeze_layers": "embeddings", "keep_hidden_states": False}
        part, above, full = self._beside_full(
            {"hubtune layer_extraction": recipe, "hubtune layer_extraction, embeddings frozen": recipe | frozen}
        )
        figures = _figures("forward_examples_per_second", part, full)
        return [
            _rates("layer_extraction, full fine-tuning (examples/s)", part, full, "1.9"),
            _rates("layer_extraction with frozen embeddings, full fine-tuning (examples/s)", above, full, "1.9"),
            compare("layer_extraction, forward pass (examples/s)", *figures, "1.9"),
        ]

    def lanes(self) -> list[Row]:
        """Steps of full fine-tuning with a batch in two lanes, beside steps with the batch in one piece."""

        def steps(lanes: int) -> Callable[[int], Run]:
            settings = ["--lanes", str(lanes)]
            return lambda n: run(
                sys.executable, "benchmarks.steps", str(self._part.folder), *settings, "--seed", str(SEED + n)
            )

        two, one = self._turns({"two lanes": steps(2), "one piece": steps(1)})
        return [_rates("fine_tuning, two lanes, one piece (examples/s)", two, one, "")]

    def peak(self) -> list[Row]:
        """The share of the machine's matrix-multiply peak that a step of fine-tuning reaches, on both sides."""
        tensorflow, torch = self._turns(
            {
                "TensorFlow matmul": lambda n: self._hubtune("peak"),
                "torch matmul": lambda n: self._peer("matmul_peak"),
            }
        )
        products = _figures("gflops", tensorflow, torch)
        machine = max(map(max, products))
        rows = [compare("matrix product, TensorFlow and torch (GFLOP/s)", *products, "")]
        sides = self._beside_trainer
        for name, peaks, padding in (
            (f"{machine:,.0f} GFLOP/s, padding counted as work", [machine, machine], True),
            (f"{machine:,.0f} GFLOP/s, padding not counted", [machine, machine], False),
            ("its own library's product, padding counted as work", list(map(max, products)), True),
        ):
            shares = [[_share(each, peak, padding) for each in side] for side, peak in zip(sides, peaks, strict=True)]
            rows.append(compare(f"fine_tuning, share of {name}", shares[0], shares[1], ""))
        return rows

    def time_to_quality(self) -> list[Row]:
        """Seconds from the start of the process to the end of training, beside Trainer's with exact padding."""
        _, peer = self._beside_trainer
        theirs = [each["until_trained_seconds"] - each["tokenise_seconds"] for each in peer]
        rows = [_quality("Trainer", peer, theirs, theirs)]
        for candidate in self._arguments.candidate or CANDIDATES:
            precision = self._precision if candidate.get("mode") in MEANT_FOR["precision"] else {}
            recipe = SETTINGS | precision | {"early_stopping_patience": None} | candidate
            name = f"hubtune {json.dumps(candidate)}"
            (runs,) = self._turns({name: partial(self._train, self._part, recipe)})
            rows.append(_quality(name, runs, [each["until_trained_seconds"] for each in runs], theirs))
        return rows

    @cached_property
    def _part(self) -> Prepared:
        return prepare(self._arguments.work, self._arguments.data, self._arguments.rows)

    @cached_property
    def _whole(self) -> Prepared:
        return prepare(self._arguments.work, self._arguments.data, None)

    @cached_property
    def _beside_trainer(self) -> list[list[Run]]:
        prepared, epochs = self._part, self._arguments.epochs
        return self._turns(
            {
                "hubtune fine_tuning": lambda n: self._train(prepared, self._fine_tuning(epochs), n),
                "Trainer, exact": lambda n: self._trainer(prepared, "exact", epochs, n),
            }
        )

    def _beside_full(self, recipes: dict[str, dict[str, Any]]) -> list[list[Run]]:
        prepared, full = self._part, self._fine_tuning(max(2, self._arguments.epochs))
        changes = recipes | {f"hubtune fine_tuning beside {next(iter(recipes.values()))['mode']}": {}}

        def side(change: dict[str, Any]) -> Callable[[int], Run]:
            return lambda repeat: self._train(prepared, full | change, repeat)

        return self._turns({name: side(change) for name, change in changes.items()})

    def _turns(self, sides: dict[str, Callable[[int], Run]]) -> list[list[Run]]:
        runs = alternate(sides, self._arguments.repeats)
        self.runs |= runs
        return [runs[name] for name in sides]

    def _fine_tuning(self, epochs: int) -> dict[str, Any]:
        return FINE_TUNING | self._precision | {"epochs": epochs}

    def _train(self, prepared: Prepared, recipe: dict[str, Any], repeat: int) -> Run:
        seeded = json.dumps(recipe | {"seed": SEED + repeat})
        return self._hubtune("train", str(prepared.folder), "--recipe", seeded)

    def _hubtune(self, *arguments: str) -> Run:
        return run(sys.executable, "benchmarks.hubtune_side", *arguments)

    def _peer(self, program: str, *arguments: str) -> Run:
        # Not resolved: the link in an environment's folder is what makes it that environment's Python.
        return run(str(self._arguments.peers.absolute()), f"benchmarks.peers.{program}", *arguments)

    def _trainer(self, prepared: Prepared, padding: str, epochs: int, repeat: int) -> Run:
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in (SETTINGS | self._precision).items()]
        more = [f"--padding={padding}", f"--epochs={epochs}", f"--seed={SEED + repeat}"]
        return self._peer("hf_trainer", self._weights, str(prepared.texts), *settings, *more)


def _figures(field: str, ours: list[Run], theirs: list[Run]) -> tuple[list[float], list[float]]:
    return [each[field] for each in ours], [each[field] for each in theirs]


def _rates(what: str, ours: list[Run], theirs: list[Run], wanted: str) -> Row:
    return compare(what, *_figures("examples_per_second", ours, theirs), wanted)


def _share(each: Run, peak: float, padding: bool) -> float:
    """The share of the peak in the median epoch."""
    epochs = len(each["epoch_seconds"])
    flops = (
        training_flops(each["padded_tokens"] / epochs, each["padded_pairs"] / epochs)
        if padding
        else training_flops(each["tokens"], each["pairs"])
    )
    return flops * float(each["examples_per_second"]) / int(each["rows"]) / (peak * 1e9)


def _quality(name: str, runs: list[Run], seconds: list[float], theirs: list[float]) -> Row:
    figures = []
    for field in ("accuracy", "macro_f1", "rarer_f1"):
        values = [each[field] for each in runs if field in each]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            figures.append(f"{field} {statistics.fmean(values):.4f} ± {deviation:.4f}")
    return compare(f"{name}: {', '.join(figures)} (s)", seconds, theirs, "2", less_is_better=True)


MEASUREMENTS: dict[str, Callable[[Bench], list[Row]]] = {
    "trainer": Bench.trainer,
    "trainer_max_length": Bench.trainer_max_length,
    "seed_recipe": Bench.seed_recipe,
    "encode": Bench.encode,
    "rerun": Bench.rerun,
    "partial": Bench.partial,
    "layer_extraction": Bench.layer_extraction,
    "lanes": Bench.lanes,
    "peak": Bench.peak,
    "time_to_quality": Bench.time_to_quality,
}


def main() -> None:
    """Take the measurements and print the tables."""
    parser = argparse.ArgumentParser(
        description="Speed of block 4 side by side with its peers.",
        epilog="; ".join(f"{name}: {(of.__doc__ or '').strip()}" for name, of in MEASUREMENTS.items()),
    )
    parser.add_argument("data", type=Path, help="folder with train.csv, validation.csv, test.csv and labels.json")
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS), metavar="NAME")
    parser.add_argument("--peers", type=Path, required=True, help="the Python of the peers' environment")
    parser.add_argument("--rows", type=int, default=4000, help="training rows, where not the whole file is taken")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="of both sides")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--candidate", type=json.loads, action="append", help="time_to_quality: a train section, JSON")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "hubtune-benchmarks")
    parser.add_argument("--json", type=Path, help="file for all runs and rows")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    rows: list[Row] = []
    for name in arguments.only:
        rows += MEASUREMENTS[name](bench)
        if arguments.json:
            kept = {"rows": [asdict(row) for row in rows], "runs": bench.runs}
            arguments.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(table_of_rows(rows), table_of_runs(bench.runs), sep="\n\n")


if __name__ == "__main__":
    main()
