"""Block 5: a trained classifier -> a `release` artifact, proven, and a version of the model's name."""

import json
from collections.abc import Sequence

from prefect import task
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.states import Completed

from hubtune.errors import HubtuneError, StoreUnavailable
from hubtune.inference.classifier import FORMAT, NORMALISATION
from hubtune.storage import PublishedModel, Store
from hubtune.storage.artifact import Artifact, Producer
from hubtune.storage.journal import Publication, note_publication, publications
from schemas.handoff import EvaluationFacts, ModelFacts, QuarantineFacts, RowsFacts
from schemas.recipe import Recipe
from schemas.report import PUBLISHED_EVENT
from tasks.execution import RETRY, Outputs, cached, outputs_of, run_once, say
from tasks.publish.history import read_history
from tasks.publish.run_report import Judged, Published, published_report, unpublished_report
from tasks.run_page import data_key, drift_key, evaluation_key, history_page, pages, show_report

VERSION = 2


@task(name="Publish model", timeout_seconds=2 * 3600, **RETRY)
def publish_model(
    model: Artifact,
    rows: Artifact,
    classifier: Artifact,
    evaluation: Artifact,
    logs: Artifact,
    quarantine: Artifact,
    recipe: Recipe,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Export the classifier, prove that the files answer as it did, and publish them as a version.

    The report on the run is shown whether there was anything to do or not.

    Args:
        model: the pretrained model that the classifier was trained from.
        rows: clean rows; the test split is the proof.
        classifier: what was trained, with its answers to the test split.
        evaluation: how good it is; the main figures are published with it.
        logs: of the training, for TensorBoard; they are named in the version's lineage and change nothing in it.
        quarantine: rows that were turned away; the report tells of them.
        recipe: the whole recipe; it is published with the model.
        refresh: export and prove again even if the result is in the store.

    Returns:
        `release`: the published files, in a state whose message says what came of the run. The version's number is
        `PublishedModel.find(release)`.
    """
    store = Store.open()
    assert recipe.name is not None  # a validated recipe has a name
    published = PublishedModel(store, recipe.name)

    def work(producer: Producer) -> Outputs:
        from tasks.publish.release import build_release

        with store.scratch() as folder:
            facts = build_release(
                store.checkout(model),
                ModelFacts.model_validate(model.facts),
                store.checkout(classifier),
                store.checkout(rows),
                store.checkout(evaluation),
                recipe,
                folder,
                say(),
            )
            lineage = [*inputs, logs]
            return {"release": store.put("release", folder, producer=producer, inputs=lineage, facts=facts)}

    # The classifier's digest stands for all that went into it: a recipe that says the same in other words, or reads
    # the same rows from another place, is the same release. The evaluation is an input of its own: its figures are
    # published, and they change with the recipe's evaluate section.
    inputs = [model, rows, classifier, evaluation]
    parameters = {"name": recipe.name, "format": FORMAT, "normalisation": NORMALISATION}
    try:
        result = run_once(store, "publish", VERSION, parameters, inputs, work, refresh=refresh)
        outputs = outputs_of(result)
        version = published.find(outputs["release"])
        new = version is None
        if version is None:
            version = published.publish(outputs["release"])
            say()(f"published {recipe.name} version {version}")
            _note(published, version)
    except Exception as error:
        # What is tried again by itself is not worth a report each time.
        if not _is_tried_again(error):
            _show_failure(store, recipe.name, error, rows, quarantine, evaluation)
        raise
    # What is done again by Retry was published by this run all the same.
    new = new or _publisher(published, version) == str(flow_run.id)
    if new:
        _tell(recipe.name, version, evaluation)
    message = _show(published, version, new, rows, quarantine, evaluation)
    if new or isinstance(result, dict):
        return Completed(message=message, data=outputs)
    return cached(outputs, message)


def _is_tried_again(error: Exception) -> bool:
    return isinstance(error, HubtuneError) and error.retryable and (task_run.run_count or 0) <= RETRY["retries"]


def _tell(name: str, version: int, evaluation: Artifact) -> None:
    """An event for whoever wants to know of new versions."""
    test = EvaluationFacts.model_validate(evaluation.facts).metrics["test"]
    emit_event(
        PUBLISHED_EVENT,
        resource={
            "prefect.resource.id": f"hubtune.model.{name}.{version}",
            "prefect.resource.name": f"Version {version} of {name}",
        },
        payload={"text": f"Test accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on {test.rows:,} rows."},
    )


def _publisher(model: PublishedModel, version: int) -> str | None:
    """The flow run that published a version, where that is known."""
    try:
        noted = publications(model.store, model.name, [version]).get(version)
    except StoreUnavailable as error:
        get_run_logger().warning("which run published it could not be read: %s", error)
        return None
    return None if noted is None else noted.run


def _note(model: PublishedModel, version: int) -> None:
    if flow_run.id is None:
        return
    try:
        note_publication(model.store, model.name, version, Publication(run=str(flow_run.id)))
    except StoreUnavailable as error:
        # The version is out; its report will not be linked to by those of later ones.
        get_run_logger().warning("which run published it could not be noted: %s", error)


def _show(
    model: PublishedModel, version: int, new: bool, rows: Artifact, quarantine: Artifact, evaluation: Artifact
) -> str:
    """Show the report of a run whose result is published; what came of it, in one line."""
    try:
        history = read_history(model, version)
        before = history.before(version)
        noted = publications(model.store, model.name, [version, *([before.version] if before else [])])
        makers = {number: publication.run for number, publication in noted.items()}
        outcome = Published(model.name, version, new, history)
        place = f"{model.store.root}/models/{model.name}/{version}"
        links = _links(model.name, makers)
        report = published_report(outcome, place, links, _judged(model.store, rows, quarantine, evaluation))
    except Exception as error:
        # The version is out, whatever can be told of it.
        get_run_logger().warning("there is no report on this run: %s", error)
        return f"version {version} published" if new else f"already published as version {version}"
    headline = outcome.headline()
    show_report(report, evaluation_key(model.name), f"{model.name}: {headline}")
    return headline


def _show_failure(
    store: Store, name: str, error: Exception, rows: Artifact, quarantine: Artifact, evaluation: Artifact
) -> None:
    try:
        report = unpublished_report(name, error, _links(name, {}), _judged(store, rows, quarantine, evaluation))
    except Exception as another:
        # The error that failed it is what is told.
        get_run_logger().warning("there is no report on this run: %s", another)
        return
    show_report(report, evaluation_key(name), f"{name}: not published")


def _judged(store: Store, rows: Artifact, quarantine: Artifact, evaluation: Artifact) -> Judged:
    folder = store.checkout(evaluation, only=lambda path: path in ("evaluation.json", "report.md"))
    return Judged(
        RowsFacts.model_validate(rows.facts),
        QuarantineFacts.model_validate(quarantine.facts),
        json.loads((folder / "evaluation.json").read_bytes())["intervals"],
        (folder / "report.md").read_text(encoding="utf-8"),
    )


def _links(name: str, makers: dict[int, str]) -> Sequence[tuple[str, str]]:
    """What else can be looked at: the reports of this run, and the runs that published these versions."""
    if flow_run.id is None:
        return []
    this_run, shown = str(flow_run.id), evaluation_key(name)
    known = pages([this_run, *makers.values()], [shown, data_key(name), drift_key(name)])
    wanted: list[tuple[str, tuple[str, str | None]]] = [
        ("the rows of this run", (this_run, data_key(name))),
        ("their drift", (this_run, drift_key(name))),
    ]
    for version, run in sorted(makers.items(), reverse=True):
        if run != this_run:
            wanted += [
                (f"report on version {version}", (run, shown)),
                (f"run that published version {version}", (run, None)),
            ]
    links = [(words, known[place]) for words, place in wanted if place in known]
    history = history_page(shown)
    return [*links, ("all reports on this model", history)] if history else links
