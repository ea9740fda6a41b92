"""Block 3 as a task of a flow: in the flow's own process, and on a cluster of this machine's cores, in turns.

    python -m benchmarks.preprocess_cluster [--rows N] [--repeats N]

Prints a Markdown table: seconds of the task, and the most memory that the flow's process held. (The workers of a
cluster have memory of their own.)
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.alternate import Run, alternate, run
from benchmarks.preprocess import write_rows


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description="Preprocessing with a cluster and without.")
    parser.add_argument("--rows", type=int, default=1_300_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--side", nargs=3, metavar=("RAW", "FOLDER", "DASK"), help="run one side: for the program itself"
    )
    arguments = parser.parse_args()
    if arguments.side:
        raw, folder, dask = arguments.side
        print(json.dumps(_preprocess(Path(raw), Path(folder), dask)))
        return
    with tempfile.TemporaryDirectory() as work:
        raw = Path(work) / "raw"
        _read(write_rows(Path(work) / "rows.csv", arguments.rows), raw)

        def side(dask: str) -> Run:
            with tempfile.TemporaryDirectory(dir=work) as folder:
                return run(sys.executable, "benchmarks.preprocess_cluster", "--side", str(raw), folder, dask)

        sides = {"one process": lambda _: side(""), "HUBTUNE_DASK=local": lambda _: side("local")}
        print("| rows | side | preprocess (s) | peak of the flow's process (MB) | others (cores) |")
        print("| ---: | --- | ---: | ---: | ---: |")
        for name, runs in alternate(sides, arguments.repeats).items():
            seconds, peak = (statistics.median(each[field] for each in runs) for field in ("seconds", "own_peak_mb"))
            others = max(each["others"] for each in runs)
            print(f"| {arguments.rows:,} | {name} | {seconds:.1f} | {peak:,.0f} | {others:.2f} |", flush=True)


def _read(file: Path, raw: Path) -> None:
    from schemas.data_recipe import DataRecipe
    from tasks.download_data.read import read

    raw.mkdir()
    read(DataRecipe(source=str(file)), raw, lambda line: None)


def _preprocess(raw: Path, folder: Path, dask: str) -> Run:
    os.environ |= {
        "HUBTUNE_STORE": str(folder / "store"),
        "HUBTUNE_DASK": dask,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }
    import polars as pl
    from prefect import flow

    from hubtune.storage import Store
    from hubtune.storage.artifact import Producer
    from schemas.data_recipe import DataRecipe
    from schemas.handoff import RawFacts
    from schemas.recipe import PreprocessRecipe
    from tasks.preprocess.task import preprocess_rows

    @flow(name="Preprocess at scale", result_serializer="json")
    def work() -> float:
        rows = pl.scan_parquet(raw / "rows" / "*.parquet").select(pl.len()).collect().item()
        facts = RawFacts(rows=rows, files=1, given_splits=False)
        arrived = Store.open().put(
            "raw", raw, producer=Producer(task="benchmark", version=1, parameters={}), facts=facts
        )
        data = DataRecipe.model_validate({"source": "rows.csv", "labels": {"0": "sincere", "1": "insincere"}})
        started = time.perf_counter()
        preprocess_rows(arrived, PreprocessRecipe(), data, "scale")
        return time.perf_counter() - started

    seconds = work()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"program": f"hubtune {dask or 'alone'}", "seconds": seconds, "own_peak_mb": own}


if __name__ == "__main__":
    main()
