"""Layers or products in 16 bits: what is computed in them, that it learns, and steps whose gradients overflow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.errors import UnsupportedModel
from tasks.retrain import precision as module
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import Rows, TokenIds, read_examples
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.hidden_states import compute_hidden_states
from tasks.retrain.layered_encoder import LayeredEncoder
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.precision import LossScale, Precision, choose_precision, padded_length, product_in
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.training_step import NO_WORDS, TrainingStep
from tests.retrain.runs import Training
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, LAYERS, part_of, recipe

pytestmark = pytest.mark.slow

IN_PARTS = pytest.mark.parametrize("products_only", [False, True], ids=["layers", "products only"])


def new_step(model: Path, precision: Precision, *, products_only: bool = False) -> tuple[TrainingStep, AdamW, Any]:
    settings = recipe(mode="fine_tuning", dropout=0)
    encoder = load_encoder(model, FACTS, settings, Plan(0, None), precision, products_only=products_only)
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    variables = [*(each for group in trained_groups(encoder, 0, FACTS) for each in group), *head.variables]
    optimizer = AdamW(variables, 0.01, loss_scale=LossScale() if precision == "float16" else None)
    return TrainingStep(encoder, head, variables, optimizer, SoftmaxCrossEntropy(EVEN)), optimizer, encoder


def operations(graph: Any) -> list[Any]:
    """Of a graph and of the functions that it calls."""
    nested = [function.graph for function in graph._functions.values()]  # TensorFlow has no public way to them
    return [*graph.get_operations(), *(each for inner in nested for each in inner.get_operations())]


@IN_PARTS
def test_frozen_layers_are_computed_in_16_bits_for_steps_and_in_32_for_answers(
    products_only: bool, model: Path, tokens: Path
) -> None:
    tf = start_tensorflow()
    exact, encoder = (
        load_encoder(model, FACTS, recipe(mode="partial"), Plan(LAYERS, None), precision, products_only=products_only)
        for precision in ("float32", "bfloat16")
    )
    assert isinstance(exact, LayeredEncoder)
    assert isinstance(encoder, LayeredEncoder)
    features, frozen = read_examples(tokens, "train").inputs.batch(np.arange(16)), LAYERS - 1
    expected = exact.lower(features, None)
    np.testing.assert_array_equal(encoder.lower(features, None), expected)
    np.testing.assert_array_equal(exact.lower(features, tf.constant(3, tf.int64)), expected)

    step = tf.function(encoder.lower, autograph=False).get_concrete_function(features, np.int64(3))
    products = [each for each in operations(step.graph) if each.type == "MatMul"]
    assert len(products) == 4 * frozen
    assert all(each.outputs[0].dtype == tf.bfloat16 for each in products)
    rounded = [each for each in operations(step.graph) if each.type == "Cast" and each.outputs[0].dtype == tf.bfloat16]
    if products_only:  # what goes into each product; the kernels were cast before
        assert len(rounded) == len(products)
    found = tf.cast(encoder.lower(features, tf.constant(3, tf.int64)), tf.float32)
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


@IN_PARTS
def test_what_frozen_layers_give_for_a_step_is_kept_in_the_precision_of_a_step(
    products_only: bool, model: Path, tokens: Path
) -> None:
    tf = start_tensorflow()
    encoder = load_encoder(
        model, FACTS, recipe(mode="partial"), Plan(LAYERS + 1, None), "bfloat16", products_only=products_only
    )
    assert isinstance(encoder, LayeredEncoder)
    inputs = read_examples(tokens, "train").inputs
    assert isinstance(inputs, TokenIds)
    in_steps, for_answers = (
        compute_hidden_states(encoder, inputs, lambda line: None, training=training) for training in (True, False)
    )
    rows = np.array([3])  # alone, so that nothing is padded
    exact = np.abs(in_steps.batch(rows)["hidden"] - encoder.lower(inputs.batch(rows), None)).max()
    off = np.abs(in_steps.batch(rows)["hidden"] - tf.cast(encoder.lower(inputs.batch(rows), np.int64(0)), tf.float32))
    assert off.max() < exact / 2
    np.testing.assert_allclose(for_answers.batch(rows)["hidden"], encoder.lower(inputs.batch(rows), None), atol=1e-5)


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed in each step"])
def test_frozen_layers_are_rounded_for_training_rows_and_not_for_answers(
    keep: bool, steady_model: Path, training: Training
) -> None:
    # Steps that move nothing: losses and answers differ by what is computed in 16 bits alone.
    settings: dict[str, Any] = {"freeze_layers": LAYERS, "learning_rate": 1e-12, "epochs": 1, "dropout": 0.0}
    exact, rounded = (
        training(steady_model, mode="partial", precision=precision, keep_hidden_states=keep, **settings)
        for precision in ("float32", "bfloat16")
    )
    for split in ("validation", "test"):
        expected, found = (np.array(run.answers(split)["logits"].to_list()) for run in (exact, rounded))
        np.testing.assert_allclose(found, expected, atol=1e-5)
    off = np.abs(rounded.steps["loss"].to_numpy() - exact.steps["loss"].to_numpy())
    assert off.max() > 1e-4


@IN_PARTS
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_products_are_computed_in_16_bits_and_softmax_in_32(
    model: Path, tokens: Path, precision: Precision, products_only: bool
) -> None:
    tf = start_tensorflow()
    step, _, encoder = new_step(model, precision, products_only=products_only)
    train = read_examples(tokens, "train")
    rows = np.arange(16)
    part = part_of(train, rows)
    lane = (*part, np.int64(1))
    arguments = [lane], np.float32(16), np.float32(1e-3), NO_WORDS
    traced = tf.function(step.whole, autograph=False).get_concrete_function(*arguments)
    found = operations(traced.graph)
    products = [each for each in found if each.type in ("MatMul", "BatchMatMulV2")]
    in_16_bits = [each for each in products if each.outputs[0].dtype == tf.as_dtype(precision)]
    # Four dense layers and two products of attention in each layer; twice as many backward, but for the first inputs.
    if products_only:
        assert len(in_16_bits) == 3 * 4 * LAYERS
        others = [each for each in found if each.type not in ("MatMul", "Cast")]
        assert all(out.dtype != tf.as_dtype(precision) for each in others for out in each.outputs)
    else:
        assert len(in_16_bits) >= 3 * 6 * LAYERS - 3
    softmax = [each for each in found if each.type == "Softmax"]
    assert len(softmax) >= LAYERS
    assert all(each.outputs[0].dtype == tf.float32 for each in softmax)
    answers = tf.function(lambda given: encoder.text_vectors(given, None), autograph=False)
    for each in operations(answers.get_concrete_function(part[0]).graph):
        assert all(out.dtype != tf.as_dtype(precision) for out in each.outputs)


def test_a_product_in_16_bits_is_rounded_once_and_so_are_its_gradients() -> None:
    tf = start_tensorflow()
    random = np.random.default_rng(5)
    x, kernel, upstream = (random.normal(size=shape).astype(np.float32) for shape in ((6, 40), (40, 8), (6, 8)))
    given = [tf.constant(x), tf.constant(kernel)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        product = product_in("bfloat16")(*given)
    found = [product, *tape.gradient(product, given, tf.constant(upstream))]
    # bfloat16 has 8 significant bits: each factor is off by up to 2^-8 of itself, and so is the result.
    bounds = [np.abs(x) @ np.abs(kernel), np.abs(upstream) @ np.abs(kernel.T), np.abs(x.T) @ np.abs(upstream)]
    for value, exact, bound in zip(found, [x @ kernel, upstream @ kernel.T, x.T @ upstream], bounds, strict=True):
        assert value.dtype == tf.float32
        off = np.abs(value.numpy() - exact)
        assert off.max() > 0
        assert (off <= 3.1 * 2**-8 * bound).all()


@pytest.mark.parametrize(
    ("mode", "precisions", "on_processors"),
    [
        ("fine_tuning", ["bfloat16", "float16"], True),
        ("fine_tuning", ["bfloat16", "float16"], False),
        ("partial", ["bfloat16"], True),
        ("partial", ["bfloat16"], False),
    ],
)
def test_it_learns_nearly_the_same(
    mode: str,
    precisions: list[str],
    on_processors: bool,
    steady_model: Path,
    training: Training,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # MOCK: what an accelerator computes is computed on this processor.
    for place in ("tasks.retrain.precision", "tasks.retrain.train", "tasks.retrain.fine_tuning"):
        monkeypatch.setattr(f"{place}.on_processors", lambda strategy: on_processors)
    parts = "products" if on_processors else "layers"
    exact, *in_16_bits = (
        # Without dropout, which follows from the shape of a batch: lengths are even in 16 bits.
        training(steady_model, mode=mode, precision=each, learning_rate=1e-3, epochs=2, dropout=0.0)
        for each in ("float32", *precisions)
    )
    assert not any("mixed precision" in line for line in exact.lines)
    for run, precision in zip(in_16_bits, precisions, strict=True):
        assert f"mixed precision: {parts} in {precision}, weights in float32" in run.lines
        assert run.facts.precision == run.description["precision"] == precision
        losses, expected = run.steps["loss"].to_numpy(), exact.steps["loss"].to_numpy()
        # Eight bits of fraction: the losses of a run drift apart, but not far.
        np.testing.assert_allclose(losses[0], expected[0], rtol=0.02)
        assert 0 < np.abs(losses - expected).max() < 0.1
        assert run.history[-1]["validation"]["accuracy"] >= exact.history[-1]["validation"]["accuracy"] - 0.05


@given(st.integers(1, 2000))
def test_padding_that_saves_kernels_is_little(longest: int) -> None:
    for precision in ("bfloat16", "float16"):
        padded = padded_length(longest, precision, products_only=True)
        assert longest <= padded < longest + max(2, longest / 4)
        assert padded % 2 == 0
        assert padded_length(padded, precision, products_only=True) == padded
        assert padded_length(longest, precision, products_only=False) == longest
    assert padded_length(longest, "float32", products_only=True) == longest
    assert len({padded_length(each, "bfloat16", products_only=True) for each in range(1, 129)}) == 16 + 8 + 8


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_there_are_fewer_lengths_where_products_are_in_16_bits(
    precision: Precision, model: Path, tokens: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = int(read_examples(tokens, "train").inputs.lengths.max())
    batch, found = TokenIds.batch, set()

    def note(inputs: TokenIds, rows: Rows, length: int | None = None) -> Any:
        features = batch(inputs, rows, length)
        needed = int(inputs.lengths[rows].max(initial=1))
        # Answers are computed in float32, at the lengths that the texts have.
        wanted = needed if length is None else padded_length(needed, precision, products_only=True)
        found.add((length is None, features["input_word_ids"].shape[1] - min(wanted, longest)))
        return features

    monkeypatch.setattr(TokenIds, "batch", note)
    training(model, mode="fine_tuning", precision=precision, epochs=1)
    assert found == {(True, 0), (False, 0)}


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
    # MOCK: there is no GPU here; what TensorFlow tells of one is made up.
    gpus: list[tuple[int, int]] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    for found, chosen in (([(8, 0), (9, 0)], "bfloat16"), ([(8, 6), (7, 5)], "float16"), ([(6, 1)], "float32")):
        gpus[:] = found
        assert choose_precision("auto", model, None, print) == chosen


@pytest.mark.parametrize(
    ("flags", "variables", "chosen"),
    [
        ("fpu sse2 avx512f avx512_bf16 amx_bf16 amx_tile", {}, "bfloat16"),
        ("fpu sse2 avx512f amx_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, "bfloat16"),
        ("fpu sse2 avx512f amx_bf16", {"ONEDNN_MAX_CPU_ISA": "avx512_core"}, "float32"),
        ("fpu sse2 avx512f amx_bf16", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32"),
        ("fpu sse2 avx512f avx512_bf16", {}, "float32"),
        (None, {}, "float32"),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_multiplies_it_in_tiles(
    flags: str | None,
    variables: dict[str, str],
    chosen: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start_tensorflow()
    # MOCK: another processor than the one that runs this.
    monkeypatch.setattr(module, "_CPU", tmp_path / "cpuinfo")
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    for name in ("ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    lines: list[str] = []
    assert choose_precision("auto", model, None, lines.append) == chosen
    assert lines == (["mixed precision: products in bfloat16, weights in float32"] if chosen == "bfloat16" else [])
