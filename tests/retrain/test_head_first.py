"""The head first, then everything; and the lower a layer, the slower it learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.retrain.runs import Training, Tuned, Weights, pretrained, tune
from tests.retrain.small_inputs import LAYERS

pytestmark = pytest.mark.slow

# With few rows in a batch, and as many epochs as there may be, a head learns something of so few texts.
THOROUGH: dict[str, Any] = {"batch_size": 4, "early_stopping_patience": None}


def test_a_trained_head_starts_lower(model: Path, training: Training) -> None:
    settings: dict[str, Any] = {"mode": "partial", "epochs": 1, "learning_rate": 1e-5, **THOROUGH}
    first, at_once = (training(model, gradual_unfreezing=head_first, **settings) for head_first in (True, False))
    # A head that knows nothing has a loss of log 3 = 1.1 or more.
    assert first.history[0]["train_loss"] < 1.05 < 1.15 < at_once.history[0]["train_loss"]
    assert first.history[0]["validation"]["accuracy"] > at_once.history[0]["validation"]["accuracy"] + 0.1
    assert len(first.history) == 1
    assert first.steps.height == at_once.steps.height


def test_it_goes_with_every_option_of_the_encoder(model: Path, training: Training) -> None:
    settings: dict[str, Any] = {"layer_decay": 0.9, "accumulation_steps": 2, "strategy": "one_device"}
    settings |= {"precision": "float32", "keep_hidden_states": False, "freeze_layers": 1}
    run = training(model, mode="partial", gradual_unfreezing=True, epochs=1, batch_size=60, **settings)
    assert any(line.startswith("Embedding for the head") for line in run.lines)


def test_the_head_that_training_starts_from_is_one_that_was_trained(model: Path, tokens: Path) -> None:
    # At a rate of next to nothing the weights stay where they started.
    settings: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-12, **THOROUGH}
    first, at_once = (tune(model, tokens, gradual_unfreezing=head_first, **settings) for head_first in (True, False))
    assert first.state.history[0].validation.accuracy > 0.5 > at_once.state.history[0].validation.accuracy
    for name, value in first.weights.items():
        np.testing.assert_allclose(value, at_once.weights[name], atol=1e-9)
    assert any(line.startswith("Embedding for the head") for line in first.lines)


def test_each_layer_learns_at_a_share_of_the_rate_of_the_one_above(steady_model: Path, tokens: Path) -> None:
    # One step over all rows: Adam's first step goes as far as the learning rate says.
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 240,
        "warmup_fraction": 0.0,
        "learning_rate": 1e-3,
        "dropout": 0.0,
    }
    plain = tune(steady_model, tokens, pooling="pooled", weight_decay=0.0, **settings)
    slower = tune(steady_model, tokens, pooling="pooled", weight_decay=0.0, layer_decay=0.5, **settings)
    before = pretrained(steady_model)

    def way(tuned: Tuned) -> Weights:
        return {name: value - before[name] for name, value in tuned.weights.items()}

    far, near = way(plain), way(slower)
    for number, group in enumerate(plain.encoder.groups):
        share = 0.5 ** (LAYERS + 1 - number)
        for variable in group:
            np.testing.assert_allclose(near[variable.name], share * far[variable.name], atol=2e-6)
            assert np.abs(far[variable.name]).max() == pytest.approx(1e-3, rel=0.01)
    for name, value in plain.head.weights().items():
        np.testing.assert_allclose(slower.head.weights()[name], value, atol=1e-7)
