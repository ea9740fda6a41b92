"""Checkpoints of a training in the store: where a killed process goes on from."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.progress import Say
from hubtune.storage import Store
from hubtune.storage.artifact import Artifact, Producer, TaskKey
from hubtune.storage.journal import Training, note_training
from tasks.retrain.fit import Epoch, TrainingState
from tasks.retrain.validation import ValidationMetrics

# A killed process loses at most this much, or an epoch that was shorter.
_EVERY_SECONDS = 300.0
# An epoch that ends sooner after the last checkpoint is not worth one: it is done again in that time.
_LEAST_SECONDS = 10.0


class CheckpointFacts(BaseModel):
    """Facts of a `checkpoint` artifact. Files: `arrays.safetensors` and `state.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int
    steps: int


class DivergedFacts(BaseModel):
    """Facts of a `diverged` artifact. File: `rows.npy`, positions of the batch's rows in the training split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    loss: str
    learning_rate: float


class Checkpoints:
    """Keeps the last state of one training; the one before is discarded when the next is in the store.

    Args:
        store: the artifact store.
        key: of the training: all that its result depends on. Another recipe never finds this checkpoint.
        say: takes a line when a state could not be kept.
        every_seconds: the longest time between two checkpoints, within an epoch too.
        least_seconds: the shortest time between two.
        writes: whether this process keeps states; of several workers that train together, only the first does.
    """

    def __init__(
        self,
        store: Store,
        key: TaskKey,
        say: Say,
        every_seconds: float = _EVERY_SECONDS,
        least_seconds: float = _LEAST_SECONDS,
        *,
        writes: bool = True,
    ) -> None:
        self._store, self._say, self._training = store, say, key
        self._key = TaskKey(task=f"{key.task}.checkpoint", digest=key.digest)
        self._every, self._least, self._writes = every_seconds, least_seconds, writes
        self._last = time.monotonic()
        self._kept: Artifact | None = None

    def restore(self, state: TrainingState) -> bool:
        """Put the last state that was kept into `state`.

        Args:
            state: of the same training, as it begins.

        Returns:
            False if there is none, it is damaged, or of another precision: then training begins from the start.
        """
        from safetensors.numpy import load_file

        if not self._store.remembers(self._key):
            return False
        known = self._store.recall(self._key)
        if known == {}:
            return False
        try:
            if known is None:
                raise CorruptArtifact("it is missing or damaged")
            folder = self._store.checkout(known["checkpoint"])
        except CorruptArtifact as error:
            self._say(f"the checkpoint is left out, training begins from the start: {error.what}")
            return False
        entry = json.loads((folder / "state.json").read_bytes())
        if entry["precision"] != state.arithmetic:
            self._say(
                f"the checkpoint was computed in {entry['precision']}, this device computes in {state.arithmetic}: "
                "training begins from the start"
            )
            return False
        history = [
            Epoch(**{**epoch, "validation": ValidationMetrics(**epoch["validation"])}) for epoch in entry["history"]
        ]
        state.restore(load_file(folder / "arrays.safetensors"), entry["epoch"], history, entry["parts"])
        self._kept = known["checkpoint"]
        return True

    def offer(self, state: TrainingState, *, epoch_ended: bool) -> None:
        """Keep the state if the last one is old enough.

        A store that is full or out of reach does not end the training: the line says so, and it is tried again.

        Args:
            state: as it is after a step.
            epoch_ended: whether that step was the last one of an epoch.
        """
        from safetensors import SafetensorError  # which is no OSError, although a full disk raises it

        since = time.monotonic() - self._last
        if not self._writes or since < (self._least if epoch_ended else self._every):
            return
        try:
            self._keep(state)
        except (OSError, SafetensorError, StoreUnavailable) as error:
            self._say(f"no checkpoint could be kept, training goes on without: {error}")
        self._last = time.monotonic()

    def keep_batch(self, rows: npt.NDArray[np.int64], step: int, loss: float, learning_rate: float) -> str | None:
        """Keep the batch at which the training diverged.

        Args:
            rows: int64[n], positions in the training split (row i of `train.parquet`).
            step: the step, counted from 0.
            loss: what it gave.
            learning_rate: its learning rate.

        Returns:
            The address of a `diverged` artifact; None if the store could not take it.
        """
        producer = Producer(task=self._key.task, version=1, parameters={"training": self._key.digest})
        facts = DivergedFacts(step=step + 1, loss=str(loss), learning_rate=learning_rate)
        try:
            with self._store.scratch() as folder:
                np.save(folder / "rows.npy", rows)
                return self._store.put("diverged", folder, producer=producer, facts=facts).uri
        except (OSError, StoreUnavailable) as error:
            self._say(f"the batch could not be kept: {error}")
            return None

    def note(self, rows: int, seconds: float) -> None:
        """Write down how long the steps took; a store that does not take it does not end the training.

        Args:
            rows: how many went through the steps.
            seconds: how long these took.
        """
        if not self._writes:
            return
        try:
            note_training(self._store, self._training, Training(rows=rows, seconds=round(seconds, 3)))
        except StoreUnavailable as error:
            self._say(f"how long the training took could not be noted: {error}")

    def discard(self) -> None:
        """Remove the last state: the training is done, and its result in the store."""
        if not self._store.remembers(self._key):
            return
        known = self._kept or (self._store.recall(self._key) or {}).get("checkpoint")
        self._store.remember(self._key, {})
        self._kept = None
        if known is not None:
            self._store.discard(known)

    def _keep(self, state: TrainingState) -> None:
        producer = Producer(task=self._key.task, version=1, parameters={"training": self._key.digest})
        facts = CheckpointFacts(epochs=state.epoch, steps=len(state.losses))
        with self._store.scratch() as folder:
            _write(folder, state)
            kept = self._store.put("checkpoint", folder, producer=producer, facts=facts)
        self._store.remember(self._key, {"checkpoint": kept})
        if self._kept is not None and self._kept.digest != kept.digest:
            self._store.discard(self._kept)
        self._kept = kept


def _write(folder: Path, state: TrainingState) -> None:
    from safetensors.numpy import save_file

    save_file(state.arrays(), folder / "arrays.safetensors")
    entry: dict[str, Any] = {
        "epoch": state.epoch,
        "parts": state.parts,
        "precision": state.arithmetic,
        "history": [asdict(epoch) for epoch in state.history],
    }
    (folder / "state.json").write_text(json.dumps(entry), encoding="utf-8")
