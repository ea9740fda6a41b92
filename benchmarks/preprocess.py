"""Blocks 2 and 3 at scale, in turns with pandas: read, validate, normalise, deduplicate, split, write.

    python -m benchmarks.preprocess [--rows N ...] [--peers PYTHON] [--repeats N] [--work FOLDER]

Writes CSV files of so many rows (2 % of them dirty), and prints a Markdown table: seconds and peak memory of whole
processes, imports included. PYTHON has pandas, pyarrow and pandera (benchmarks/peers/README.md); without it hubtune is
measured alone.
"""

import argparse
import csv
import random
import re
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.alternate import Run, alternate, run

ROOT = Path(__file__).parents[1]
DIRTY_SHARE = 0.02


def main() -> None:
    """Measure every size on each side."""
    parser = argparse.ArgumentParser(description="Reading and preprocessing at scale.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_300_000])
    parser.add_argument("--peers", help="python of the environment with pandas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    print("| rows | side | read (s) | preprocess (s) | process (s) | peak (MB) | rows kept | others (cores) |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        for rows in arguments.rows:
            file = write_rows(Path(work) / f"{rows}.csv", rows)

            def side(python: str, module: str, file: Path = file) -> Run:
                with tempfile.TemporaryDirectory(dir=work) as folder:
                    return run(python, module, str(file), folder)

            sides = {"hubtune": lambda _: side(sys.executable, "benchmarks.preprocess_side")}
            if arguments.peers:
                sides["pandas"] = lambda _: side(arguments.peers, "benchmarks.peers.pandas_preprocess")
            for name, runs in alternate(sides, arguments.repeats).items():
                print(_row(rows, name, runs), flush=True)
            file.unlink()


def _row(rows: int, name: str, runs: list[Run]) -> str:
    fields = ("read_seconds", "preprocess_seconds", "wall_seconds", "peak_mb")
    middle = [statistics.median(run[field] for run in runs) for field in fields]
    others = max(run["others"] for run in runs)
    read, preprocess, wall, peak = middle
    return (
        f"| {rows:,} | {name} | {read:.1f} | {preprocess:.1f} | {wall:.1f} | {peak:,.0f} "
        f"| {runs[0]['rows_kept']:,} | {others:.2f} |"
    )


def write_rows(file: Path, rows: int) -> Path:
    """Write questions as long as those of Quora (13 words in the mean), one in forty with a character beyond ASCII.

    Args:
        file: the CSV file to write.
        rows: how many; 2 % of them are dirty in one of eight ways.

    Returns:
        The file.
    """
    draw = random.Random(rows)  # noqa: S311  (no secrets)
    with (ROOT / "examples" / "questions.csv").open(encoding="utf-8", errors="replace", newline="") as source:
        words = sorted({word for row in csv.reader(source) for word in re.findall(r"[A-Za-z',-]{2,12}", row[0])})
    beyond = ["café", "naïve", "“why”", "don’t", "Müller", "東京", "…", "½"]
    with file.open("w", encoding="utf-8", newline="", errors="surrogateescape") as target:
        writer = csv.writer(target)
        writer.writerow(("text", "label"))
        last = "Why?"
        for number in range(rows):
            chosen = draw.choices(words, k=4 + int(draw.expovariate(1 / 9)) % 50)
            if number % 40 == 0:
                chosen[-1] = draw.choice(beyond)
            text, label = f"{' '.join(chosen)} {number}?", "1" if draw.random() < 0.06 else "0"
            if draw.random() < DIRTY_SHARE:
                text, label = draw.choice(
                    [
                        ("", label), ("  \u00a0", label), (f"{text} caf\udce9", label), (text, "2"), (text, ""),
                        (last, label), (last, "0"), (f" {text}\u200b\n", label),
                    ]
                )  # fmt: skip
            writer.writerow((text, label))
            last = text
    return file


if __name__ == "__main__":
    main()
