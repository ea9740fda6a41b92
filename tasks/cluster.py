"""Work by shards: side by side on a Dask cluster where one is named, and one after the other elsewhere."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from prefect.tasks import Task

from hubtune.errors import ClusterUnavailable, WorkerDied
from tasks.execution import Outputs, outputs_of

# How long workers may take to join; a cluster that scales up by itself takes a few minutes.
_WORKERS_SECONDS = 600


def has_cluster() -> bool:
    """Whether there are several workers for the shards of a task."""
    return bool(os.environ.get("HUBTUNE_DASK"))


RunEach = Callable[[Task[..., Any], Sequence[Mapping[str, Any]]], list[Outputs]]
"""Runs a task once for each call, and gives what each gave."""


def run_each(
    task: Task[..., Any], calls: Sequence[Mapping[str, Any]], *, takes_all_cores: bool = False
) -> list[Outputs]:
    """Run a task once for each shard: one round of what `workers` does.

    Args:
        task: a task that gives artifacts by name.
        calls: the arguments of each call.
        takes_all_cores: as for `workers`.

    Returns:
        What each call gave.

    Raises:
        ClusterUnavailable: see `workers`.
        WorkerDied: see `workers`.
        HubtuneError: what a call failed with.
    """
    if not calls:
        return []
    with workers(takes_all_cores=takes_all_cores) as each:
        return each(task, calls)


@contextmanager
def workers(*, takes_all_cores: bool = False) -> Iterator[RunEach]:
    """Where tasks run once for each shard, in as many rounds as are asked for.

    On the cluster whose scheduler HUBTUNE_DASK names (tcp://host:8786), each is a task run of its own, on a worker that
    is free; `local` is a cluster on this machine, until the last round is done, with a worker for each core.
    Elsewhere they are too, one after the other; but a single one is worked on by the task that asks for it.

    Args:
        takes_all_cores: whether one call keeps a machine busy: on this one alone, several at once would be no gain.

    Yields:
        What runs a task once for each of the calls, and gives what each gave. A task finds the store by its arguments:
        a worker on another machine has an environment of its own.

    Raises:
        ClusterUnavailable: the scheduler does not answer, has no workers, or is gone.
        WorkerDied: the workers that took a shard died, one after the other.
        HubtuneError: what a call failed with; the shards that were done by then are not done again.
    """
    address = os.environ.get("HUBTUNE_DASK")
    if not address or (address == "local" and takes_all_cores):
        yield _run_here
        return
    from prefect_dask.task_runners import DaskTaskRunner

    local = {"host": "127.0.0.1", "threads_per_worker": 1, "dashboard_address": None}
    runner_here = DaskTaskRunner(cluster_kwargs=local) if address == "local" else DaskTaskRunner(address=address)
    with runner_here as runner:
        yield lambda task, calls: _run_on(runner, f"HUBTUNE_DASK={address}", task, calls)


def _run_here(task: Task[..., Any], calls: Sequence[Mapping[str, Any]]) -> list[Outputs]:
    if len(calls) == 1:
        return [outputs_of(task.fn(**calls[0]))]
    return [task(**call) for call in calls]


def _run_on(runner: Any, where: str, task: Task[..., Any], calls: Sequence[Mapping[str, Any]]) -> list[Outputs]:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        # Without workers the scheduler would keep the tasks, and this one would wait, without a word.
        runner.client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
        futures = [runner.submit(task, dict(call)) for call in calls]
    except (OSError, ValueError) as error:
        raise ClusterUnavailable(
            f"the Dask scheduler or its workers do not answer: {error}",
            where=where,
            remedy="start the cluster, correct the address, or unset the variable to work without a cluster",
        ) from error
    try:
        return [future.result() for future in futures]
    except KilledWorker as error:
        raise WorkerDied(
            f"workers died while they worked on a shard or a bucket of rows: {error}",
            where=where,
            remedy="give the workers more memory, or see their logs; what was done is kept",
        ) from error
    except FutureCancelledError as error:
        raise ClusterUnavailable(
            f"the Dask scheduler is gone: {error}", where=where, remedy="run again; what was done is kept"
        ) from error
