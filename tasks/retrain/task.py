"""Block 4: model + rows -> a `classifier` artifact, by way of `tokens` and `embeddings`.

Consumes what blocks 1 and 3 emit and the recipe's train section. Tokens and embeddings are artifacts of their own, so
that another head, or a few more rows, do not pay for them again.
"""

from pathlib import Path
from typing import Any, Literal

from prefect import task
from prefect.client.schemas.objects import State

from hubtune.errors import CorruptArtifact
from hubtune.inference.classifier import NORMALISATION
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer, TaskKey, task_key
from schemas.handoff import ModelFacts, TextsToEmbedFacts, TokensFacts
from schemas.train_recipe import TrainRecipe
from tasks.cluster import run_each
from tasks.execution import RETRY, RETRY_ONCE, Outputs, run_once, say, say_and_show

TOKENISE_VERSION = 2
EMBED_VERSION = 3
TRAIN_VERSION = 10

BLOCK_VERSION = 1


def block_parameters(recipe: TrainRecipe) -> dict[str, Any]:
    """What the result of the block as a whole depends on, besides its inputs.

    Args:
        recipe: how to train.

    Returns:
        JSON values.
    """
    versions = [TOKENISE_VERSION, EMBED_VERSION, TRAIN_VERSION]
    return recipe.model_dump() | {"versions": versions, "normalisation": NORMALISATION}


def block_key(model: Artifact, rows: Artifact, recipe: TrainRecipe) -> TaskKey:
    """The key of the block as a whole, for those who have it done elsewhere.

    Args:
        model: the pretrained model.
        rows: clean rows.
        recipe: how to train.

    Returns:
        The key under which the classifier is remembered.
    """
    return task_key("retrain", BLOCK_VERSION, block_parameters(recipe), [model, rows])


@task(name="Tokenise texts", timeout_seconds=3600, **RETRY)
def tokenise_texts(
    model: Artifact, rows: Artifact, max_length: int | Literal["auto"], refresh: bool = False
) -> Outputs | State[Outputs]:
    """Turn every text into token ids, once, so that no training step handles strings.

    Args:
        model: a BERT-like encoder with its tokenizer.
        rows: clean rows.
        max_length: tokens per text, special ones included; or "auto".
        refresh: do it even if the result is in the store.

    Returns:
        `tokens`: token ids by split.
    """
    store = Store.open()

    def work(producer: Producer) -> Outputs:
        from tasks.retrain.tokenise import tokenise

        with store.scratch() as folder:
            known = ModelFacts.model_validate(model.facts)
            facts = tokenise(
                store.checkout(model),
                store.checkout(rows),
                max_length,
                known.max_positions,
                folder,
                say(),
                takes_pairs=known.pairs,
            )
            return {"tokens": store.put("tokens", folder, producer=producer, inputs=[model, rows], facts=facts)}

    parameters = {"max_length": max_length, "normalisation": NORMALISATION}
    return run_once(store, "retrain.tokenise", TOKENISE_VERSION, parameters, [model, rows], work, refresh=refresh)


# A killed run loses at most so many, which take minutes; a process of its own costs a shard a second or two.
SHARD_TEXTS = 50_000


@task(name="Embed texts", timeout_seconds=24 * 3600, **RETRY_ONCE)
def embed_texts(
    model: Artifact, texts: Artifact, recipe: TrainRecipe, refresh: bool = False
) -> Outputs | State[Outputs]:
    """Compute the text vectors of a frozen encoder, for texts that have none in the store yet.

    Args:
        model: the pretrained model.
        texts: token ids, or clean rows where the model takes strings.
        recipe: pooling.
        refresh: embed every text again.

    Returns:
        Artifacts that together hold a vector for each text, by digest.
    """
    store = Store.open()
    recipe = with_length_of(texts, recipe)
    parameters = _embedding_parameters(model, recipe)
    # All vectors that this model gives under these parameters, from whichever run: the collection grows by one
    # artifact for each run that brings new texts.
    versions = {"tokenise": TOKENISE_VERSION, "normalisation": NORMALISATION}
    collection = f"embeddings/{task_key('retrain.embed', EMBED_VERSION, parameters | versions, [model]).digest}"

    def work(producer: Producer) -> Outputs:
        from tasks.retrain.embeddings import Embeddings, distinct_keys, write_keys

        wanted = distinct_keys(store.checkout(texts))
        known: dict[str, tuple[Artifact, Path]] = {}
        for artifact in [] if refresh else store.collection(collection):
            try:
                folder = store.checkout(artifact)
            except CorruptArtifact as error:
                say()(f"embeddings left out and computed again: {error.what}")
                continue
            # Other data sets of the same model share the collection; theirs are no origin of this classifier.
            if len(Embeddings([folder]).unknown(wanted)) < len(wanted):
                known[artifact.digest] = (artifact, folder)
        outputs = {digest: artifact for digest, (artifact, _) in known.items()}
        new = wanted[Embeddings([folder for _, folder in known.values()]).unknown(wanted)]
        say()(f"{len(wanted):,} distinct texts, {len(wanted) - len(new):,} of them embedded before")
        if not len(new):
            return outputs
        with store.scratch() as folder:
            write_keys(folder, new)
            facts = TextsToEmbedFacts(texts=len(new))
            to_embed = store.put("texts_to_embed", folder, producer=producer, inputs=[texts], facts=facts)
        shard = {"model": model, "texts": texts, "to_embed": to_embed, "recipe": recipe, "store": store.root}
        shards = [(begin, min(begin + SHARD_TEXTS, len(new))) for begin in range(0, len(new), SHARD_TEXTS)]
        calls = [shard | {"shard": each, "refresh": refresh} for each in shards]
        made = run_each(embed_shard, calls, takes_all_cores=True)
        # Not before all are done: the next run after a kill finds the same texts unknown, and so the same shards.
        for embeddings in (each["embeddings"] for each in made):
            store.append(collection, embeddings)
            outputs[embeddings.digest] = embeddings
        return outputs

    return run_once(store, "retrain.embed", EMBED_VERSION, parameters, [model, texts], work, refresh=refresh)


# Without Prefect's timeout, which does nothing in a worker's thread; the process that embeds has its own.
# The task that asks for it tries again; what is done by then is not done again.
@task(name="Embed shard", task_run_name="Embed texts {shard}", **(RETRY | {"retries": 0}))
def embed_shard(
    model: Artifact,
    texts: Artifact,
    to_embed: Artifact,
    shard: tuple[int, int],
    recipe: TrainRecipe,
    store: str,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Compute the text vectors of some of the texts. It may run on a machine where nothing else of the flow does.

    Args:
        model: the pretrained model.
        texts: token ids, or clean rows where the model takes strings.
        to_embed: keys of the texts that have no vector yet.
        shard: begin and end (exclusive) of the part of them that is embedded.
        recipe: pooling.
        store: root of the artifact store.
        refresh: compute them even if they are in the store.

    Returns:
        `embeddings`: a vector for each text of the shard.
    """
    opened = Store.open(store)

    def work(producer: Producer) -> Outputs:
        from tasks.retrain.worker import embed

        facts = ModelFacts.model_validate(model.facts)
        texts_folder, keys_folder = opened.checkout(texts), opened.checkout(to_embed)
        with opened.scratch() as folder, say_and_show() as tell:
            found = embed(opened.checkout(model), facts, texts_folder, keys_folder, shard, recipe, folder, tell)
            made = opened.put("embeddings", folder, producer=producer, inputs=[model, texts], facts=found)
        return {"embeddings": made}

    parameters = _embedding_parameters(model, recipe) | {"shard": shard}
    inputs = [model, texts, to_embed]
    return run_once(opened, "retrain.embed_shard", EMBED_VERSION, parameters, inputs, work, refresh=refresh)


def _embedding_parameters(model: Artifact, recipe: TrainRecipe) -> dict[str, Any]:
    """What of a recipe the vectors depend on."""
    pooling = recipe.pooling if ModelFacts.model_validate(model.facts).interface == "bert_encoder" else None
    parameters = {"pooling": pooling, "max_length": recipe.max_length if pooling else None}
    # Since these are computed without the other tokens of the last layer, they are rounded otherwise.
    return parameters | ({"last_layer": "first token"} if pooling in ("cls", "pooled") else {})


@task(name="Train classifier", timeout_seconds=24 * 3600, **RETRY_ONCE)
def train_classifier(
    model: Artifact,
    rows: Artifact,
    tokens: Artifact | None,
    embeddings: list[Artifact],
    recipe: TrainRecipe,
    refresh: bool = False,
) -> Outputs | State[Outputs]:
    """Train, keep the best weights, and let them answer the validation and the test split.

    Args:
        model: the pretrained model.
        rows: clean rows.
        tokens: token ids (BERT-like encoders).
        embeddings: text vectors (feature extraction).
        recipe: how to train.
        refresh: train even if the result is in the store.

    Returns:
        `classifier`: weights, history, answers.
    """
    store = Store.open()
    recipe = with_length_of(tokens, recipe)
    inputs = [model, rows, *([tokens] if tokens else []), *embeddings]
    key = task_key("retrain.train", TRAIN_VERSION, recipe.model_dump(), inputs)

    def work(producer: Producer) -> Outputs:
        from tasks.retrain.checkpoints import Checkpoints
        from tasks.retrain.worker import train

        checkpoints = Checkpoints(store, key, say())
        if refresh:
            checkpoints.discard()
        with store.scratch() as folder, say_and_show() as tell:
            facts = train(
                store.checkout(model),
                ModelFacts.model_validate(model.facts),
                store.checkout(rows),
                store.checkout(tokens) if tokens else None,
                [store.checkout(artifact) for artifact in embeddings],
                recipe,
                key,
                folder,
                tell,
            )
            classifier = store.put("classifier", folder, producer=producer, inputs=inputs, facts=facts)
        checkpoints.discard()
        return {"classifier": classifier}

    return run_once(store, "retrain.train", TRAIN_VERSION, recipe.model_dump(), inputs, work, refresh=refresh)


def with_length_of(tokens: Artifact | None, recipe: TrainRecipe) -> TrainRecipe:
    """The recipe with the length at which texts were cut, where it asks for `auto`."""
    if tokens is None or tokens.kind != "tokens":
        return recipe
    return recipe.model_copy(update={"max_length": TokensFacts.model_validate(tokens.facts).max_length})
