"""The epoch loop that every mode shares: train, validate, keep the best weights, stop when nothing gets better."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.errors import TrainingFailed
from hubtune.progress import Say
from schemas.handoff import Metrics
from tasks.retrain.evaluate import Evaluation
from tasks.retrain.optimizer import AdamW


@dataclass
class TrainingState:
    """All that a run needs to go on where it was. There is no random state: what is drawn follows from seed and step.

    Args:
        variables: what is trained.
        optimizer: its moments and step.
        epoch: epochs done.
    """

    variables: list[Any]
    optimizer: AdamW
    epoch: int = 0

    def weights(self) -> list[npt.NDArray[np.float32]]:
        """A copy of the trained variables."""
        return [variable.numpy() for variable in self.variables]

    def assign(self, weights: list[npt.NDArray[np.float32]]) -> None:
        """Put weights back that `weights` gave."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)


@dataclass(frozen=True)
class Epoch:
    """One epoch's entry in the history; no times in it, so that equal runs have equal histories."""

    epoch: int
    learning_rate: float
    train_loss: float
    validation: Metrics

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values."""
        validation = {f"validation_{name}": value for name, value in self.validation.model_dump().items()}
        validation.pop("validation_rows")
        entry = {"epoch": self.epoch, "learning_rate": self.learning_rate, "train_loss": self.train_loss}
        return entry | validation


def fit(
    state: TrainingState,
    run_epoch: Callable[[int], tuple[float, float]],
    validate: Callable[[], Evaluation],
    *,
    epochs: int,
    patience: int | None,
    say: Say,
) -> list[Epoch]:
    """Train until the epochs are over or validation has stopped getting better; the best weights are left in place.

    Args:
        state: what is trained.
        run_epoch: trains one epoch (counted from 0) and returns its mean loss and its last learning rate.
        validate: evaluates the weights as they are on the validation split.
        epochs: the most epochs.
        patience: stop after this many epochs in a row without a better one; None: never.
        say: takes a line for each epoch.

    Returns:
        The history, one entry for each epoch that was run. `best_epoch` tells which entry's weights were kept.

    Raises:
        TrainingFailed: the validation loss is not a number.
    """
    history: list[Epoch] = []
    best_weights = state.weights()
    while state.epoch < epochs:
        started = time.monotonic()
        train_loss, learning_rate = run_epoch(state.epoch)
        validation = validate().metrics
        state.epoch += 1
        history.append(Epoch(state.epoch, learning_rate, train_loss, validation))
        if not np.isfinite(validation.loss):
            raise diverged("validation loss", validation.loss, f"the end of epoch {state.epoch}", learning_rate)
        best = best_epoch(history)
        if best == state.epoch:
            best_weights = state.weights()
        say(
            f"epoch {state.epoch}/{epochs}: train loss {train_loss:.4f}, validation loss {validation.loss:.4f}, "
            f"accuracy {validation.accuracy:.4f}, macro-F1 {validation.macro_f1:.4f}, "
            f"{time.monotonic() - started:.1f} s{', best so far' if best == state.epoch else ''}"
        )
        if patience is not None and state.epoch - best >= patience and state.epoch < epochs:
            say(f"stopped: no better validation result for {patience} epochs; keeping epoch {best}")
            break
    state.assign(best_weights)
    return history


def best_epoch(history: list[Epoch]) -> int:
    """The epoch whose weights are kept: the one with the highest macro-F1 on validation; of equals, the lowest loss.

    Macro-F1 and not the loss, by measurement: the loss is lowest while a rare class is still hardly ever predicted, and
    fine-tuning goes on to classify better while the loss already rises from a few confident mistakes. Test figures with
    macro-F1 (with the loss): heads, means of six seeds: quora_insincere (6 % in the rare class), macro-F1 0.763 (0.690)
    on 4,000 training rows and 0.678 (0.647) on 1,040; trec6 and sst2 the same within 0.006. sst2 fine-tuned, one seed:
    accuracy 0.895 (0.886).

    Args:
        history: at least one epoch.

    Returns:
        Its number, counted from 1.
    """
    return max(history, key=lambda entry: (entry.validation.macro_f1, -entry.validation.loss)).epoch


def require_finite(losses: npt.NDArray[np.float32], epoch: int, first: int, rates: npt.NDArray[np.float32]) -> None:
    """Stop a run that has diverged.

    Args:
        losses: float32[n], the training losses of consecutive steps.
        epoch: their epoch, counted from 0.
        first: the first one's step within the epoch, counted from 0.
        rates: the learning rate of each step of the epoch.

    Raises:
        TrainingFailed: one of the losses is infinite or not a number.
    """
    for step in np.flatnonzero(~np.isfinite(losses))[:1]:
        raise diverged(
            "training loss",
            float(losses[step]),
            f"step {first + step + 1} of epoch {epoch + 1}",
            float(rates[first + step]),
        )


def diverged(what: str, loss: float, when: str, learning_rate: float) -> TrainingFailed:
    """The error of a run whose loss is not a number any more."""
    return TrainingFailed(
        f"the {what} is {loss} at {when}, where the learning rate is {learning_rate:.3g}",
        where="train.learning_rate",
        remedy="lower train.learning_rate (5e-5 suits fine-tuning, 1e-3 a head), or raise train.warmup_fraction",
    )
