"""The epoch loop: which weights are kept, when it stops, what a diverged run says."""

from typing import Any

import numpy as np
import pytest

from hubtune.errors import TrainingFailed
from hubtune.progress import ProgressLine
from schemas.train_recipe import Monitor, TrainRecipe
from tasks.retrain.fit import Epoch, TrainingState, best_epoch, fit
from tasks.retrain.optimizer import AdamW
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.validation import ValidationMetrics

# Macro-F1 and loss on validation after each epoch. The best is the third; the fifth is as good, with a higher loss.
RESULTS = [(0.1, 0.9), (0.5, 0.4), (0.6, 0.5), (0.4, 0.6), (0.6, 0.6), (0.3, 0.7), (0.7, 0.3)]


def run(
    results: list[tuple[float, float]], patience: int | None, monitor: Monitor = "macro_f1"
) -> tuple[Any, list[Epoch], list[str]]:
    """Train a variable that counts the epochs."""
    return go(
        [ValidationMetrics(loss, 0.5, macro_f1, weighted_f1=1 - macro_f1) for macro_f1, loss in results],
        patience,
        monitor,
    )


def go(results: list[ValidationMetrics], patience: int | None, monitor: Monitor) -> tuple[Any, list[Epoch], list[str]]:
    tf = start_tensorflow()
    weight = tf.Variable(0.0)
    lines: list[str] = []
    state = TrainingState([weight], AdamW([weight], 0.0), np.full(len(results), 0.1, np.float32))

    def run_epoch() -> tuple[float, float]:
        weight.assign(state.epoch + 1.0)
        state.losses.append(np.float32(1.0))
        return 1.0, 0.1

    recipe = TrainRecipe.model_validate(
        {"epochs": len(results), "early_stopping_patience": patience, "monitor": monitor}
    )
    fit(state, run_epoch, lambda: results[int(weight.numpy()) - 1], recipe, None, lines.append)
    assert state.epoch == len(state.history)
    assert [entry.step for entry in state.history] == list(range(1, state.epoch + 1))
    return weight, state.history, lines


def test_it_stops_and_keeps_the_best_weights() -> None:
    weight, history, lines = run(RESULTS, patience=2)
    assert [entry.epoch for entry in history] == [1, 2, 3, 4, 5]
    assert best_epoch(history, "macro_f1") == 3
    assert weight.numpy() == 3
    assert lines[-1] == "stopped after epoch 5/7: no better macro_f1 on validation for 2 epochs; keeping epoch 3"
    assert lines[2].startswith("epoch 3/7: train loss 1.0000, validation loss 0.5000, accuracy 0.5000, macro-F1 0.6000")
    assert lines[2].endswith("best so far")
    # The bar is at its end then: no epoch follows.
    shares = [line.share for line in lines if isinstance(line, ProgressLine)]
    assert shares == [*(epoch / 7 for epoch in range(1, 6)), 1.0]


def test_without_patience_all_epochs_are_run_and_the_best_weights_kept() -> None:
    weight, history, _ = run([*RESULTS, (0.7, 0.4)], patience=None)
    assert len(history) == 8
    assert weight.numpy() == best_epoch(history, "macro_f1") == 7


def test_a_better_last_epoch_is_not_called_a_stop() -> None:
    weight, _, lines = run([(0.5, 0.5), (0.4, 0.6), (0.6, 0.7)], patience=2)
    assert weight.numpy() == 3
    assert len(lines) == 3


def test_a_validation_loss_that_is_not_a_number_ends_the_run() -> None:
    with pytest.raises(TrainingFailed, match="validation loss is nan at the end of epoch 2") as failed:
        run([(0.5, 0.5), (0.2, float("nan"))], patience=None)
    assert "lower train.learning_rate" in failed.value.remedy


# In each metric another epoch is the best.
MIXED = [
    ValidationMetrics(loss=0.2, accuracy=0.6, macro_f1=0.5, weighted_f1=0.6),
    ValidationMetrics(loss=0.3, accuracy=0.9, macro_f1=0.6, weighted_f1=0.5),
    ValidationMetrics(loss=0.5, accuracy=0.7, macro_f1=0.8, weighted_f1=0.6),
    ValidationMetrics(loss=0.4, accuracy=0.8, macro_f1=0.7, weighted_f1=0.9),
]


@pytest.mark.parametrize(("monitor", "best"), [("loss", 1), ("accuracy", 2), ("macro_f1", 3), ("weighted_f1", 4)])
def test_the_metric_that_is_watched_decides(monitor: Monitor, best: int) -> None:
    weight, history, _ = go(MIXED, None, monitor)
    assert best_epoch(history, monitor) == best
    assert weight.numpy() == best
    weight, history, lines = go(MIXED, 1, monitor)
    assert weight.numpy() == {"loss": 1, "accuracy": 2, "macro_f1": 3, "weighted_f1": 1}[monitor]
    assert (f"no better {monitor} on validation for 1 epochs" in lines[-1]) is (len(history) < 4)


def test_of_equals_the_lowest_loss_is_the_best() -> None:
    results = [ValidationMetrics(loss, 0.5, 0.5, 0.5) for loss in (0.4, 0.3, 0.35)]
    for monitor in ("accuracy", "macro_f1", "weighted_f1", "loss"):
        weight, _, _ = go(results, None, monitor)
        assert weight.numpy() == 2
