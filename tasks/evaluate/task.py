"""Part of block 4, a task of its own: rows + classifier -> an `evaluation` artifact."""

from prefect import task
from prefect.client.schemas.objects import State

from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer
from schemas.handoff import ClassifierFacts, TensorBoardFacts
from schemas.recipe import EvaluateRecipe
from schemas.train_recipe import TrainRecipe
from tasks.execution import RETRY, Outputs, run_once, say

VERSION = 2


@task(name="Evaluate classifier", timeout_seconds=3600, **RETRY)
def evaluate_classifier(
    rows: Artifact,
    classifier: Artifact,
    recipe: EvaluateRecipe,
    train: TrainRecipe,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Judge a classifier by its answers to the validation and the test split.

    Args:
        rows: clean rows.
        classifier: what was trained on them, with its answers.
        recipe: positive class, metric of the threshold.
        train: how it was trained, and for which task; TensorBoard shows it as hyperparameters.
        refresh: do it even if the result is in the store.

    Returns:
        `evaluation`: every figure, and the report; `tensorboard`: logs of the training.
    """
    store = Store.open()

    def work(producer: Producer) -> Outputs:
        from tasks.evaluate.evaluate import evaluate
        from tasks.evaluate.tensorboard_logs import write_tensorboard_logs

        rows_folder, classifier_folder = store.checkout(rows), store.checkout(classifier)
        with store.scratch() as folder:
            facts = evaluate(rows_folder, classifier_folder, recipe, train.monitor, folder, say(), train.task)
            evaluation = store.put("evaluation", folder, producer=producer, inputs=inputs, facts=facts)
        with store.scratch() as folder:
            write_tensorboard_logs(classifier_folder, rows_folder, train_section, folder, train.task)
            epochs = TensorBoardFacts(epochs=ClassifierFacts.model_validate(classifier.facts).epochs)
            logs = store.put("tensorboard", folder, producer=producer, inputs=inputs, facts=epochs)
        return {"evaluation": evaluation, "tensorboard": logs}

    inputs = [rows, classifier]
    train_section = train.model_dump(mode="json")
    parameters = recipe.model_dump() | {"train": train_section}
    return run_once(store, "evaluate", VERSION, parameters, inputs, work, refresh=refresh)
