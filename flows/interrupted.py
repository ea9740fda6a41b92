"""Tasks whose process has died: Prefect goes on showing them as running until somebody says otherwise."""

from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Crashed

_AT_WORK = [StateType.PENDING, StateType.RUNNING]


def end_interrupted_tasks(client: SyncPrefectClient, run: UUID) -> None:
    """Report the tasks of a flow run as crashed that are shown as at work. Its process must have ended.

    Args:
        client: of the server.
        run: the flow run.
    """
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    at_work = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_AT_WORK)))
    for task in client.read_task_runs(flow_run_filter=of_run, task_run_filter=at_work):
        if task.state is not None and task.state.state_details.child_flow_run_id is not None:
            continue  # it stands for a run that has a process of its own
        state: State[None] = Crashed(message="the process of the run had ended while this was at work")
        client.set_task_run_state(task.id, state, force=True)


def end_tasks_of_before() -> None:
    """In a run that is done again: report as crashed what was at work when it was interrupted."""
    if (flow_run.run_count or 0) < 2:
        return
    try:
        with get_client(sync_client=True) as client:
            end_interrupted_tasks(client, UUID(str(flow_run.id)))
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        # It is for whoever looks at the page; the run does not depend on it.
        get_run_logger().warning("tasks that were interrupted are still shown as running: %s", error)
