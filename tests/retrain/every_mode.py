"""Trains in one mode, for tests of several processes; its arguments: MODEL ROWS TOKENS FOLDER MODE [STORE LAST].

A process trains once, as in a run: TensorFlow's threads, which results depend on, follow from its first work. With a
store, each step's state is kept; it stands still after the LAST of them, so that it can be killed.
"""

import time
from pathlib import Path
from typing import Any

from hubtune.progress import Say
from hubtune.storage import Store
from hubtune.storage.artifact import TaskKey, task_key
from tasks.retrain.checkpoints import Checkpoints
from tasks.retrain.embed import embed
from tasks.retrain.embeddings import distinct_keys
from tasks.retrain.fit import Keeper, TrainingState
from tasks.retrain.train import train
from tests.retrain.processes import arguments
from tests.retrain.small_inputs import FACTS, recipe

SETTINGS: dict[str, dict[str, Any]] = {
    "feature_extraction": {"epochs": 3, "dropout": 0.3, "learning_rate": 5e-3},
    "fine_tuning": {"epochs": 2, "learning_rate": 1e-2, "hidden": [8], "activation": "gelu"},
    "partial": {"epochs": 2, "learning_rate": 1e-2, "pooling": "mean_max", "gradual_unfreezing": True},
    "layer_extraction": {"epochs": 2, "learning_rate": 1e-2, "layers": [1, 2], "hidden": [8], "activation": "tanh"},
}


def key(mode: str) -> TaskKey:
    """As that of a task: what the result depends on."""
    return task_key("retrain.train", 1, recipe(mode=mode, **SETTINGS[mode]).model_dump(), [])


class Loud(Checkpoints):
    """Keeps the state after each step, says so, and stands still after a number of them."""

    def __init__(self, store: Store, mode: str, last: int) -> None:
        super().__init__(store, key(mode), print, every_seconds=0, least_seconds=0)
        self._last_step = last

    def offer(self, state: TrainingState, *, epoch_ended: bool) -> None:
        super().offer(state, epoch_ended=epoch_ended)
        print(f"kept step {len(state.losses)}", flush=True)
        if len(state.losses) >= self._last_step:
            time.sleep(600)


def run(mode: str, model: Path, rows: Path, tokens: Path, folder: Path, keeper: Keeper | None, say: Say) -> None:
    """One training; feature extraction finds its embeddings beside the folder."""
    settings = recipe(mode=mode, **SETTINGS[mode])
    embeddings = [folder.parent / "embeddings"] if mode == "feature_extraction" else []
    folder.mkdir(parents=True, exist_ok=True)
    train(model, FACTS, rows, tokens, embeddings, settings, keeper, folder, say)


def main(model: Path, rows: Path, tokens: Path, folder: Path, mode: str, store: str = "", last: str = "") -> None:
    if mode == "feature_extraction" and not (folder / "embeddings").exists():
        (folder / "embeddings").mkdir(parents=True)
        embed(model, FACTS, tokens, distinct_keys(tokens), recipe(), folder / "embeddings", print)
    run(mode, model, rows, tokens, folder / mode, Loud(Store.open(store), mode, int(last)) if store else None, print)


if __name__ == "__main__":
    given = arguments()
    model, rows, tokens, folder = map(Path, given[:4])
    main(model, rows, tokens, folder, *given[4:])
