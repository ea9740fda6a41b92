"""Block 2: a source -> a `raw` artifact. Consumes the recipe's data section, emits the rows as they came."""

from prefect import task
from prefect.blocks.system import Secret
from prefect.client.schemas.objects import State

from hubtune.errors import InvalidData, SourceUnavailable
from hubtune.storage import Store
from hubtune.storage.artifact import Producer
from schemas.data_recipe import DataRecipe
from tasks.execution import RETRY, Outputs, run_once, say

VERSION = 1


@task(name="Download data", timeout_seconds=3600, **RETRY)
def download_data(recipe: DataRecipe, refresh: bool = False) -> Outputs | State[Outputs]:
    """Read the labelled text.

    Args:
        recipe: where the text comes from, and its columns.
        refresh: read it even if it is in the store.

    Returns:
        `raw`: the rows as they came.
    """
    from tasks.download_data.read import read, source_fingerprint
    from tasks.http import shown

    store = Store.open()
    fingerprint = source_fingerprint(recipe, say())

    def work(producer: Producer) -> Outputs:
        with store.scratch() as folder:
            facts = read(recipe, folder, say(), _password(recipe))
            if source_fingerprint(recipe, say()) != fingerprint:
                raise SourceUnavailable(
                    "the data changed while it was read",
                    where="data",
                    remedy="start the run when the export is complete; it is tried again by itself",
                )
            # What is recorded is read by many: a query may hold a token.
            handles = {name: shown(handle, patterns=True) for name, handle in recipe.handles.items()}
            recorded = producer.model_copy(update={"parameters": parameters | handles})
            return {"raw": store.put("raw", folder, producer=recorded, facts=facts)}

    # The class map and the separator are applied by preprocess: others do not mean other rows.
    parameters = recipe.model_dump(exclude={"labels", "unmapped", "label_separator"}) | {"fingerprint": fingerprint}
    if recipe.label_separator is not None:
        parameters["lists"] = True
    # Where nothing tells whether the content is the same, it is read again; if it is the same, nothing follows from it.
    unknown = fingerprint is None
    return run_once(store, "download_data", VERSION, parameters, [], work, refresh=refresh or unknown)


def _password(recipe: DataRecipe) -> str | None:
    if recipe.password_block is None:
        return None
    try:
        block = Secret.load(recipe.password_block)
    except ValueError as error:
        raise InvalidData(
            f"There is no Prefect secret block named {recipe.password_block!r}.",
            where="data.password_block",
            remedy="create it on the page Blocks of the Prefect UI (type Secret), or correct its name",
        ) from error
    assert isinstance(block, Secret)
    return str(block.get())
