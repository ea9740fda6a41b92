"""Runs that are at work when all of it is stopped, or killed: they are taken up again at the next start."""

import contextlib
import socket
from collections.abc import Collection
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed

from deployments.parts import RUN, Say, end
from deployments.register import FLOWS
from flows.accelerator import TRAINING
from flows.interrupted import end_interrupted_tasks

STOPPED = "hubtune was stopped while this was at work"
"""How the message of a run begins that goes on: nobody is to be woken for it."""

_AT_WORK = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def at_work(client: SyncPrefectClient, pools: Collection[str]) -> set[UUID]:
    """Runs of the project's flows that a worker has taken. Those of a command line are none of these.

    Args:
        client: of the server.
        pools: the work pools of the workers.

    Returns:
        Their ids.
    """
    taken = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_AT_WORK)))
    flows = FlowFilter(name=FlowFilterName(any_=FLOWS))
    return {
        run.id for run in client.read_flow_runs(flow_filter=flows, flow_run_filter=taken) if run.work_pool_name in pools
    }


def left_behind(client: SyncPrefectClient, pools: Collection[str], *, shared: bool) -> set[UUID]:
    """Runs of which was said why they end, and not that they go on: who stopped them was killed in between.

    Args:
        client: of the server.
        pools: the work pools of the workers.
        shared: whether others use the database: what was stopped on another machine is theirs.

    Returns:
        Their ids.
    """
    crashed = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])))
    # Whoever waits for a training asks for it again.
    flows = FlowFilter(name=FlowFilterName(any_=[name for name in FLOWS if name != TRAINING]))
    # The server gives the first two hundred.
    runs = client.read_flow_runs(flow_filter=flows, flow_run_filter=crashed, sort=FlowRunSort.END_TIME_DESC)
    return {run.id for run in runs if run.work_pool_name in pools and _is_stopped(run, shared)}


def _is_stopped(run: FlowRun, shared: bool) -> bool:
    message = (run.state.message if run.state is not None else None) or ""
    return message == _stopped_here() if shared else message.startswith(STOPPED)


def _stopped_here() -> str:
    return f"{STOPPED} on {socket.gethostname()}"


def announce_stop(client: SyncPrefectClient, runs: set[UUID]) -> None:
    """Say of runs why they end, before they do: what their workers would say of it is a crash like any other.

    Args:
        client: of the server.
        runs: at work.
    """
    for each in runs:
        # Somebody may have deleted it while its process is at work.
        with contextlib.suppress(ObjectNotFound):
            run = client.read_flow_run(each)
            if run.state is not None and run.state.type in _AT_WORK and not run.state.is_cancelling():
                state: State[None] = Crashed(message=_stopped_here())
                client.set_flow_run_state(run.id, state, force=True)


def take_up(client: SyncPrefectClient, runs: set[UUID], say: Say, seconds: float) -> None:
    """See to it that runs which were interrupted go on at the next start. None of them has a worker any more.

    Args:
        client: of the server.
        runs: those that were at work.
        say: takes a line for each that goes on.
        seconds: how long a process of one that is left may take to end, before it is killed.
    """
    for each in runs:
        with contextlib.suppress(ObjectNotFound):
            _take_up(client, client.read_flow_run(each), say, seconds)


def _take_up(client: SyncPrefectClient, run: FlowRun, say: Say, seconds: float) -> None:
    _end_process_of(run, seconds)
    if run.state is None or not (run.state.type in _AT_WORK or run.state.is_crashed()):
        return
    end_interrupted_tasks(client, run.id)
    state: State[None]
    if run.state.is_cancelling():
        state = Cancelled(message="hubtune was stopped while this was being cancelled")
    elif client.read_flow(run.flow_id).name == TRAINING:
        # Whoever waits for it asks again, and that goes on from its checkpoint.
        state = Crashed(message=STOPPED)
    else:
        state = AwaitingRetry(message=f"{STOPPED}; it goes on with it")
        say("run", f"{run.name} was at work when hubtune was stopped, and goes on with it")
    client.set_flow_run_state(run.id, state, force=True)


def _end_process_of(run: FlowRun, seconds: float) -> None:
    """End what is left of a run: its process outlives a worker that was killed."""
    try:
        process = psutil.Process(int(run.infrastructure_pid or ""))
        ours = process.environ().get(RUN) == str(run.id)
    except (ValueError, psutil.Error):
        return
    if ours:
        end(process, seconds)
