"""Hands block 4 to a worker of the accelerator pool, and waits for what it makes.

One training comes of it, whoever asks for it and however often: runs of the deployment carry a key that is made of all
that the training depends on, and the number of the attempt. Who finds such a run at work waits for it; only where the
last one failed is there another, which goes on from the checkpoint in the store. (A worker that is cut off from the
server for so long that it counts as dead may still train beside the next one: both end with the same bytes.)
"""

import hashlib
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import httpx
from prefect import task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelling
from prefect.utilities.urls import url_for
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from hubtune.errors import ServerUnavailable, TrainingFailed, WorkerDied
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer
from schemas.train_recipe import TrainRecipe
from tasks.execution import RETRY, Outputs, run_once
from tasks.retrain.task import BLOCK_VERSION, block_key, block_parameters

TRAINING = "Train"
"""Name of the flow that trains for others."""
DEPLOYMENT = f"{TRAINING}/train-on-accelerator"

_POLL_SECONDS = 2.0
# A Prefect server that is started anew should not cost a training of hours.
_SERVER_AWAY_SECONDS = 900
_NOT_TAKEN_SECONDS = 60


def has_accelerator() -> bool:
    """Whether the server knows the deployment that trains on an accelerator pool."""
    with get_client(sync_client=True) as client:
        try:
            _patient(client.read_deployment_by_name, DEPLOYMENT)
        except ObjectNotFound:
            return False
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            raise ServerUnavailable(
                f"the Prefect server does not say whether there is an accelerator: {error}",
                where=str(client.api_url),
                remedy="see that it answers, then press Retry; what was done is kept",
            ) from error
    return True


@task(name="Train on accelerator", **RETRY)
def train_on_accelerator(
    model: Artifact, rows: Artifact, recipe: TrainRecipe, name: str, refresh: bool = False
) -> Outputs | State[Outputs]:
    """Have a worker of the accelerator pool tokenise, embed and train.

    Args:
        model: the pretrained model.
        rows: clean rows.
        recipe: how to train.
        name: the model's name, which is part of the name of the worker's run.
        refresh: train even if the result is in the store.

    Returns:
        `classifier`: weights, history, answers.

    Raises:
        TrainingFailed: the worker's run failed, or somebody cancelled it; with its own message, and a link to it.
        WorkerDied: the worker's run died, or was cancelled together with another run that had asked for it.
    """
    store = Store.open()
    key = block_key(model, rows, recipe)

    def work(producer: Producer) -> Outputs:
        # What is asked for again is another training than the one that is in the store.
        asked = f"{store.root} {key.digest}{f', again in {this_run.id}' if refresh else ''}"
        what = {
            "name": f"{name}, {recipe.mode}",
            "key": hashlib.sha256(asked.encode()).hexdigest(),
            "parameters": {
                "model": model.model_dump(mode="json"),
                "rows": rows.model_dump(mode="json"),
                "recipe": recipe.as_parameters(),
                "refresh": refresh,
            },
        }
        with get_client(sync_client=True) as client:
            for attempt in count(1):
                child = _ask(client, what, attempt)
                if not _is_over(child):
                    break
                # It ended before it was asked for, just now or long ago; what it made may have been damaged since.
                if _state(child).is_completed() and (made := store.recall(key)) is not None:
                    return made
            child = _wait(client, child)
            _refuse_unless_completed(client, child)
        if (made := store.recall(key)) is None:
            raise TrainingFailed(
                "the worker's run completed, and the store holds no classifier of it",
                where=_described(child),
                remedy="run the same version of hubtune on all workers",
            )
        return made

    return run_once(store, key.task, BLOCK_VERSION, block_parameters(recipe), [model, rows], work, refresh=refresh)


def cancel_training(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel the training that a cancelled run has asked for: a hook of the flow that asks.

    Args:
        flow: part of the signature.
        flow_run: the run that is being cancelled.
        state: part of the signature.
    """
    with get_client(sync_client=True) as client:
        asked = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]))
        for child in client.read_flow_runs(flow_run_filter=asked):
            if not _is_over(child):
                client.set_flow_run_state(child.id, Cancelling(message=f"cancelled with {_described(flow_run)}"))


def _ask(client: SyncPrefectClient, what: dict[str, Any], attempt: int) -> FlowRun:
    """The run of an attempt: the one that there is, whoever asked for it, or else a new one."""
    key = f"{what['key']}-{attempt}"
    wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    if found := _patient(client.read_flow_runs, flow_run_filter=wanted):
        if not _is_over(found[0]):
            get_run_logger().info("%s has been asked for already: waiting for it", _described(found[0]))
        there: FlowRun = found[0]
        return there
    # Of two that ask at the same moment the server gives both the same run.
    made: FlowRun = _patient(
        run_deployment,
        DEPLOYMENT,
        parameters=what["parameters"],
        flow_run_name=what["name"],
        idempotency_key=key,
        timeout=0,
    )
    get_run_logger().info("%s is asked for", _described(made))
    return made


def _wait(client: SyncPrefectClient, child: FlowRun) -> FlowRun:
    """A run of the worker when it is over."""
    log = get_run_logger()
    said, since = "", time.monotonic()
    while True:
        child = _patient(client.read_flow_run, child.id)
        if _is_over(child):
            return child
        if (name := str(_state(child).name)) != said:
            said, since = name, time.monotonic()
            log.info("%s: %s", _described(child), name)
        elif not _state(child).is_running() and time.monotonic() - since > _NOT_TAKEN_SECONDS:
            since = time.monotonic()
            log.warning(
                "no worker of the pool %r has taken it yet; a worker that is busy takes it later, and "
                "`prefect worker start --pool %s` starts one",
                child.work_pool_name,
                child.work_pool_name,
            )
        time.sleep(_POLL_SECONDS)


def _refuse_unless_completed(client: SyncPrefectClient, child: FlowRun) -> None:
    state, where = _state(child), _described(child)
    said = state.message or f"the run ended as {state.name}, without a message"
    if state.is_crashed():
        raise WorkerDied(said, where=where, remedy="see the worker's log; what was trained until then is kept")
    if state.is_cancelled():
        if _was_cancelled_with_its_parent(client, child):
            raise WorkerDied(
                "the training was cancelled together with the run that had asked for it first",
                where=where,
                remedy="it is asked for again; what was trained until then is kept",
            )
        raise TrainingFailed("the training was cancelled", where=where, remedy="press Retry to go on where it was")
    if not state.is_completed():
        raise TrainingFailed(said, where=where, remedy="see the remedy above, then press Retry on this run")


def _was_cancelled_with_its_parent(client: SyncPrefectClient, child: FlowRun) -> bool:
    if child.parent_task_run_id is None:
        return False
    parent = _patient(client.read_task_run, child.parent_task_run_id).flow_run_id
    if parent is None or str(parent) == this_run.id:
        return False
    state = _patient(client.read_flow_run, parent).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _patient(ask: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Ask the server; where it is away, for a quarter of an hour."""
    patience = Retrying(
        retry=retry_if_exception(_is_away),
        wait=wait_exponential_jitter(_POLL_SECONDS, 30),
        stop=stop_after_delay(_SERVER_AWAY_SECONDS),
        reraise=True,
    )
    return patience(ask, *arguments, **named)


def _is_away(error: BaseException) -> bool:
    if isinstance(error, PrefectHTTPStatusError):
        return error.response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR
    return isinstance(error, httpx.TransportError)


def _is_over(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def _state(run: FlowRun) -> State[Any]:
    assert run.state is not None, "the server gives each flow run a state"
    return run.state


def _described(run: FlowRun) -> str:
    return f"the run {run.name!r}: {url_for('flow-run', run.id) or run.id}"
