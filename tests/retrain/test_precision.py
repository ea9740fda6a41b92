"""Layers in 16 bits: what is computed in them, that it learns, and steps whose gradients overflow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubtune.errors import UnsupportedModel
from tasks.retrain import precision as module
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import read_examples
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.layered_encoder import LayeredEncoder
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.precision import LossScale, Precision, choose_precision
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.training_step import TrainingStep
from tests.retrain.runs import Training
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, LAYERS, part_of, recipe

pytestmark = pytest.mark.slow


def new_step(model: Path, precision: Precision) -> tuple[TrainingStep, AdamW, Any]:
    settings = recipe(mode="fine_tuning", dropout=0)
    encoder = load_encoder(model, FACTS, settings, Plan(0, None), precision)
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    variables = [*(each for group in trained_groups(encoder, 0, FACTS) for each in group), *head.variables]
    optimizer = AdamW(variables, 0.01, loss_scale=LossScale() if precision == "float16" else None)
    return TrainingStep(encoder, head, variables, optimizer, SoftmaxCrossEntropy(EVEN)), optimizer, encoder


def operations(graph: Any) -> list[Any]:
    """Of a graph and of the functions that it calls."""
    nested = [function.graph for function in graph._functions.values()]  # TensorFlow has no public way to them
    return [*graph.get_operations(), *(each for inner in nested for each in inner.get_operations())]


def test_frozen_layers_give_the_same_in_a_step_as_before_all_steps(model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, recipe(mode="partial"), Plan(2, None), "bfloat16")
    train = read_examples(tokens, "train")
    assert isinstance(encoder, LayeredEncoder)
    features = train.inputs.batch(np.arange(16))
    np.testing.assert_array_equal(encoder.lower(features, np.int64(3)), encoder.lower(features, None))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_products_are_computed_in_16_bits_and_softmax_in_32(model: Path, tokens: Path, precision: Precision) -> None:
    tf = start_tensorflow()
    step, _, encoder = new_step(model, precision)
    train = read_examples(tokens, "train")
    rows = np.arange(16)
    part = part_of(train, rows)
    lane = (*part, np.int64(1))
    traced = tf.function(step.whole, autograph=False).get_concrete_function([lane], np.float32(16), np.float32(1e-3))
    found = operations(traced.graph)
    products = [each for each in found if each.type in ("MatMul", "BatchMatMulV2")]
    in_16_bits = [each for each in products if each.outputs[0].dtype == tf.as_dtype(precision)]
    # Four dense layers and two products of attention in each layer; twice as many backward, but for the first inputs.
    assert len(in_16_bits) >= 3 * 6 * LAYERS - 3
    softmax = [each for each in found if each.type == "Softmax"]
    assert len(softmax) >= LAYERS
    assert all(each.outputs[0].dtype == tf.float32 for each in softmax)
    answers = tf.function(lambda given: encoder.text_vectors(given, None), autograph=False)
    for each in operations(answers.get_concrete_function(part[0]).graph):
        assert all(out.dtype != tf.as_dtype(precision) for out in each.outputs)


@pytest.mark.parametrize(("mode", "precisions"), [("fine_tuning", ["bfloat16", "float16"]), ("partial", ["bfloat16"])])
def test_it_learns_nearly_the_same(mode: str, precisions: list[str], model: Path, training: Training) -> None:
    exact, *in_16_bits = (
        training(model, mode=mode, precision=each, learning_rate=1e-3, epochs=2) for each in ("float32", *precisions)
    )
    assert not any("mixed precision" in line for line in exact.lines)
    for run, precision in zip(in_16_bits, precisions, strict=True):
        assert f"mixed precision: layers in {precision}, weights in float32" in run.lines
        assert run.facts.precision == run.description["precision"] == precision
        losses, expected = run.steps["loss"].to_numpy(), exact.steps["loss"].to_numpy()
        # Eight bits of fraction: the losses of a run drift apart, but not far.
        np.testing.assert_allclose(losses[0], expected[0], rtol=0.02)
        assert 0 < np.abs(losses - expected).max() < 0.1
        assert run.history[-1]["validation"]["accuracy"] >= exact.history[-1]["validation"]["accuracy"] - 0.05


def test_an_overflow_leaves_the_step_out_and_halves_the_scale(model: Path, tokens: Path) -> None:
    step, optimizer, encoder = new_step(model, "float16")
    train = read_examples(tokens, "train")
    assert optimizer.loss_scale is not None
    scale, _ = optimizer.loss_scale.state
    scale.assign(1e30)
    rows = np.arange(16)
    part = part_of(train, rows)
    before = [variable.numpy() for group in encoder.groups for variable in group]
    loss = step.take([part], np.float32(1e-3), 0)
    assert np.isfinite(loss)
    assert (optimizer.steps, scale.numpy()) == (0, np.float32(5e29))
    for variable, value in zip((each for group in encoder.groups for each in group), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    scale.assign(1024.0)
    step.take([part], np.float32(1e-3), 0)
    assert (optimizer.steps, scale.numpy()) == (1, 1024)


def test_steps_that_go_well_double_the_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = start_tensorflow()
    monkeypatch.setattr(module, "_GOOD_STEPS", 3)
    scale = LossScale()
    seen = []
    for finite in (True, True, False, True, True, True, True):
        scale.follow(tf.constant(finite))
        seen.append((float(scale.state[0].numpy()) / 2**15, int(scale.state[1].numpy())))
    assert seen == [(1, 1), (1, 2), (0.5, 0), (0.5, 1), (0.5, 2), (1, 0), (1, 1)]


def test_a_model_in_one_piece_is_refused_in_16_bits_and_left_at_32_by_auto(saved_model: Path) -> None:
    start_tensorflow()
    with pytest.raises(UnsupportedModel, match=r"computes in float32, and train\.precision is bfloat16"):
        choose_precision("bfloat16", saved_model, None, print)
    assert choose_precision("auto", saved_model, None, print) == "float32"


def test_auto_follows_the_device(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf = start_tensorflow()
    assert choose_precision("auto", model, None, print) == "float32"
    # MOCK: there is no GPU here; what TensorFlow tells of one is made up.
    gpus: list[tuple[int, int]] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    for found, chosen in (([(8, 0), (9, 0)], "bfloat16"), ([(8, 6), (7, 5)], "float16"), ([(6, 1)], "float32")):
        gpus[:] = found
        assert choose_precision("auto", model, None, print) == chosen
