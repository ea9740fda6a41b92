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
from schemas.handoff import QuarantineFacts, RawFacts, TextsFacts, VerdictsFacts
from schemas.recipe import PreprocessRecipe
from schemas.report import QUARANTINE_EVENT
from tasks.cluster import has_cluster, workers
from tasks.execution import RETRY, Outputs, outputs_of, run_once, say
from tasks.run_page import data_key, show_report

VERSION = 4
TEXTS_VERSION = 3
VERDICTS_VERSION = 1

# How many rows there are for a further bucket, and how many buckets at most. Each shard has a file for each bucket: of
# many small ones, reading would take longer than judging.
BUCKET_ROWS = 250_000
_MOST_BUCKETS = 64
# What of this section of the recipe verdicts do not depend on: another limit of the quarantine, say, is no reason to
# judge again. (Replacements are in the texts.)
_AFTER_VERDICTS = {"max_quarantine", "near_duplicates", "replace", "contract"}


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

        shards, read, verdicts = raw_shards(store.checkout(raw)), list[Path](), list[Path]()
        if has_cluster() and len(shards) > 1:
            read, verdicts = _on_cluster(store, raw, shards, recipe, data, refresh)
        with store.scratch() as rows, store.scratch() as quarantine:
            rows_facts, quarantine_facts = preprocess(
                shards, recipe, data, contract, rows, quarantine, say(), read=read, verdicts=verdicts
            )
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


def _on_cluster(
    store: Store, raw: Artifact, shards: list[Path], recipe: PreprocessRecipe, data: DataRecipe, refresh: bool
) -> tuple[list[Path], list[Path]]:
    """Read the shards, and judge their rows bucket by bucket, on the workers of a cluster.

    A contract of the user's own is asked of all sound rows at once, before copies are judged: with one there is a
    single bucket, which is left to the task that asks.

    Returns:
        What was read of each shard, and what became of the rows of each bucket.
    """
    from tasks.preprocess.buckets import TEXTS_FILE, VERDICTS_FILE, first_rows

    rows = RawFacts.model_validate(raw.facts).rows
    buckets = count_buckets(len(shards), rows) if recipe.contract is None else 1
    others = {"store": store.root, "refresh": refresh}
    shard = {"raw": raw, "buckets": buckets, "replace": recipe.replace, "together": data.kept_together}
    places = zip(shards, first_rows(shards), strict=True)
    with workers() as each_of:
        made = each_of(read_shard, [shard | others | {"shard": path.name, "first": first} for path, first in places])
        texts = [each["texts"] for each in made]
        if recipe.contract is not None:
            return [store.checkout(each) for each in texts], []
        bucket = {"texts": texts, "recipe": recipe, "data": data}
        verdicts = each_of(judge_bucket, [bucket | others | {"bucket": number} for number in range(buckets)])
    return (
        [store.checkout(each, only=lambda path: path == TEXTS_FILE) for each in texts],
        [store.checkout(each["verdicts"]) / VERDICTS_FILE for each in verdicts],
    )


def count_buckets(shards: int, rows: int) -> int:
    """In how many buckets rows are judged on a cluster.

    Args:
        shards: that there are.
        rows: in all of them.

    Returns:
        As many as shards, unless these are small, or very many.
    """
    return max(1, min(shards, -(-rows // BUCKET_ROWS), _MOST_BUCKETS))


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
    first: int,
    buckets: int,
    replace: list[Replacement],
    together: Literal["group", "text", "text_pair"] | None,
    store: str,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Normalise and hash the texts of a shard. It may run on a machine where nothing else of the flow does.

    Args:
        raw: the rows as they came.
        shard: name of the shard's file.
        first: index of its first row among all rows.
        buckets: how many there are for the rows.
        replace: what is replaced in the texts.
        together: the column whose equal values are kept in one split.
        store: root of the artifact store.
        refresh: do it even if the result is in the store.

    Returns:
        `texts`: what is told of the texts of the shard, and by bucket what its rows are judged by.
    """
    opened = Store.open(store)

    def work(producer: Producer) -> Outputs:
        from tasks.preprocess.buckets import write_shard

        path = opened.checkout(raw, only=lambda path: path == f"rows/{shard}") / "rows" / shard
        with opened.scratch() as made:
            rows = write_shard(path, first, buckets, replace, together, made, "zstd")
            say()(f"the texts of {rows:,} rows are read")
            facts = TextsFacts(rows=rows)
            return {"texts": opened.put("texts", made, producer=producer, inputs=[raw], facts=facts)}

    parameters = {"shard": shard, "replace": replace, "together": together, "normalisation": NORMALISATION}
    parameters |= {"first": first, "buckets": buckets}
    return run_once(opened, "preprocess.texts", TEXTS_VERSION, parameters, [raw], work, refresh=refresh)


# As for shards.
@task(name="Judge bucket", task_run_name="Judge rows of bucket {bucket}", **(RETRY | {"retries": 0}))
def judge_bucket(
    texts: list[Artifact], bucket: int, recipe: PreprocessRecipe, data: DataRecipe, store: str, refresh: bool = False
) -> Outputs | State[Outputs]:
    """Judge the rows of a bucket, each by itself and by its copies, and split them. It may run anywhere, too.

    Args:
        texts: what `read_shard` gave for each shard, in the order of the rows.
        bucket: its number.
        recipe: limits, shares.
        data: the class map; which splits are given.
        store: root of the artifact store.
        refresh: do it even if the result is in the store.

    Returns:
        `verdicts`: what became of each row.
    """
    opened = Store.open(store)

    def work(producer: Producer) -> Outputs:
        from concurrent.futures import ThreadPoolExecutor

        from tasks.preprocess.buckets import VERDICTS_FILE, bucket_file, read_bucket, write_verdicts
        from tasks.preprocess.judge import judge
        from tasks.preprocess.settle import settle

        wanted = bucket_file(bucket)
        with ThreadPoolExecutor(max_workers=8) as threads:  # a store in the cloud takes some round trips for each
            folders = list(threads.map(lambda each: opened.checkout(each, only=lambda path: path == wanted), texts))
        table = settle(judge(read_bucket(folders, bucket), recipe, data), recipe, data)
        say()(f"{table.height:,} rows are judged")
        with opened.scratch() as made:
            write_verdicts(table, made / VERDICTS_FILE)
            facts = VerdictsFacts(rows=table.height)
            return {"verdicts": opened.put("verdicts", made, producer=producer, inputs=texts, facts=facts)}

    # With the version of the block: whoever changes a rule need not remember that there are verdicts, too.
    parameters = recipe.model_dump(exclude=_AFTER_VERDICTS) | {"labels": list((data.labels or {}).items())}
    parameters |= {"preprocess": VERSION}
    parameters |= {"unmapped": data.unmapped, "label_separator": data.label_separator, "bucket": bucket}
    parameters |= {"given": sorted(data.handles)}
    return run_once(opened, "preprocess.verdicts", VERDICTS_VERSION, parameters, texts, work, refresh=refresh)
