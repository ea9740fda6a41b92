"""Shards on a real Dask cluster: two workers, of which one is killed in the middle."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.retrain import small_inputs

pytestmark = pytest.mark.slow
DASK = str(Path(sys.executable).parent / "dask")


@pytest.fixture
def scheduler() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen([DASK, "scheduler", "--host", address, "--no-dashboard"], stderr=subprocess.DEVNULL)
    yield address
    process.terminate()
    process.wait(timeout=30)


def start_worker(scheduler: str, name: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    options = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    with log.open("wb") as file:
        return subprocess.Popen([DASK, "worker", scheduler, *options], env=environment, stdout=file, stderr=file)


def embed(inputs: list[Path], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.road.sharded", *map(str, inputs)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_shards_give_the_same_on_a_cluster_that_loses_a_worker(
    prefect_server: dict[str, str], scheduler: str, tmp_path: Path
) -> None:
    inputs = [small_inputs.write_topics(tmp_path / "rows"), small_inputs.write_model(tmp_path / "model")]
    alone = os.environ | prefect_server | {"HUBTUNE_STORE": str(tmp_path / "alone")}
    out, err = embed(inputs, alone).communicate(timeout=300)
    expected = json.loads(out)
    assert len(expected) == 3, err

    # The workers know of the store by the task's arguments alone.
    workers = [start_worker(scheduler, name, os.environ | prefect_server, tmp_path / name) for name in ("one", "two")]
    try:
        run = embed(inputs, alone | {"HUBTUNE_STORE": str(tmp_path / "shared"), "HUBTUNE_DASK": scheduler})
        assert run.stderr is not None
        lost = next(line for line in run.stderr if "Embed texts (" in line)
        print(lost)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    out, err = run.communicate(timeout=300)
    print(out, err)
    assert json.loads(out) == expected
