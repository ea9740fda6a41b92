"""Embeds and preprocesses small data sets in shards, as a flow: `... RAW CASE,... [ROWS MODEL]`. Prints the digests."""

import json
import sys
from pathlib import Path

from prefect import flow

from hubtune.storage import Store
from hubtune.storage.artifact import Producer
from schemas.data_recipe import DataRecipe
from schemas.handoff import RawFacts, RowsFacts
from schemas.recipe import PreprocessRecipe
from tasks.execution import outputs_of
from tasks.preprocess import task as preprocess
from tasks.preprocess.task import preprocess_rows
from tasks.retrain import task
from tasks.retrain.task import embed_texts, tokenise_texts
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, recipe
from tests.road.shard_cases import CASES

PRODUCER = Producer(task="test", version=1, parameters={})

task.SHARD_TEXTS = 150
preprocess.BUCKET_ROWS = 300


@flow(name="Work in shards", result_serializer="json")
def work_in_shards(raw: Path, cases: list[str], inputs: list[Path]) -> dict[str, list[str]]:
    digests = {"embeddings": embed_in_shards(*inputs)} if inputs else {}
    for case in cases:
        folder = raw / case if (raw / case).exists() else raw / "plain"
        facts = RawFacts(rows=900, files=1, given_splits=case in ("given", "pairs"))
        rows = Store.open().put("raw", folder, producer=PRODUCER, facts=facts)
        recipe, data = CASES[case]
        made = outputs_of(preprocess_rows(rows, PreprocessRecipe(**recipe), DataRecipe.model_validate(data), "shards"))
        digests[case] = [artifact.digest for artifact in made.values()]
    return digests


def embed_in_shards(rows: Path, model: Path) -> list[str]:
    store, producer = Store.open(), PRODUCER
    pretrained = store.put("model", model, producer=producer, facts=FACTS)
    facts = RowsFacts(train=240, validation=60, test=60, labels=LABELS)
    clean = store.put("rows", rows, producer=producer, facts=facts)
    tokens = outputs_of(tokenise_texts(pretrained, clean, MAX_LENGTH))["tokens"]
    return sorted(outputs_of(embed_texts(pretrained, tokens, recipe())))


if __name__ == "__main__":
    raw, cases, *inputs = sys.argv[1:]
    print(json.dumps(work_in_shards(Path(raw), cases.split(","), list(map(Path, inputs)))))
