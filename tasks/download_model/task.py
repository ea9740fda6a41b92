"""Block 1: a handle -> a `model` artifact. Consumes the recipe's model section, emits a model ready to train on."""

from prefect import task
from prefect.client.schemas.objects import State

from hubtune.errors import SourceUnavailable
from hubtune.storage import Store
from hubtune.storage.artifact import Producer
from schemas.recipe import ModelRecipe
from tasks.execution import RETRY, Outputs, run_once, say

VERSION = 1


@task(name="Download model", timeout_seconds=3600, **RETRY)
def download_model(recipe: ModelRecipe, refresh: bool = False) -> Outputs | State[Outputs]:
    """Fetch the pretrained model and inspect what arrived.

    Args:
        recipe: where the model comes from.
        refresh: fetch it even if it is in the store.

    Returns:
        `model`: the model artifact.
    """
    from tasks.download_model.fetch import fetch, source_fingerprint
    from tasks.http import shown

    store = Store.open()
    fingerprint = source_fingerprint(recipe, say())

    def work(producer: Producer) -> Outputs:
        with store.scratch() as folder:
            facts = fetch(recipe, folder, say())
            if source_fingerprint(recipe, say()) != fingerprint:
                raise SourceUnavailable(
                    "the model changed while it was fetched", where="model.source", remedy="it is tried again by itself"
                )
            # What is recorded is read by many: a query may hold a token.
            handles = {name: handle and shown(handle) for name, handle in recipe.model_dump().items()}
            recorded = producer.model_copy(update={"parameters": handles})
            return {"model": store.put("model", folder, producer=recorded, facts=facts)}

    parameters = recipe.model_dump() | {"fingerprint": fingerprint}
    return run_once(store, "download_model", VERSION, parameters, [], work, refresh=refresh)
