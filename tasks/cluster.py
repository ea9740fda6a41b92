"""Work by shards: side by side on a Dask cluster where one is named, and one after the other elsewhere."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from prefect.tasks import Task

from hubtune.errors import ClusterUnavailable, WorkerDied
from tasks.execution import Outputs, outputs_of


def run_each(task: Task[..., Any], calls: Sequence[Mapping[str, Any]]) -> list[Outputs]:
    """Run a task once for each shard.

    On the cluster whose scheduler HUBTUNE_DASK names (tcp://host:8786), each is a task run of its own, on a worker that
    is free. Elsewhere they are too, one after the other; but a single one is worked on by the task that asks for it.

    Args:
        task: a task that gives artifacts by name. It finds the store by its arguments: a worker on another machine has
            an environment of its own.
        calls: the arguments of each call.

    Returns:
        What each call gave.

    Raises:
        ClusterUnavailable: the scheduler does not answer.
        WorkerDied: the workers that took a shard died, one after the other.
        HubtuneError: what a call failed with; the shards that were done by then are not done again.
    """
    address = os.environ.get("HUBTUNE_DASK")
    if not calls:
        return []
    if not address:
        if len(calls) == 1:
            return [outputs_of(task.fn(**calls[0]))]
        return [task(**call) for call in calls]
    from distributed import KilledWorker
    from prefect_dask.task_runners import DaskTaskRunner

    with DaskTaskRunner(address=address) as runner:
        try:
            futures = [runner.submit(task, dict(call)) for call in calls]
        except OSError as error:
            raise ClusterUnavailable(
                f"the Dask scheduler does not answer: {error}",
                where=f"HUBTUNE_DASK={address}",
                remedy="start the cluster, correct the address, or unset the variable to work without a cluster",
            ) from error
        try:
            return [future.result() for future in futures]
        except KilledWorker as error:
            raise WorkerDied(
                f"workers died while they worked on a shard: {error}",
                where=f"HUBTUNE_DASK={address}",
                remedy="give the workers more memory, or see their logs; shards that were done are kept",
            ) from error
