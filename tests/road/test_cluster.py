"""Shards on a real Dask cluster of two workers, of which one is killed in the middle of its work."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
import pytest

from hubtune.errors import ClusterUnavailable
from tasks.cluster import run_each
from tasks.retrain.task import embed_shard
from tests.preprocess.conftest import raw_table
from tests.retrain import small_inputs

pytestmark = pytest.mark.slow
DASK = str(Path(sys.executable).parent / "dask")
ALONE = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end, if it has not ended by then."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def write_raw(folder: Path) -> Path:
    """Rows in three shards, with copies and conflicts among texts of different ones."""
    (folder / "rows").mkdir(parents=True)
    rows = [(f"Is\u00a0{number % 700} even?", str(number % 2 if number < 890 else 0)) for number in range(900)]
    table = raw_table(rows)
    for shard in range(3):
        table[shard * 300 : shard * 300 + 300].write_parquet(folder / "rows" / f"{shard:05d}.parquet")
    return folder


def digests_of(inputs: list[Path], environment: dict[str, str]) -> list[str]:
    """Digests of clean rows, of the quarantine, and of the embeddings of each shard."""
    command = [sys.executable, "-m", "tests.road.sharded", *map(str, inputs)]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    digests: list[str] = json.loads(ended.stdout)
    return digests


def test_shards_give_the_same_on_a_cluster_that_loses_a_worker(prefect_server: dict[str, str], tmp_path: Path) -> None:
    topics, model = small_inputs.write_topics(tmp_path / "rows"), small_inputs.write_model(tmp_path / "model")
    inputs = [write_raw(tmp_path / "raw"), topics, model]
    inherited = os.environ | prefect_server
    expected = digests_of(inputs, inherited | {"HUBTUNE_STORE": str(tmp_path / "alone")})
    assert len(expected) == 5

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        scheduler = [DASK, "scheduler", "--host", address, "--no-dashboard"]
        stack.enter_context(running(scheduler, inherited, tmp_path / "scheduler.log"))
        # Workers know of the store by the task's arguments alone.
        logs = [tmp_path / "one.log", tmp_path / "two.log"]
        one, _ = (stack.enter_context(running([DASK, "worker", address, *ALONE], inherited, log)) for log in logs)
        settings = {"HUBTUNE_STORE": str(tmp_path / "shared"), "HUBTUNE_DASK": address}
        digests = thread.submit(digests_of, inputs, inherited | settings)
        while b"the store holds no result" not in logs[0].read_bytes() and not digests.done():
            time.sleep(0.05)
        one.kill()
        assert digests.result() == expected
        assert b"Embedding" not in logs[0].read_bytes()
    assert b"the texts of 300 rows are read" in logs[1].read_bytes()

    # Rows alone, on a cluster that is made for them.
    here = tmp_path / "here"
    assert digests_of(inputs[:1], inherited | {"HUBTUNE_STORE": str(here), "HUBTUNE_DASK": "local"}) == expected[-2:]
    assert len(list((here / "artifacts" / "texts").iterdir())) == 3
    assert not (tmp_path / "alone" / "artifacts" / "texts").exists()


def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBTUNE_DASK", "tcp://127.0.0.1:9")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(ClusterUnavailable) as raised:
        run_each(embed_shard, [{}])
    assert "HUBTUNE_DASK=tcp://127.0.0.1:9" in str(raised.value)
