"""Work by shards: side by side on a Dask cluster where one is named, and one after the other elsewhere."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.tasks import Task

from hubtune.errors import ClusterUnavailable, WorkerDied
from tasks.execution import Outputs, outputs_of

# How long workers may take to join; a cluster that scales up by itself takes a few minutes.
_WORKERS_SECONDS = 600


def has_cluster() -> bool:
    """Whether there are several workers for the shards of a task."""
    return bool(os.environ.get("HUBTUNE_DASK"))


def run_each(
    task: Task[..., Any], calls: Sequence[Mapping[str, Any]], *, takes_all_cores: bool = False
) -> list[Outputs]:
    """Run a task once for each shard.

    On the cluster whose scheduler HUBTUNE_DASK names (tcp://host:8786), each is a task run of its own, on a worker that
    is free; `local` is a cluster on this machine, for the time that the shards take, with a worker for each core.
    Elsewhere they are too, one after the other; but a single one is worked on by the task that asks for it.

    Args:
        task: a task that gives artifacts by name. It finds the store by its arguments: a worker on another machine has
            an environment of its own.
        calls: the arguments of each call.
        takes_all_cores: whether one call keeps a machine busy: on this one alone, several at once would be no gain.

    Returns:
        What each call gave.

    Raises:
        ClusterUnavailable: the scheduler does not answer, has no workers, or is gone.
        WorkerDied: the workers that took a shard died, one after the other.
        HubtuneError: what a call failed with; the shards that were done by then are not done again.
    """
    address = os.environ.get("HUBTUNE_DASK")
    if not calls:
        return []
    if not address or (address == "local" and takes_all_cores):
        if len(calls) == 1:
            return [outputs_of(task.fn(**calls[0]))]
        return [task(**call) for call in calls]
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from prefect_dask.task_runners import DaskTaskRunner

    where = f"HUBTUNE_DASK={address}"
    local = {"host": "127.0.0.1", "threads_per_worker": 1, "dashboard_address": None}
    runner_here = DaskTaskRunner(cluster_kwargs=local) if address == "local" else DaskTaskRunner(address=address)
    with runner_here as runner:
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
                f"workers died while they worked on a shard: {error}",
                where=where,
                remedy="give the workers more memory, or see their logs; shards that were done are kept",
            ) from error
        except FutureCancelledError as error:
            raise ClusterUnavailable(
                f"the Dask scheduler is gone: {error}", where=where, remedy="run again; shards that were done are kept"
            ) from error
