"""The epoch loop: which weights are kept, when it stops, what a diverged run says."""

from typing import Any

import pytest

from hubtune.errors import TrainingFailed
from schemas.handoff import Metrics
from tasks.retrain.evaluate import Evaluation
from tasks.retrain.fit import Epoch, TrainingState, best_epoch, fit
from tasks.retrain.optimizer import AdamW
from tasks.retrain.tensorflow_setup import start_tensorflow

# Macro-F1 and loss on validation after each epoch. The best is the third; the fifth is as good, with a higher loss.
RESULTS = [(0.1, 0.9), (0.5, 0.4), (0.6, 0.5), (0.4, 0.6), (0.6, 0.6), (0.3, 0.7), (0.7, 0.3)]


def run(results: list[tuple[float, float]], patience: int | None) -> tuple[Any, list[Epoch], list[str]]:
    """Train a variable that counts the epochs."""
    tf = start_tensorflow()
    weight = tf.Variable(0.0)
    lines: list[str] = []

    def run_epoch(epoch: int) -> tuple[float, float]:
        weight.assign(epoch + 1.0)
        return 1.0, 0.1

    def validate() -> Evaluation:
        macro_f1, loss = results[int(weight.numpy()) - 1]
        return Evaluation(Metrics(rows=10, loss=loss, accuracy=0.5, macro_f1=macro_f1), {}, [])

    state = TrainingState([weight], AdamW([weight], 0.0))
    history = fit(state, run_epoch, validate, epochs=len(results), patience=patience, say=lines.append)
    assert state.epoch == len(history)
    return weight, history, lines


def test_it_stops_and_keeps_the_best_weights() -> None:
    weight, history, lines = run(RESULTS, patience=2)
    assert [entry.epoch for entry in history] == [1, 2, 3, 4, 5]
    assert best_epoch(history) == 3
    assert weight.numpy() == 3
    assert lines[-1] == "stopped: no better validation result for 2 epochs; keeping epoch 3"
    assert lines[2].startswith("epoch 3/7: train loss 1.0000, validation loss 0.5000, accuracy 0.5000, macro-F1 0.6000")
    assert lines[2].endswith("best so far")


def test_without_patience_all_epochs_are_run_and_the_best_weights_kept() -> None:
    weight, history, _ = run([*RESULTS, (0.7, 0.4)], patience=None)
    assert len(history) == 8
    assert weight.numpy() == best_epoch(history) == 7


def test_a_better_last_epoch_is_not_called_a_stop() -> None:
    weight, _, lines = run([(0.5, 0.5), (0.4, 0.6), (0.6, 0.7)], patience=2)
    assert weight.numpy() == 3
    assert len(lines) == 3


def test_a_validation_loss_that_is_not_a_number_ends_the_run() -> None:
    with pytest.raises(TrainingFailed, match="validation loss is nan at the end of epoch 2") as failed:
        run([(0.5, 0.5), (0.2, float("nan"))], patience=None)
    assert "lower train.learning_rate" in failed.value.remedy
