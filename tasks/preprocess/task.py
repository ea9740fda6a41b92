"""Block 3: raw rows -> a `rows` artifact (clean, split) and a `quarantine` artifact (turned away, with the report)."""

from pathlib import Path
from typing import Literal

from prefect import task
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import task_run

from hubtune.inference.classifier import NORMALISATION
from hubtune.inference.replacements import Replacement
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer
from schemas.data_recipe import DataRecipe
from schemas.handoff import QuarantineFacts, TextsFacts
from schemas.recipe import PreprocessRecipe
from schemas.report import QUARANTINE_EVENT
from tasks.cluster import has_cluster, run_each
from tasks.execution import RETRY, Outputs, outputs_of, run_once, say
from tasks.run_page import data_key, show_report

VERSION = 4
TEXTS_VERSION = 2

_TEXTS = "texts.parquet"


@task(name="Preprocess rows", timeout_seconds=3600, **RETRY)
def preprocess_rows(
    raw: Artifact, recipe: PreprocessRecipe, data: DataRecipe, name: str, refresh: bool = False
) -> Outputs | State[Outputs]:
    """Validate, normalise, deduplicate and split the rows.

    Args:
        raw: the rows as they came.
        recipe: shares, limits.
        data: the class map; what stands between the labels of a row.
        name: the model's name; the report is shown under it, and depends on it in nothing else.
        refresh: do it even if the result is in the store.

    Returns:
        `rows`: clean rows by split. `quarantine`: rows turned away, and the report on all rows.
    """
    store = Store.open()
    contract = None
    if recipe.contract is not None:
        from tasks.preprocess.contract import Contract

        contract = Contract(recipe.contract)

    def work(producer: Producer) -> Outputs:
        from tasks.preprocess.clean import preprocess
        from tasks.preprocess.texts import raw_shards

        shards, texts = raw_shards(store.checkout(raw)), list[Path]()
        if has_cluster() and len(shards) > 1:
            shard = {"raw": raw, "replace": recipe.replace, "together": data.kept_together}
            others = {"store": store.root, "refresh": refresh}
            made = run_each(read_shard, [shard | others | {"shard": path.name} for path in shards])
            texts = [store.checkout(each["texts"]) / _TEXTS for each in made]
        with store.scratch() as rows, store.scratch() as quarantine:
            rows_facts, quarantine_facts = preprocess(shards, texts, recipe, data, contract, rows, quarantine, say())
            return {
                "rows": store.put("rows", rows, producer=producer, inputs=[raw], facts=rows_facts),
                "quarantine": store.put(
                    "quarantine", quarantine, producer=producer, inputs=[raw], facts=quarantine_facts
                ),
            }

    parameters = recipe.model_dump() | {"labels": list((data.labels or {}).items()), "normalisation": NORMALISATION}
    parameters |= {"unmapped": data.unmapped, "together": data.kept_together}
    if contract is not None:
        parameters["contract_digest"] = contract.digest
    if data.label_separator is not None:
        parameters["label_separator"] = data.label_separator
    result = run_once(store, "preprocess", VERSION, parameters, [raw], work, refresh=refresh)
    outputs = outputs_of(result)
    if isinstance(result, dict):
        # Only when it was worked for: whoever has been told of the rows of last night need not be told every night.
        _tell_of_quarantine(outputs["quarantine"], recipe.max_quarantine)
    report = (store.checkout(outputs["quarantine"]) / "report.md").read_text(encoding="utf-8")
    show_report(report, data_key(name), f"The rows of {name}: what came in, what was kept, what was turned away")
    return result


def _tell_of_quarantine(quarantine: Artifact, limit: float) -> None:
    from tasks.preprocess.refuse import much_in_quarantine

    much = much_in_quarantine(QuarantineFacts.model_validate(quarantine.facts), limit)
    if much is None:
        return
    get_run_logger().warning(much)
    emit_event(
        QUARANTINE_EVENT,
        resource={
            "prefect.resource.id": f"hubtune.quarantine.{quarantine.digest}",
            "prefect.resource.name": "Rows in quarantine",
        },
        payload={"text": f"{task_run.task_name}: {much}\n{quarantine.uri}/report.html"},
    )


# Without Prefect's timeout, which does nothing in a worker's thread. The task that asks for it tries again.
@task(name="Read shard", task_run_name="Read texts of {shard}", **(RETRY | {"retries": 0}))
def read_shard(
    raw: Artifact,
    shard: str,
    replace: list[Replacement],
    together: Literal["group", "text", "text_pair"] | None,
    store: str,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Normalise and hash the texts of a shard. It may run on a machine where nothing else of the flow does.

    Args:
        raw: the rows as they came.
        shard: name of the shard's file.
        replace: what is replaced in the texts.
        together: the column whose equal values are kept in one split.
        store: root of the artifact store.
        refresh: do it even if the result is in the store.

    Returns:
        `texts`: what is told of the texts of the shard.
    """
    opened = Store.open(store)

    def work(producer: Producer) -> Outputs:
        import polars as pl

        from tasks.preprocess.texts import read_texts

        folder = opened.checkout(raw, only=lambda path: path == f"rows/{shard}")
        table = read_texts(pl.read_parquet(folder / "rows" / shard, glob=False), replace, together)
        say()(f"the texts of {table.height:,} rows are read")
        with opened.scratch() as made:
            table.write_parquet(made / _TEXTS, compression="zstd")
            facts = TextsFacts(rows=table.height)
            return {"texts": opened.put("texts", made, producer=producer, inputs=[raw], facts=facts)}

    parameters = {"shard": shard, "replace": replace, "together": together, "normalisation": NORMALISATION}
    return run_once(opened, "preprocess.texts", TEXTS_VERSION, parameters, [raw], work, refresh=refresh)
