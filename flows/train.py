"""Block 4 by itself: a pretrained model and clean rows -> a trained classifier.

`train_block` runs inside the flow that needs the classifier. The flow `Train` does the same where an accelerator is:
another run asks for it (see `flows.accelerator`), and finds the classifier in the store.
"""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.accelerator import TRAINING
from flows.interrupted import end_tasks_of_before
from flows.timeline import Timeline
from hubtune.errors import HubtuneError, InvalidRecipe
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact
from schemas.handoff import ModelFacts
from schemas.train_recipe import TrainRecipe
from tasks.retrain.task import block_key, embed_texts, tokenise_texts, train_classifier


def train_block(timeline: Timeline, model: Artifact, rows: Artifact, recipe: TrainRecipe, refresh: bool) -> Artifact:
    """Tokenise, embed where the encoder is frozen, train.

    Args:
        timeline: runs the tasks.
        model: the pretrained model.
        rows: clean rows.
        recipe: how to train.
        refresh: work even if the results are in the store.

    Returns:
        The classifier.

    Raises:
        HubtuneError: what a task failed with.
    """
    tokens: Artifact | None = None
    embeddings: list[Artifact] = []
    if ModelFacts.model_validate(model.facts).interface == "bert_encoder":
        tokens = timeline.run(tokenise_texts, model, rows, recipe.max_length, refresh)["tokens"]
    if recipe.mode == "feature_extraction":
        vectors = timeline.run(embed_texts, model, tokens or rows, recipe, refresh)
        embeddings = sorted(vectors.values(), key=lambda artifact: artifact.digest)
    classifier = timeline.run(train_classifier, model, rows, tokens, embeddings, recipe, refresh)["classifier"]
    # Whoever asks for it elsewhere finds it, wherever it was trained.
    Store.open().remember(block_key(model, rows, recipe), {"classifier": classifier})
    return classifier


@flow(name=TRAINING, description=__doc__, persist_result=False, result_serializer="json")
def train(model: Artifact, rows: Artifact, recipe: TrainRecipe, refresh: bool = False) -> State[None]:
    """Train a classifier for another run, which finds it in the store.

    Args:
        model: the pretrained model.
        rows: clean rows.
        recipe: how to train.
        refresh: train even if the result is in the store.

    Returns:
        A completed state; a failed one with the cause in its message.
    """
    end_tasks_of_before()
    timeline = Timeline()
    try:
        _check_store(Store.open(), model)
        classifier = train_block(timeline, model, rows, recipe, refresh)
    except HubtuneError as error:
        return Failed(message=f"{timeline.failed_task()}: {error}")
    return Completed(message=f"the classifier is {classifier.uri}")


def _check_store(store: Store, model: Artifact) -> None:
    if not model.uri.startswith(f"{store.root}/"):
        raise InvalidRecipe(
            "this worker has another store than the run that asks for the training",
            where=f"HUBTUNE_STORE of the worker: {store.root}; what it is to train on: {model.uri}",
            remedy="start the workers of all pools with the same HUBTUNE_STORE, which each of them can reach",
        )
