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
from schemas.recipe import TrainRecipe
from tasks.fresh_process import run_in_fresh_process, serve

# Prefect's task timeout is the same; this one also ends the process.
_TIMEOUT_SECONDS = 24 * 3600


def embed(
    model: Path,
    facts: ModelFacts,
    texts: Path,
    recipe: TrainRecipe,
    known: list[Path],
    shard: tuple[int, int],
    folder: Path,
    say: Say,
) -> EmbeddingsFacts:
    """`tasks.retrain.embed.embed` in a process of its own."""
    answer = _ask(
        say,
        work="embed",
        model=str(model),
        facts=facts.model_dump(),
        texts=str(texts),
        recipe=recipe.model_dump(),
        known=[str(path) for path in known],
        shard=shard,
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


def _ask(say: Say, **request: Any) -> dict[str, Any]:
    return run_in_fresh_process("tasks.retrain.worker", request, say, timeout_seconds=_TIMEOUT_SECONDS)


def _work(request: dict[str, Any], say: Say) -> dict[str, Any]:
    model, facts = Path(request["model"]), ModelFacts.model_validate(request["facts"])
    recipe, folder = TrainRecipe.model_validate(request["recipe"]), Path(request["folder"])
    if request["work"] == "embed":
        from tasks.retrain.embed import embed as embed_here

        known = [Path(path) for path in request["known"]]
        begin, end = request["shard"]
        return embed_here(model, facts, Path(request["texts"]), recipe, known, (begin, end), folder, say).model_dump()
    from tasks.retrain.checkpoints import Checkpoints
    from tasks.retrain.strategy import is_first_worker
    from tasks.retrain.train import train as train_here

    tokens = Path(request["tokens"]) if request["tokens"] else None
    embeddings = [Path(path) for path in request["embeddings"]]
    key = request["checkpoints"]
    keeper = Checkpoints(Store.open(), TaskKey.model_validate(key), say, writes=is_first_worker()) if key else None
    trained = train_here(model, facts, Path(request["rows"]), tokens, embeddings, recipe, keeper, folder, say)
    return trained.model_dump()


if __name__ == "__main__":
    serve(_work)
