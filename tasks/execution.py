"""How every task runs: once for each key, and again only where trying again can help.

A task looks up its key in the store first. If the result is known and whole, the task ends at once in a state that
Prefect shows as `Cached`; otherwise it works and the store remembers the result. The memory lies in the store and not
in Prefect's database or result storage, so that it holds on every worker, outlives a lost database, and is believed
only while every file that it points to is whole (docs/decisions.md).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, cast

import httpx
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.states import Completed
from prefect.tasks import Task, exponential_backoff

from hubtune.errors import HubtuneError, disk_full
from hubtune.progress import ProgressLine, Say
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer, task_key
from tasks.progress_artifact import ProgressArtifact

Outputs = dict[str, Artifact]


def trying_again_can_help(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether Prefect should retry: never for invalid data, parameters or models.

    Args:
        task: the task that failed; part of Prefect's signature.
        run: its run; part of Prefect's signature.
        state: the failed state.

    Returns:
        What the error says of itself; for errors that are not hubtune's, True where a connection failed.
    """
    error: Any = state.result(raise_on_failure=False)
    if isinstance(error, HubtuneError):
        return error.retryable
    # A timeout is none of these: what took too long once takes too long again.
    return isinstance(error, ConnectionError | httpx.TransportError)


# Whose versions an artifact is explained by; they are recorded, and no part of its address.
_RECORDED = (
    "hubtune",
    "tensorflow",
    "tensorflow-text",
    "polars",
    "tokenizers",
    "datasketch",
    "onnx",
    "tf2onnx",
    "numpy",
)

# Waits of about 2, 4 and 8 s, each stretched by up to half, so that many runs that failed together do not come back
# together.
RETRY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": trying_again_can_help,
    "persist_result": False,
    "result_serializer": "json",
}
# Long work is tried once more, not three times.
RETRY_ONCE = RETRY | {"retries": 1}


def run_once(
    store: Store,
    task: str,
    version: int,
    parameters: Mapping[str, Any],
    inputs: Sequence[Artifact],
    work: Callable[[Producer], Outputs],
    *,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Run a task's work unless its result is in the store already.

    Args:
        store: the artifact store.
        task: the task's name within the key, e.g. "retrain.embed".
        version: raised by hand whenever the task's code begins to give other results.
        parameters: all parameters that the result depends on, as JSON values.
        inputs: the artifacts that the result depends on.
        work: does the work and puts the results into the store.
        refresh: work even if the result is known.

    Returns:
        The result's artifacts by name: as a plain value after work, inside a `Cached` state otherwise.

    Raises:
        DiskFull: there was no space for the result.
        Exception: whatever else the work raises.
    """
    key = task_key(task, version, parameters, inputs)
    # What was refreshed once in this flow run is done: a retry of the run must not do it again.
    this_run = task_key(task, version, {"key": key.digest, "refreshed in": str(flow_run.id)}, [])
    known = store.recall(this_run if refresh else key)
    if known is not None:
        return cached(known)
    say()("asked to run again" if refresh else "the store holds no result for this yet")
    try:
        outputs = work(Producer(task=task, version=version, parameters=dict(parameters), software=_software()))
    except HubtuneError:
        raise
    except Exception as error:
        full = disk_full(error)
        if full is None:
            raise
        raise full from error
    store.remember(key, outputs)
    if refresh:
        store.remember(this_run, outputs)
    return outputs


def _software() -> dict[str, str]:
    return {name: metadata.version(name) for name in _RECORDED}


def cached(outputs: Outputs, message: str = "") -> State[Outputs]:
    """The state that tells a result that was known from one that was worked for.

    Args:
        outputs: the known result.
        message: what is said of it; default: where it is.

    Returns:
        A completed state named `Cached`.
    """
    where = ", ".join(artifact.uri for artifact in outputs.values())
    return Completed(name="Cached", message=message or f"already in the store: {where}", data=outputs)


def outputs_of(result: Outputs | State[Outputs]) -> Outputs:
    """The artifacts of a result, whether it was worked for or known.

    Args:
        result: what `run_once` returned.

    Returns:
        Artifacts by name.
    """
    return result if isinstance(result, dict) else cast(Outputs, result.data)


def say() -> Say:
    """The logger of the current task run, as the function that blocks report their progress to."""
    return get_run_logger().info


@contextmanager
def say_and_show() -> Iterator[Say]:
    """As `say`, and lines that know their share also move a progress bar on the page of the run.

    For work that somebody watches: training, embedding. The bar's key is the task's name ("train-classifier"), so that
    the artifacts page shows how it went in one run after the other.

    Yields:
        The function that blocks report their progress to.
    """
    log = get_run_logger()
    key = re.sub(r"[^a-z0-9]+", "-", str(task_run.task_name).lower()).strip("-")
    with ProgressArtifact(key, log.warning) as bar:

        def say_and_move(line: str) -> None:
            log.info(line)
            if isinstance(line, ProgressLine):
                bar.show(line)

        yield say_and_move
