"""Shards on a real Dask cluster of three workers, of which two are killed in the middle of their work."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask
import polars as pl
import pytest

from hubtune.errors import ClusterUnavailable
from tasks.cluster import run_each
from tasks.retrain.task import embed_shard
from tests.preprocess.conftest import raw_table
from tests.retrain import small_inputs
from tests.road.shard_cases import CASES

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
    """Rows in three shards, with copies, near copies and conflicts among texts of different ones: as they are for most
    cases, with splits and weights, as pairs, and with groups and several labels."""
    rows = []
    for number in range(900):
        text = f"Is\u00a0{number % 700} even, or is it odd after all?{'!' if 850 < number < 890 else ''}"
        rows.append((text, str(number % 2 if number < 890 else 0)))
    plain = raw_table(rows)
    row = pl.col("row")
    test = pl.when(row % 8 < 2).then(pl.lit("test")).otherwise(pl.lit("train"))
    given = pl.when(row % 9 == 2).then(pl.lit("validation")).otherwise(test)
    unwanted = pl.when(row % 50 == 7).then(pl.lit("2")).otherwise("label")
    weight = pl.when(row % 90 > 0).then(pl.format("{}.5", row % 3))
    several = pl.when(row % 5 == 0).then(pl.lit("2, ") + pl.col("label")).otherwise("label")
    tables = {
        "plain": plain,
        "given": plain.with_columns(split=test, label=unwanted, weight=weight),
        "pairs": plain.with_columns(split=given, text_pair=pl.format("Or {}?", row % 2)),
        "groups": plain.with_columns(label=several, group=pl.format("{}", row // 7)),
    }
    for name, table in tables.items():
        (folder / name / "rows").mkdir(parents=True)
        for shard in range(3):
            table[shard * 300 : shard * 300 + 300].write_parquet(folder / name / "rows" / f"{shard:05d}.parquet")
    return folder


def digests_of(
    raw: Path, cases: Collection[str], inputs: list[Path], environment: dict[str, str]
) -> dict[str, list[str]]:
    """Digests of clean rows and of the quarantine of each case, and of the embeddings of each shard."""
    command = [sys.executable, "-m", "tests.road.sharded", str(raw), ",".join(cases), *map(str, inputs)]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr
    digests: dict[str, list[str]] = json.loads(ended.stdout)
    return digests


def test_shards_give_the_same_on_a_cluster_that_loses_workers(prefect_server: dict[str, str], tmp_path: Path) -> None:
    topics, model = small_inputs.write_topics(tmp_path / "rows"), small_inputs.write_model(tmp_path / "model")
    raw, inputs = write_raw(tmp_path / "raw"), [topics, model]
    inherited = os.environ | prefect_server
    expected = digests_of(raw, CASES, inputs, inherited | {"HUBTUNE_STORE": str(tmp_path / "alone")})
    assert len(expected["embeddings"]) == 3
    assert len({digest for case in CASES for digest in expected[case]}) == 2 * len(CASES)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        scheduler = [DASK, "scheduler", "--host", address, "--no-dashboard"]
        stack.enter_context(running(scheduler, inherited, tmp_path / "scheduler.log"))
        # Workers know of the store by the task's arguments alone.
        logs = [tmp_path / f"worker {number}.log" for number in range(3)]
        further = [[], [], ["--preload", str(Path(__file__).with_name("judges_no_bucket.py"))]]
        one, _, three = (
            stack.enter_context(running([DASK, "worker", address, *ALONE, *more], inherited, log))
            for log, more in zip(logs, further, strict=True)
        )
        settings = {"HUBTUNE_STORE": str(tmp_path / "shared"), "HUBTUNE_DASK": address}
        digests = thread.submit(digests_of, raw, CASES, inputs, inherited | settings)
        while b"the store holds no result" not in logs[0].read_bytes() and not digests.done():
            time.sleep(0.05)
        one.kill()
        assert digests.result() == expected
        assert b"Embedding" not in logs[0].read_bytes()
        assert three.wait(timeout=60) == -signal.SIGKILL
    said = [log.read_text(encoding="utf-8") for log in logs]
    assert "the texts of 300 rows are read" in said[1]
    # What the third one had begun was done by the second, and nothing else was done again: in each case of other rows,
    # and where all of them are in one bucket, a shard is read once; a bucket is judged once where there are three.
    assert "rows are judged" not in said[0] + said[2]
    assert sum(each.count("the texts of 300 rows are read") for each in said) == 3 * (len(CASES) - 1)
    assert said[1].count("rows are judged") == 3 * (len(CASES) - 1)

    # Rows alone, on a cluster that is made for them.
    here = tmp_path / "here"
    settings = {"HUBTUNE_STORE": str(here), "HUBTUNE_DASK": "local"}
    assert digests_of(raw, ["plain"], [], inherited | settings) == {"plain": expected["plain"]}
    assert len(list((here / "artifacts" / "texts").iterdir())) == 3
    assert len(list((here / "artifacts" / "verdicts").iterdir())) == 3
    assert not {"texts", "verdicts"} & {path.name for path in (tmp_path / "alone" / "artifacts").iterdir()}


def test_a_cluster_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBTUNE_DASK", "tcp://127.0.0.1:9")
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(ClusterUnavailable) as raised:
        run_each(embed_shard, [{}])
    assert "HUBTUNE_DASK=tcp://127.0.0.1:9" in str(raised.value)
