"""The lower layers stay as they are: bit for bit, without a backward pass, and computed once where they fit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hubtune.errors import InvalidRecipe, UnsupportedModel
from schemas.handoff import ModelFacts
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import TokenIds, read_examples
from tasks.retrain.hidden_states import compute_hidden_states, fit_into_memory
from tasks.retrain.layered_encoder import LayeredEncoder, UpperLayers
from tasks.retrain.plan import Plan, make_plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.graphs import count, traced_step
from tests.retrain.runs import Training, pretrained, tune, with_effect
from tests.retrain.small_inputs import FACTS, LAYERS, WIDTH, recipe

pytestmark = pytest.mark.slow

# What `freeze_layers` says, and how many groups (the embeddings, then the layers) it leaves as they are.
FROZEN = [("embeddings", 1), (1, 2), (LAYERS, LAYERS + 1)]


@pytest.mark.parametrize(
    ("kind", "freeze_layers", "frozen"),
    [*(("model", *case) for case in FROZEN), ("saved_model", "embeddings", 1), ("saved_model", 1, 2)],
)
def test_frozen_variables_stay_bit_for_bit_and_the_others_move(
    kind: str, freeze_layers: Any, frozen: int, model: Path, tokens: Path, request: pytest.FixtureRequest
) -> None:
    settings: dict[str, Any] = {"freeze_layers": freeze_layers, "pooling": "pooled", "epochs": 1, "learning_rate": 1e-2}
    tuned = tune(request.getfixturevalue(kind), tokens, mode="partial", **settings)
    before, after = pretrained(model), tuned.weights
    assert before.keys() == after.keys()
    moved = {name for name in after if not np.array_equal(before[name], after[name])}
    assert moved == {variable.name for group in tuned.encoder.groups[frozen:] for variable in group}
    assert bool(moved) is (frozen <= LAYERS)


@pytest.mark.parametrize(
    ("kind", "freeze_layers", "frozen"), [("model", "embeddings", 1), ("model", None, 2), ("saved_model", None, 2)]
)
def test_the_files_hold_what_was_trained_and_the_facts_count_it(
    kind: str, freeze_layers: Any, frozen: int, model: Path, training: Training, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    run = training(folder, mode="partial", freeze_layers=freeze_layers, pooling="pooled", epochs=1, learning_rate=1e-2)
    encoder = load_encoder(folder, FACTS, recipe(mode="partial", pooling="pooled"), Plan(0, None))
    names = [variable.name for group in encoder.groups[frozen:] for variable in group]
    assert run.description["variables"] == names
    assert set(run.encoder) == set(names)
    before = pretrained(model)
    assert all(not np.array_equal(before[name], value) for name, value in run.encoder.items())
    head = sum(value.size for value in run.head.values())
    trained = sum(before[name].size for name in names)
    assert run.facts.trained_parameters == trained + head
    assert run.facts.parameters == FACTS.parameters + head


@pytest.mark.parametrize(("freeze_layers", "pooling"), [("embeddings", "mean"), (1, "pooled"), (LAYERS, "cls")])
def test_kept_hidden_states_give_the_same_weights(
    freeze_layers: Any, pooling: str, model: Path, training: Training
) -> None:
    settings: dict[str, Any] = {
        "mode": "partial",
        "freeze_layers": freeze_layers,
        "pooling": pooling,
        "epochs": 2,
        "hidden": [8],
    }
    kept, computed = (training(model, keep_hidden_states=keep, **settings) for keep in (True, False))
    assert [any(line.startswith("Frozen layers") for line in run.lines) for run in (kept, computed)] == [True, False]
    for found, expected in ((kept.encoder, computed.encoder), (kept.head, computed.head)):
        other = with_effect(expected)
        for name, values in with_effect(found).items():
            np.testing.assert_allclose(values, other[name], atol=2e-6, err_msg=name)
    np.testing.assert_allclose(kept.steps["loss"], computed.steps["loss"], atol=2e-5)
    assert kept.history[-1]["validation"]["loss"] == pytest.approx(computed.history[-1]["validation"]["loss"], abs=2e-5)


def test_hidden_states_are_the_texts_own_whatever_batch_they_were_in(model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, recipe(), Plan(2, None))
    assert isinstance(encoder, LayeredEncoder)
    inputs = read_examples(tokens, "test").inputs
    assert isinstance(inputs, TokenIds)
    states = compute_hidden_states(encoder, inputs, lambda line: None, training=False)
    assert states.lengths.tolist() == inputs.lengths.tolist()
    rows = np.array([5, 0, 41, 17])
    batch, features = states.batch(rows), inputs.batch(rows)
    assert batch["input_mask"].tolist() == features["input_mask"].tolist()
    hidden = batch["hidden"].reshape(*features["input_mask"].shape, WIDTH)
    for place, row in enumerate(rows):
        alone = encoder.lower(inputs.batch(rows[place : place + 1]), None).numpy()
        np.testing.assert_allclose(hidden[place, : len(alone)], alone, atol=1e-5)
        assert not hidden[place, len(alone) :].any()
        assert len(alone) == inputs.lengths[row]


def test_hidden_states_that_do_not_fit_are_not_kept() -> None:
    texts = TokenIds.of([[1, 2, 3], [4]])
    assert fit_into_memory([texts, texts], WIDTH)
    assert not fit_into_memory([texts, texts], 10**12)


@pytest.mark.parametrize("keep", [True, False])
def test_it_is_told_that_they_do_not_fit_where_they_were_to_be_kept(
    keep: bool, model: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.retrain.train.fit_into_memory", lambda texts, width: False)
    run = training(model, mode="partial", keep_hidden_states=keep, epochs=1)
    assert not any(line.startswith("Frozen layers") for line in run.lines)
    assert any("does not fit into the free memory" in line for line in run.lines) is keep


@pytest.mark.parametrize("frozen", range(LAYERS + 2))
def test_frozen_layers_have_no_backward_pass(frozen: int, model: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, recipe(), Plan(frozen, None))
    trained = LAYERS - max(frozen - 1, 0)
    # A layer's attention is two products of batches, and each has two gradients.
    whole = traced_step(encoder, encoder.groups[frozen:])
    assert count(whole, "Softmax") == LAYERS
    assert count(whole, "BatchMatMulV2") == 2 * LAYERS + 4 * trained
    if frozen:
        assert isinstance(encoder, LayeredEncoder)
        upper = traced_step(UpperLayers(encoder), encoder.groups[frozen:])
        assert count(upper, "Softmax") == trained
        assert count(upper, "BatchMatMulV2") == 6 * trained
        assert [count(graph, "ResourceGather") for graph in (whole, upper)] == [1, 0]  # the look-up of words


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mode": "partial", "freeze_layers": LAYERS + 1}, "train.freeze_layers"),
        ({"mode": "layer_extraction", "layers": [1, LAYERS + 1]}, "train.layers"),
        ({"mode": "layer_extraction", "freeze_layers": 2}, "train.freeze_layers"),  # the middle layer is the first
    ],
    ids=str,
)
def test_layers_that_the_model_does_not_have_are_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRecipe, match=rf"{field} names layer") as refused:
        make_plan(FACTS, recipe(**changes))
    assert refused.value.where == field


@pytest.mark.parametrize(
    ("changes", "plan"),
    [
        ({"mode": "feature_extraction"}, Plan(0, None)),
        ({"mode": "fine_tuning"}, Plan(0, None)),
        ({"mode": "partial"}, Plan(2, None)),
        ({"mode": "partial", "freeze_layers": "embeddings"}, Plan(1, None)),
        ({"mode": "partial", "freeze_layers": 3}, Plan(4, None)),
        ({"mode": "layer_extraction"}, Plan(0, [1])),
        ({"mode": "layer_extraction", "layers": [3, 1, 3]}, Plan(0, [1, 3])),
        ({"mode": "layer_extraction", "layers": [2], "freeze_layers": 2}, Plan(3, [2])),
    ],
    ids=str,
)
def test_what_a_recipe_means_for_a_model(changes: dict[str, Any], plan: Plan) -> None:
    assert make_plan(FACTS.model_copy(update={"layers": 3}), recipe(**changes)) == plan


@pytest.mark.parametrize("mode", ["partial", "layer_extraction"])
def test_a_model_without_layers_is_refused(mode: str) -> None:
    facts = ModelFacts(interface="text_embedding", width=25, parameters=100, trainable=True)
    with pytest.raises(UnsupportedModel, match="does not tell its layers") as refused:
        make_plan(facts, recipe(mode=mode))
    assert refused.value.where == f"train.mode: {mode}"


def test_variables_whose_names_tell_no_layer_cannot_be_frozen() -> None:
    variables = [SimpleNamespace(name="kernel:0"), SimpleNamespace(name="bias:0")]
    encoder: Any = SimpleNamespace(groups=[variables])
    assert trained_groups(encoder, 0, FACTS) == [variables]
    with pytest.raises(UnsupportedModel, match="names do not tell which layer"):
        trained_groups(encoder, 1, FACTS)
