"""Embedding and training, each in a process of its own.

`embed` and `train` here take and give what `embed.embed` and `train.train` do. In a process that does nothing else,
TensorFlow starts with the settings that make equal runs equal, no other block's TensorFlow state is in the way, and
all memory is given back at the end.
"""

from pathlib import Path
from typing import Any

from hubtune.progress import Say
from hubtune.storage import Store
from hubtune.storage.artifact import TaskKey
from schemas.handoff import ClassifierFacts, EmbeddingsFacts, ModelFacts
from schemas.train_recipe import TrainRecipe
from tasks.fresh_process import run_in_fresh_process, serve

# Prefect's task timeout is the same; this one also ends the process.
_TIMEOUT_SECONDS = 24 * 3600


def embed(
    model: Path,
    facts: ModelFacts,
    texts: Path,
    to_embed: Path,
    shard: tuple[int, int],
    recipe: TrainRecipe,
    folder: Path,
    say: Say,
) -> EmbeddingsFacts:
    """`tasks.retrain.embed.embed` in a process of its own, for a part of what a `texts_to_embed` artifact names."""
    answer = _ask(
        say,
        work="embed",
        model=str(model),
        facts=facts.model_dump(),
        texts=str(texts),
        to_embed=str(to_embed),
        shard=shard,
        recipe=recipe.model_dump(),
        folder=str(folder),
    )
    return EmbeddingsFacts.model_validate(answer)


def train(
    model: Path,
    facts: ModelFacts,
    rows: Path,
    tokens: Path | None,
    embeddings: list[Path],
    recipe: TrainRecipe,
    checkpoints: TaskKey | None,
    folder: Path,
    say: Say,
) -> ClassifierFacts:
    """`tasks.retrain.train.train` in a process of its own, with its checkpoints in the store under this key."""
    answer = _ask(
        say,
        # What trains an encoder needs most of a run's memory, and mostly minutes.
        alone=recipe.mode != "feature_extraction",
        work="train",
        model=str(model),
        facts=facts.model_dump(),
        rows=str(rows),
        tokens=str(tokens) if tokens else None,
        embeddings=[str(path) for path in embeddings],
        recipe=recipe.model_dump(),
        checkpoints=checkpoints.model_dump() if checkpoints else None,
        folder=str(folder),
    )
    return ClassifierFacts.model_validate(answer)


def _ask(say: Say, *, alone: bool = False, **request: Any) -> dict[str, Any]:
    return run_in_fresh_process("tasks.retrain.worker", request, say, timeout_seconds=_TIMEOUT_SECONDS, alone=alone)


def _work(request: dict[str, Any], say: Say) -> dict[str, Any]:
    model, facts = Path(request["model"]), ModelFacts.model_validate(request["facts"])
    recipe, folder = TrainRecipe.model_validate(request["recipe"]), Path(request["folder"])
    if request["work"] == "embed":
        from tasks.retrain.embed import embed as embed_here
        from tasks.retrain.embeddings import read_keys

        wanted = read_keys(Path(request["to_embed"]))[slice(*request["shard"])]
        return embed_here(model, facts, Path(request["texts"]), wanted, recipe, folder, say).model_dump()
    from tasks.retrain.checkpoints import Checkpoints
    from tasks.retrain.strategy import is_first_worker
    from tasks.retrain.train import train as train_here

    tokens = Path(request["tokens"]) if request["tokens"] else None
    embeddings = [Path(path) for path in request["embeddings"]]
    key = request["checkpoints"]
    writes = recipe.mode == "feature_extraction" or is_first_worker(recipe.strategy)
    keeper = Checkpoints(Store.open(), TaskKey.model_validate(key), say, writes=writes) if key else None
    trained = train_here(model, facts, Path(request["rows"]), tokens, embeddings, recipe, keeper, folder, say)
    return trained.model_dump()


if __name__ == "__main__":
    serve(_work)
