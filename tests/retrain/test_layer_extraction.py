"""The encoder cut off above a layer: what lies above is not computed, not trained, not stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubtune.errors import UnsupportedModel
from tasks.retrain.encoder import load_encoder
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.fine_tuning import compile_logits
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.graphs import count, traced_step
from tests.retrain.runs import Training, pretrained
from tests.retrain.small_inputs import FACTS, LABELS, LAYERS, WIDTH, recipe

pytestmark = pytest.mark.slow

CHOICES = [([1], 1), ([2], 2), ([3], 3), ([1, 2], 2), ([1, 3], 3)]


@pytest.mark.parametrize(("layers", "highest"), CHOICES, ids=str)
def test_layers_above_the_highest_are_not_in_the_graph(layers: list[int], highest: int, three_layers: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="layer_extraction", layers=layers)
    encoder = load_encoder(three_layers, FACTS, settings, Plan(0, layers))
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    compute: Any = compile_logits(encoder, head)
    assert count(compute.get_concrete_function().graph, "Softmax") == highest
    step = traced_step(encoder, encoder.groups)
    assert count(step, "Softmax") == highest
    assert count(step, "BatchMatMulV2") == 6 * highest
    names = {variable.name.split("/")[0] for group in encoder.groups for variable in group}
    assert names == {"embeddings", *(f"layer_{number}" for number in range(highest))}


@pytest.mark.parametrize(("layers", "taken"), [([2, 1], [1, 2]), (None, [1])], ids=str)
def test_what_is_trained_and_described(
    layers: list[int] | None, taken: list[int], model: Path, training: Training
) -> None:
    run = training(model, mode="layer_extraction", layers=layers, pooling="max", epochs=1, learning_rate=1e-2)
    assert run.description["layers"] == taken
    assert run.description["width"] == run.head["logits/kernel"].shape[0] == len(taken) * WIDTH
    before = pretrained(model)
    below = [name for name in before if name.startswith("embeddings/") or _layer(name) in range(max(taken))]
    assert run.description["variables"] == below
    assert set(run.encoder) == set(below)
    assert not [name for name, value in run.encoder.items() if np.array_equal(before[name], value)]
    head = sum(value.size for value in run.head.values())
    assert run.facts.trained_parameters == head + sum(before[name].size for name in below)


@pytest.mark.parametrize(("layers", "freeze_layers"), [([1, 2], "embeddings"), ([2], 1)], ids=str)
def test_layers_below_can_be_frozen_too(layers: list[int], freeze_layers: Any, model: Path, training: Training) -> None:
    settings = {"mode": "layer_extraction", "layers": layers, "freeze_layers": freeze_layers, "epochs": 1}
    kept, computed = (training(model, keep_hidden_states=keep, **settings) for keep in (True, False))
    frozen = 0 if freeze_layers == "embeddings" else freeze_layers
    expected = [name for name in pretrained(model) if _layer(name) in range(frozen, max(layers))]
    for run in (kept, computed):
        assert run.description["variables"] == expected
        assert set(run.encoder) == set(expected)
        assert run.head["logits/kernel"].shape[0] == len(layers) * WIDTH
    np.testing.assert_allclose(kept.steps["loss"], computed.steps["loss"], atol=2e-5)


def test_an_encoder_in_one_piece_is_refused(saved_model: Path, training: Training) -> None:
    with pytest.raises(UnsupportedModel, match="SavedModel in one piece") as refused:
        training(saved_model, mode="layer_extraction", layers=[1])
    assert refused.value.where == "train.mode: layer_extraction"


def test_the_highest_layer_is_the_whole_encoder(model: Path, training: Training) -> None:
    settings = {"epochs": 1, "batch_size": 240, "dropout": 0.0}
    cut = training(model, mode="layer_extraction", layers=[LAYERS], **settings)
    whole = training(model, mode="fine_tuning", **settings)
    assert cut.steps["loss"].to_list() == whole.steps["loss"].to_list()
    for name, value in whole.encoder.items():
        assert np.array_equal(cut.encoder[name], value)


def _layer(name: str) -> int:
    part = name.split("/")[0]
    return int(part.removeprefix("layer_")) if part.startswith("layer_") else -1
