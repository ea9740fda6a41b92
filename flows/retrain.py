"""The whole road: five blocks from a pretrained model to a published one.

    download model ──┐
                     ├──> tokenise ──> embed ──> train ──> evaluate ──> publish
    download data ──> preprocess ──┘

Every arrow is an artifact in the store; what the store holds already is not made again. Where the server knows a
deployment for an accelerator, a worker of its pool tokenises, embeds and trains; otherwise this process does. New
rows of a model that is published already are compared with those that its latest version was trained on, before
anything is trained.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import BeforeValidator

from flows.accelerator import cancel_training, has_accelerator, train_on_accelerator
from flows.interrupted import end_tasks_of_before
from flows.timeline import Timeline
from flows.train import train_block
from hubtune.errors import HubtuneError, StoreUnavailable
from hubtune.storage import PublishedModel, Store
from hubtune.storage.artifact import Artifact
from hubtune.storage.journal import Success, note_success
from schemas.handoff import SPLITS, EvaluationFacts, ModelFacts
from schemas.recipe import Block, Recipe
from schemas.report import RunFailed, RunReport
from tasks.download_data.task import download_data
from tasks.download_model.task import download_model
from tasks.drift.task import compare_with_published, published_rows
from tasks.evaluate.task import evaluate_classifier
from tasks.preprocess.task import preprocess_rows
from tasks.publish.task import publish_model
from tasks.retrain.plan import with_learning_rate


@flow(
    name="Retrain",
    flow_run_name="{recipe.name}, {recipe.train.mode}",
    description=__doc__,
    persist_result=False,
    result_serializer="json",
    on_cancellation=[cancel_training],
)
def retrain(
    recipe: Recipe,
    # None is what forms of before, and runs that were saved with them, give.
    refresh: Annotated[Sequence[Block], BeforeValidator(lambda blocks: blocks or ())] = (),
) -> State[RunReport]:
    """Retrain a classifier and publish it.

    Args:
        recipe: Everything that may be set. What is left empty has its default.
        refresh: Blocks that work even if their result is in the store.

    Returns:
        What the run did, inside a state whose message says what came of it; when a block failed, a failed one with
        `RunFailed`.
    """
    # `recipe` has no default: that would be a complete one, and a form would show, and keep, the values of one mode.
    end_tasks_of_before()
    timeline = Timeline()
    made: dict[str, Artifact] = {}
    try:
        version = _blocks(recipe, set(refresh), timeline, made)
        return Completed(message=timeline.message, data=_report(recipe, timeline, made, version, None))
    except HubtuneError as error:
        message = f"{timeline.failed_task()}: {error}"
        return Failed(message=message, data=RunFailed(message, _report(recipe, timeline, made, None, error)))


def _blocks(recipe: Recipe, refresh: set[Block], timeline: Timeline, made: dict[str, Artifact]) -> int | None:
    model = made["download_model"] = timeline.run(download_model, recipe.model, "download_model" in refresh)["model"]
    # What the recipe leaves to the model is known now, and stands in all that comes of it.
    train = with_learning_rate(ModelFacts.model_validate(model.facts), recipe.train)
    recipe = recipe.model_copy(update={"train": train})
    raw = made["download_data"] = timeline.run(download_data, recipe.data, "download_data" in refresh)["raw"]
    name = str(recipe.name)
    clean = timeline.run(preprocess_rows, raw, recipe.preprocess, recipe.data, name, "preprocess" in refresh)
    rows = made["preprocess"] = clean["rows"]
    made["quarantine"] = clean["quarantine"]
    reference = published_rows(name, rows)
    if reference is not None:
        compared = timeline.run(compare_with_published, rows, reference, recipe.drift, name, "preprocess" in refresh)
        made["drift"] = compared["drift"]

    again = "retrain" in refresh
    if has_accelerator():
        there = timeline.run(train_on_accelerator, model, rows, recipe.train, name, again)
        classifier = there["classifier"]
    else:
        classifier = train_block(timeline, model, rows, recipe.train, again)
    made["retrain"] = classifier
    judged = timeline.run(evaluate_classifier, rows, classifier, recipe.evaluate, recipe.train, again)
    evaluation = made["evaluation"] = judged["evaluation"]
    logs = made["tensorboard"] = judged["tensorboard"]

    inputs = (model, rows, classifier, evaluation, logs, made["quarantine"])
    published = timeline.run(publish_model, *inputs, recipe, "publish" in refresh)
    release = made["publish"] = published["release"]
    # The task has just verified the version.
    version = PublishedModel(Store.open(), name).find(release, hashes=False)
    if version is not None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        found = {"rows": rows.digest, "quarantine": made["quarantine"].digest}
        success = Success(run=str(flow_run.id), ended=now, version=version, **found)
        try:
            note_success(Store.open(), name, success)
        except StoreUnavailable as error:
            # The version is out. Who watches is told by the age of the success before.
            get_run_logger().warning(f"that this run ended well could not be noted for `hubtune metrics`: {error}")
    return version


def _report(
    recipe: Recipe, timeline: Timeline, made: dict[str, Artifact], version: int | None, error: HubtuneError | None
) -> RunReport:
    found = EvaluationFacts.model_validate(made["evaluation"].facts).metrics if "evaluation" in made else {}
    latest = PublishedModel(Store.open(), str(recipe.name)).latest() if version is not None else None
    return RunReport(
        run=str(flow_run.id),
        state="Failed" if error else "Completed",
        model=str(recipe.name),
        version=version,
        promoted=version is not None and version == latest,
        metrics={split: found[split] for split in SPLITS if split in found},
        tasks=timeline.outcomes,
        artifacts={block: artifact.uri for block, artifact in made.items()},
        seconds=timeline.seconds(),
        error=error.to_json() if error else None,
    )
