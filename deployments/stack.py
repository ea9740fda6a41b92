"""Everything that hubtune needs to run unattended, on this machine: server, pools, deployments, metrics, workers.

Started in this order, and stopped in the reverse one. What is at work when it is stopped is taken up again by the
workers of the next start; what was finished by then is in the store.
"""

import signal
import socket
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed

from deployments.alerts import NAMES, alerts
from deployments.automations import ensure_automations, remove_automations, zombies
from deployments.parts import Part, end, program
from deployments.register import CHECKOUT, FLOWS, register
from deployments.state import end_leftovers, forget, write_state
from flows.accelerator import TRAINING
from hubtune.errors import InvalidRecipe, StackFailed

# How many runs at once: one training, since an accelerator is not shared.
POOLS: dict[str, int | None] = {"default": None, "accelerator": 1}

Say = Callable[[str, str], None]
"""Takes the name of a part, and what is to be said of it."""

# A first start makes the database, which took half a minute on a slow machine.
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.5
_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_AT_WORK = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def run_stack(
    folder: Path,
    port: int,
    metrics_port: int,
    environment: dict[str, str],
    of_workers: dict[str, str],
    say: Say,
    ready: Callable[[], None],
) -> None:
    """Start everything, and keep it running until KeyboardInterrupt.

    Args:
        folder: of logs, and of what tells other processes that all this is up.
        port: where the server listens, on the loopback address.
        metrics_port: where Prometheus is answered, on the loopback address.
        environment: of the server; Prefect's settings in it are those of this process too.
        of_workers: the environment of the workers, and so of all runs; and of what answers Prometheus.
        say: takes a line for each part when it is there, and whatever happens to it later.
        ready: called when all of it is there.

    Raises:
        StackFailed: something did not start, or all this is up already.
        InvalidRecipe: something else listens on a port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Whoever only looks whether it is up holds the lock for a moment.
        lock = FileLock(folder / "lock").acquire(timeout=2)
    except Timeout:
        raise StackFailed("it is up already", where=str(folder), remedy="hubtune down ends it") from None
    with lock:
        end_leftovers(folder)
        _check_port(port, "--port")
        _check_port(metrics_port, "--metrics-port")
        url = f"http://127.0.0.1:{port}"
        listening = ["--host", "127.0.0.1", "--port", str(port)]
        server = Part("server", program("prefect", "server", "start", *listening), environment, CHECKOUT, folder)
        serving = program("hubtune", "metrics", "--port", str(metrics_port))
        metrics = Part("metrics", serving, of_workers, CHECKOUT, folder)
        workers = {
            pool: Part(
                f"worker {pool}",
                program("prefect", "worker", "start", "--pool", pool, "--name", _worker_name(pool)),
                of_workers,
                CHECKOUT,
                folder,
            )
            for pool in POOLS
        }
        parts = [server, metrics, *workers.values()]
        # The runs in a database of one's own are those of this machine; in another one they may be anybody's.
        shared = _DATABASE in environment
        with get_client(sync_client=True) as client:
            try:
                server.start()
                write_state(folder, url, parts, ready=False)
                _wait_for(lambda: client.api_healthcheck() is None, server)
                say("server", f"answers at {url}")
                if not shared:
                    # Whoever kept all this up before may have been killed, with all that was at work.
                    _take_up(client, _at_work(client), say)
                make_pools(client)
                say("work pools", ", ".join(POOLS))
                say("deployments", ", ".join(register(client, folder, environment)))
                say("automations", ", ".join(_automate(client, environment.get("HUBTUNE_ALERTS"))))
                metrics.start()
                write_state(folder, url, parts, ready=False)
                _wait_for(partial(_is_answered, metrics_port), metrics)
                say("metrics", f"for Prometheus at http://127.0.0.1:{metrics_port}/metrics and {url}/api/metrics")
                for worker in workers.values():
                    worker.start()
                    write_state(folder, url, parts, ready=False)
                for pool, worker in workers.items():
                    _wait_for(partial(_is_online, client, pool, worker.since), worker)
                    say(worker.name, "waits for runs")
                write_state(folder, url, parts, ready=True)
                ready()
                _tend(parts, folder, url, say)
            finally:
                for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(ending, signal.SIG_IGN)
                _stop(client, server, metrics, list(workers.values()), say, shared=shared)
                forget(folder)


def _check_port(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidRecipe(
                f"port {port} cannot be listened on: {error.strerror}",
                where=option,
                remedy="end what listens there, or name another port",
            ) from None


def _is_answered(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _worker_name(pool: str) -> str:
    return f"hubtune {pool} on {socket.gethostname()}"


def _wait_for(there: Callable[[], bool], part: Part) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not there():
        if not part.runs or time.monotonic() > deadline:
            how = "ended" if not part.runs else f"was not ready after {_START_SECONDS:.0f} s"
            raise StackFailed(
                f"{part.name} {how}; the end of its log:\n{part.last_lines()}",
                where=str(part.log),
                remedy="mend what the log says, then run hubtune up again",
            )
        time.sleep(_POLL_SECONDS)


def make_pools(client: SyncPrefectClient) -> None:
    """Make the work pools that are not there; the others are left as somebody may have changed them.

    Args:
        client: of the server.
    """
    for name, limit in POOLS.items():
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=limit))


def _automate(client: SyncPrefectClient, target: str | None) -> list[str]:
    if not target:
        remove_automations(client, NAMES)
    return ensure_automations(client, [zombies(), *(alerts(client, target) if target else ())])


def _is_online(client: SyncPrefectClient, pool: str, since: datetime) -> bool:
    ours = [each for each in client.read_workers_for_work_pool(pool) if each.name == _worker_name(pool)]
    # The worker of the last start had the same name.
    return any(each.last_heartbeat_time is not None and each.last_heartbeat_time > since for each in ours)


def _tend(parts: list[Part], folder: Path, url: str, say: Say) -> None:
    while True:
        time.sleep(_POLL_SECONDS)
        for part in parts:
            if (line := part.tend()) is not None:
                say(part.name, line)
                write_state(folder, url, parts, ready=True)


def _at_work(client: SyncPrefectClient) -> set[UUID]:
    """Runs of the project's flows that a worker of its pools has taken. Those of a command line are none of these."""
    at_work = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_AT_WORK)))
    flows = FlowFilter(name=FlowFilterName(any_=FLOWS))
    found = client.read_flow_runs(flow_filter=flows, flow_run_filter=at_work)
    return {run.id for run in found if run.work_pool_name in POOLS}


def _take_up(client: SyncPrefectClient, runs: set[UUID], say: Say) -> None:
    """See to it that runs which were interrupted go on at the next start. None of them has a worker any more."""
    for run in map(client.read_flow_run, runs):
        _end_process_of(run)
        if run.state is None or not (run.state.type in _AT_WORK or run.state.is_crashed()):
            continue
        state: State[None]
        if run.state.is_cancelling():
            state = Cancelled(message="hubtune was stopped while this was being cancelled")
        elif client.read_flow(run.flow_id).name == TRAINING:
            # Whoever waits for it asks again, and that goes on from its checkpoint.
            state = Crashed(message="hubtune was stopped while this was at work")
        else:
            state = AwaitingRetry(message="hubtune was stopped while this was at work; it goes on with it")
            say("run", f"{run.name} was at work when hubtune was stopped, and goes on with it")
        client.set_flow_run_state(run.id, state, force=True)


def _end_process_of(run: FlowRun) -> None:
    """End what is left of a run: its process outlives a worker that was killed."""
    try:
        process = psutil.Process(int(run.infrastructure_pid or ""))
        ours = process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id)
    except (ValueError, psutil.Error):
        return
    if ours:
        end(process, _STOP_SECONDS)


def _stop(
    client: SyncPrefectClient, server: Part, metrics: Part, workers: list[Part], say: Say, *, shared: bool
) -> None:
    """Stop everything: a server that does not answer is no reason to leave its workers running."""
    interrupted = set[UUID]()
    try:
        interrupted = _at_work(client) if server.runs and not shared else interrupted
    except Exception as error:
        say("server", f"does not answer: {error}")
    for part in (*workers, metrics):
        part.stop(_STOP_SECONDS)
        say(part.name, "is stopped")
    try:
        # Since it was asked, a worker may have taken another one.
        _take_up(client, interrupted | (_at_work(client) if server.runs and not shared else set()), say)
    except Exception as error:
        say("server", f"could not be told which runs go on: {error}")
    server.stop(_STOP_SECONDS)
    say("server", "is stopped")
