"""Runs programs one after the other, in turns, and compares medians."""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
Run = dict[str, Any]
# To add up what a process holds stops it for a moment: five samples a second took 6 % of hubtune's speed, and 10 % of
# Trainer's.
_SAMPLE_SECONDS = 1.0


def run(python: str, module: str, *arguments: str) -> Run:
    """Run a program that prints one JSON line.

    Args:
        python: the interpreter of its environment.
        module: what to run.
        arguments: its command line.

    Returns:
        What it printed; `peak_mb`, the most memory that it and the processes below it held at a sample; `load_before`,
        the machine's load average (1 minute) before it started, which holds the end of the run before it; `others`,
        the cores that other processes kept busy meanwhile, in the mean; `wall_seconds`.
    """
    load = os.getloadavg()[0]
    before = time.perf_counter(), _busy_seconds(), _seconds_of_children()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=ROOT,
            # The checkout that holds this file is measured, also by the processes that a program starts.
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        memory = _Memory(process.pid)
        memory.start()
        out, _ = process.communicate()
        memory.join()
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{module} {' '.join(arguments)} failed:\n{errors.read()[-4000:]}")
    wall, busy, own = (
        now - then
        for now, then in zip((time.perf_counter(), _busy_seconds(), _seconds_of_children()), before, strict=True)
    )
    report: Run = json.loads(out.strip().splitlines()[-1])
    report |= {
        "peak_mb": memory.peak_mb,
        "load_before": load,
        "others": max(0.0, busy - own) / wall,
        "wall_seconds": wall,
    }
    rate = f", {report['examples_per_second']:,.1f} examples/s" if "examples_per_second" in report else ""
    print(
        f"{report['program']}: {wall:.0f} s{rate} (load before {load:.1f}, others {report['others']:.2f} cores)",
        file=sys.stderr,
        flush=True,
    )
    return report


class _Memory(threading.Thread):
    """Samples what a process and all below it hold in memory, pages that several of them share counted once (PSS)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.peak_mb = 0.0

    def run(self) -> None:
        """Sample until the process has ended."""
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.NoSuchProcess):
                tree = [self._process, *self._process.children(recursive=True)]
                self.peak_mb = max(self.peak_mb, sum(map(_proportional_mb, tree)))
            time.sleep(_SAMPLE_SECONDS)


def _proportional_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 1e6
    except psutil.NoSuchProcess:  # it has just ended
        return 0.0


def alternate(sides: Mapping[str, Callable[[int], Run]], repeats: int) -> dict[str, list[Run]]:
    """Run the sides in turns: A B A B ...

    Args:
        sides: by name, a function that runs the side once, given the number of the repeat, counted from 0.
        repeats: how often each.

    Returns:
        The runs of each side.
    """
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, side in sides.items():
            runs[name].append(side(repeat))
    return runs


@dataclass(frozen=True)
class Row:
    """One line of the result.

    Args:
        what: what is compared, with the unit.
        hubtune: hubtune's median.
        other: the median of what it is compared with.
        ratio: of the medians; how many times hubtune is better, unless `what` says otherwise.
        lowest: the lowest ratio among the pairs of runs that followed each other.
        highest: the highest.
        wanted: what the ratio should reach.
    """

    what: str
    hubtune: float
    other: float
    ratio: float
    lowest: float
    highest: float
    wanted: str


def compare(
    what: str,
    hubtune: Sequence[float],
    other: Sequence[float],
    wanted: str,
    *,
    less_is_better: bool = False,
) -> Row:
    """Medians of two sides and their ratio.

    Args:
        what: what is compared, with the unit.
        hubtune: one figure for each run.
        other: one figure for each run, in turns with hubtune's.
        wanted: what the ratio should reach.
        less_is_better: whether the figures are times, so that the ratio is other / hubtune.

    Returns:
        The row.
    """

    def ratio(ours: float, theirs: float) -> float:
        return theirs / ours if less_is_better else ours / theirs

    ours, theirs = statistics.median(hubtune), statistics.median(other)
    pairs = [ratio(*pair) for pair in zip(hubtune, other, strict=True)]
    return Row(what, ours, theirs, ratio(ours, theirs), min(pairs), max(pairs), wanted)


def table_of_rows(rows: Sequence[Row]) -> str:
    """The comparisons as a Markdown table."""
    lines = [
        "| compared | hubtune | other | ratio | pairs | wanted |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.what} | {row.hubtune:,.4g} | {row.other:,.4g} | {row.ratio:.3g} "
        f"| {row.lowest:.3g} to {row.highest:.3g} | {row.wanted} |"
        for row in rows
    ]
    return "\n".join(lines)


def table_of_runs(runs: Mapping[str, Sequence[Run]]) -> str:
    """Speed, start-up, memory and quality of every side: medians for times, means for quality."""
    columns = {
        "examples/s": ("examples_per_second", "{:,.1f}"),
        "start-up (s)": ("start_up_seconds", "{:.1f}"),
        "peak (MB)": ("peak_mb", "{:,.0f}"),
        "accuracy": ("accuracy", "{:.4f}"),
        "macro-F1": ("macro_f1", "{:.4f}"),
        "F1 of the rarer class": ("rarer_f1", "{:.4f}"),
        "load before": ("load_before", "{:.1f}"),
        "others (cores)": ("others", "{:.2f}"),
    }
    means = ("accuracy", "macro_f1", "rarer_f1")
    lines = [
        f"| side | runs | {' | '.join(columns)} |",
        f"| --- | ---: | {' | '.join('---:' for _ in columns)} |",
    ]
    for name, each in runs.items():
        cells = [name, str(len(each))]
        for field, form in columns.values():
            found = [run[field] for run in each if run.get(field) is not None]
            middle = statistics.fmean if field in means else statistics.median
            cells.append(form.format(middle(found)) if found else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _busy_seconds() -> float:
    """Seconds that all cores together have been busy since the machine started; 0 where that is not told."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
