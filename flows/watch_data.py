"""A look at the data: the light blocks of a retraining, and the whole of it where enough has come in.

download data ──> preprocess ──> how many rows are new? ──> start a retraining, or not
"""

import hashlib
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for
from pydantic import Field

from flows.interrupted import end_tasks_of_before
from flows.timeline import Timeline
from hubtune.errors import HubtuneError
from hubtune.storage.artifact import Artifact
from schemas.recipe import Recipe
from tasks.download_data.task import download_data
from tasks.drift.task import count_new_rows
from tasks.preprocess.task import preprocess_rows

RETRAINING = "Retrain/on-demand"


@flow(
    name="Watch data",
    flow_run_name="{recipe.name}, data",
    description=__doc__,
    persist_result=False,
    result_serializer="json",
)
def watch_data(recipe: Recipe, min_new_rows: Annotated[int, Field(ge=1)] = 100) -> State[None]:
    """Start a retraining when enough new rows have come in.

    Args:
        recipe: That of the retraining.
        min_new_rows: How many clean rows must be new since the latest published version.

    Returns:
        A completed state that says how many there are, and what was started; a failed one with the cause.
    """
    end_tasks_of_before()
    timeline = Timeline()
    try:
        raw = timeline.run(download_data, recipe.data, False)["raw"]
        rows = timeline.run(preprocess_rows, raw, recipe.preprocess, recipe.data, str(recipe.name), False)["rows"]
        new = count_new_rows(str(recipe.name), rows)
    except HubtuneError as error:
        return Failed(message=f"{timeline.failed_task()}: {error}")
    found = f"{new:,} new rows for {recipe.name}"
    if new < min_new_rows:
        return Completed(message=f"{found}: a retraining starts with {min_new_rows:,}")
    run = _start(recipe, rows)
    assert run.state is not None
    where = url_for("flow-run", run.id) or run.id
    if not run.state.is_scheduled():
        return Completed(
            message=f"{found}: a retraining with them was started before, and is {run.state.name}: {where}"
        )
    return Completed(message=f"{found}: a retraining is started: {where}")


def _start(recipe: Recipe, rows: Artifact) -> FlowRun:
    """The retraining with these rows: one, however often the data is looked at before it is published."""
    asked = f"{rows.digest} {recipe.model_dump_json()}"
    run: FlowRun = run_deployment(
        RETRAINING,
        parameters={"recipe": recipe.as_parameters()},
        idempotency_key=f"watched-{hashlib.sha256(asked.encode()).hexdigest()}",
        timeout=0,
        as_subflow=False,
    )  # type: ignore[assignment]  # this is not async
    return run
