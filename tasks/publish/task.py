"""Block 5: a trained classifier -> a `release` artifact, proven, and a version of the model's name."""

from prefect import task
from prefect.client.schemas.objects import State

from hubtune.inference.classifier import FORMAT, NORMALISATION
from hubtune.storage import PublishedModel, Store
from hubtune.storage.artifact import Artifact, Producer
from schemas.handoff import ModelFacts
from schemas.recipe import Recipe
from tasks.execution import RETRY, Outputs, outputs_of, run_once, say

VERSION = 2


@task(name="Publish model", timeout_seconds=2 * 3600, **RETRY)
def publish_model(
    model: Artifact,
    rows: Artifact,
    classifier: Artifact,
    evaluation: Artifact,
    logs: Artifact,
    recipe: Recipe,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Export the classifier, prove that the files answer as it did, and publish them as a version.

    Args:
        model: the pretrained model that the classifier was trained from.
        rows: clean rows; the test split is the proof.
        classifier: what was trained, with its answers to the test split.
        evaluation: how good it is; the main figures are published with it.
        logs: of the training, for TensorBoard; they are named in the version's lineage and change nothing in it.
        recipe: the whole recipe; it is published with the model.
        refresh: export and prove again even if the result is in the store.

    Returns:
        `release`: the published files. The version's number is `PublishedModel.find(release)`.
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
    result = run_once(store, "publish", VERSION, parameters, inputs, work, refresh=refresh)
    outputs = outputs_of(result)
    release = outputs["release"]
    if published.find(release) is not None:
        return result
    version = published.publish(release)
    say()(f"published {recipe.name} version {version}")
    return outputs
