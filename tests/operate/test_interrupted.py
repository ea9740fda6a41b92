"""Runs that are interrupted, in the ways that are hard to meet by hand."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.states import Crashed

from deployments.interrupted import announce_stop, at_work, left_behind, take_up
from deployments.parts import RUN, Part, runs_at
from deployments.stack import POOLS, stop_all
from deployments.state import end_leftovers, write_state
from tests.operate.conftest import Json, Stage

# Nothing listens there: what stands in an environment is all that is asked.
API = "http://127.0.0.1:9/api"


@pytest.fixture
def waiting(stage: Stage, client: SyncPrefectClient) -> Iterator[list[Json]]:
    """Two runs that no worker takes."""
    client.update_work_pool("default", WorkPoolUpdate(is_paused=True))
    runs = [stage.start("Retrain/on-demand", {"recipe": stage.recipe()}) for _ in range(2)]
    try:
        yield runs
    finally:
        known = {run["id"] for run in stage.post("/flow_runs/filter", {})}
        for run in runs:
            if run["id"] in known:
                client.delete_flow_run(UUID(run["id"]))
        client.update_work_pool("default", WorkPoolUpdate(is_paused=False))


@pytest.mark.slow
def test_what_was_stopped_goes_on_though_another_was_deleted_and_who_stopped_it_was_killed(
    stage: Stage, client: SyncPrefectClient, waiting: list[Json]
) -> None:
    runs = {UUID(run["id"]) for run in waiting}
    crashed = stage.start("Retrain/on-demand", {"recipe": stage.recipe()})
    waiting.append(crashed)
    client.set_flow_run_state(UUID(crashed["id"]), Crashed(message="out of memory"), force=True)
    for run in waiting[:2]:
        stage.set_state(run, "PENDING", "Pending")
    assert at_work(client, POOLS) >= runs
    deleted = uuid4()
    announce_stop(client, {deleted, *runs})
    assert not at_work(client, POOLS) & runs
    # The keeper is killed here. The next one finds them, wherever the database is.
    for shared in (True, False):
        assert left_behind(client, POOLS, shared=shared) == runs
    # That of another machine is found only where the database is one's own.
    theirs, ours = sorted(runs)
    elsewhere = Crashed(message="hubtune was stopped while this was at work on another machine")  # type: ignore[var-annotated]
    client.set_flow_run_state(theirs, elsewhere, force=True)
    assert left_behind(client, POOLS, shared=True) == {ours}
    assert left_behind(client, POOLS, shared=False) == runs

    said = list[str]()
    take_up(client, {deleted, *runs}, lambda _, line: said.append(line), 5)
    assert len(said) == 2
    assert {stage.read(run)["state"]["name"] for run in waiting[:2]} == {"AwaitingRetry"}
    assert stage.read(crashed)["state"]["message"] == "out of memory"
    assert left_behind(client, POOLS, shared=False) == set()


SLEEP = "import time; time.sleep(600)"
# A stand-in for a worker: it starts a process as a worker starts that of a run.
START = (
    "import os, subprocess, sys; "
    f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env=os.environ | {{'{RUN}': sys.argv[1]}}); {SLEEP}"
)


@contextmanager
def killed_worker(run: UUID, api: str, folder: Path) -> Iterator[tuple[Part, psutil.Process]]:
    """A worker that was killed, and the process of its run, which goes on."""
    environment = dict(os.environ) | {"PREFECT_API_URL": api}
    worker = Part("worker", [sys.executable, "-c", START, str(run)], environment, folder, folder)
    worker.start()
    try:
        deadline = time.monotonic() + 30
        while not (found := runs_at(api).get(run)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        write_state(folder, api.removesuffix("/api"), [worker], ready=True)
        worker.kill()
        while worker.runs:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert runs_at(api)[run] == found
        yield worker, found[0]
    finally:
        worker.stop(5)
        for processes in runs_at(api).get(run, []):
            processes.kill()


def test_a_run_that_outlives_its_worker_and_who_keeps_it_up_is_ended(tmp_path: Path) -> None:
    run = uuid4()
    others = dict(os.environ) | {RUN: str(run), "PREFECT_API_URL": "http://127.0.0.1:10/api"}
    other = subprocess.Popen([sys.executable, "-c", SLEEP], env=others)
    try:
        with killed_worker(run, API, tmp_path) as (_, process):
            end_leftovers(tmp_path)
            process.wait(timeout=30)
            assert runs_at(API) == {}
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.slow
def test_a_run_that_outlives_its_worker_is_ended_with_all_and_goes_on(
    stage: Stage, client: SyncPrefectClient, waiting: list[Json], tmp_path: Path
) -> None:
    run, other = waiting
    for each in waiting:
        stage.set_state(each, "RUNNING", "Running")
    api = stage.settings["PREFECT_API_URL"]
    server, metrics = (
        Part(name, [sys.executable, "-c", SLEEP], os.environ, tmp_path, tmp_path) for name in ("server", "metrics")
    )
    said = list[str]()
    server.start()
    with killed_worker(UUID(run["id"]), api, tmp_path) as (worker, process):
        url = api.removesuffix("/api")
        stop_all(client, url, server, metrics, [worker], lambda _, line: said.append(line), shared=True)
        process.wait(timeout=30)
    assert stage.read(run)["state"]["name"] == "AwaitingRetry"
    # It has no process on this machine.
    assert stage.read(other)["state"]["name"] == "Running"
    assert f"{run['name']} was at work when hubtune was stopped, and goes on with it" in said
    assert not server.runs
