"""Quality and time of the example recipes, as whole runs of the `hubtune` command.

    python benchmarks/quality.py DATA_FOLDER [RECIPE ...] [--mode MODE ...]

DATA_FOLDER holds a folder for each data set with train.csv, validation.csv and test.csv. Each run has a store of its
own, so that nothing is cached but the pretrained model. Prints a Markdown table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "examples" / "recipes"
FOLDERS = {
    "trec6": "trec6",
    "sst2": "sst2",
    "quora-insincere": "quora_insincere",
    "tweeteval-sentiment": "tweeteval_sentiment",
}


def main() -> None:
    """Run every recipe in every mode and print a row for each."""
    parser = argparse.ArgumentParser(description="Quality and time of the example recipes.")
    parser.add_argument("data", type=Path)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(FOLDERS)}; default: all")
    parser.add_argument("--mode", action="append", choices=["feature_extraction", "fine_tuning"])
    arguments = parser.parse_args()
    for recipe in arguments.recipes:
        if recipe not in FOLDERS:
            parser.error(f"there is no recipe {recipe!r}; choose from {', '.join(FOLDERS)}")
    print("| recipe | mode | test rows | accuracy | macro-F1 | embed (s) | train (s) | run (s) | load |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for mode in arguments.mode or ["feature_extraction", "fine_tuning"]:
        for recipe in arguments.recipes or FOLDERS:
            print(_row(recipe, mode, (arguments.data / FOLDERS[recipe]).resolve()), flush=True)


def _row(recipe: str, mode: str, data: Path) -> str:
    files = [f"data.{split}={data / f'{split}.csv'}" for split in ("train", "validation", "test")]
    settings = [part for setting in [*files, f"train.mode={mode}"] for part in ("--set", setting)]
    command = [str(Path(sys.executable).parent / "hubtune"), "retrain", str(RECIPES / f"{recipe}.yaml"), "--json"]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as store:
        run = subprocess.run(
            [*command, *settings],
            env=os.environ | {"HUBTUNE_STORE": store},
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode:
        sys.exit(run.stderr)
    report = json.loads(run.stdout)
    test = report["metrics"]["test"]
    seconds = {task["name"]: task["seconds"] for task in report["tasks"]}
    times = [seconds.get("Embed texts", 0), seconds["Train classifier"], report["seconds"]]
    figures = [
        f"{test['rows']:,}",
        f"{test['accuracy']:.4f}",
        f"{test['macro_f1']:.4f}",
        *(f"{time:.0f}" for time in times),
    ]
    return " | ".join(["", recipe, mode, *figures, f"{load:.1f}", ""]).strip()


if __name__ == "__main__":
    main()
