"""Embeds the texts of a small data set in three shards, as a flow: `... STORE ROWS MODEL`. Prints the artifacts."""

import json
import sys
from pathlib import Path

from prefect import flow

from hubtune.storage import Store
from hubtune.storage.artifact import Producer
from schemas.handoff import RowsFacts
from tasks.execution import outputs_of
from tasks.retrain import task
from tasks.retrain.task import embed_texts, tokenise_texts
from tests.retrain.small_inputs import FACTS, LABELS, MAX_LENGTH, recipe

task.SHARD_TEXTS = 150


@flow(name="Embed in shards", result_serializer="json")
def embed_in_shards(rows: Path, model: Path) -> list[str]:
    store, producer = Store.open(), Producer(task="test", version=1, parameters={})
    pretrained = store.put("model", model, producer=producer, facts=FACTS)
    facts = RowsFacts(train=240, validation=60, test=60, labels=LABELS)
    clean = store.put("rows", rows, producer=producer, facts=facts)
    tokens = outputs_of(tokenise_texts(pretrained, clean, MAX_LENGTH))["tokens"]
    return sorted(outputs_of(embed_texts(pretrained, tokens, recipe())))


if __name__ == "__main__":
    print(json.dumps(embed_in_shards(*map(Path, sys.argv[1:]))))
