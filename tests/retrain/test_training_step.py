"""A batch in parts is the same step; and what happens when memory runs out."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.errors import TrainingFailed
from tasks.retrain import training_step
from tasks.retrain.encoder import Encoder, load_encoder
from tasks.retrain.examples import read_examples
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.fit import TrainingState
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import LANES, start_tensorflow
from tasks.retrain.training_step import Part, TrainingStep
from tests.retrain.runs import Tuned, tune, with_effect
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, part_of, recipe

pytestmark = pytest.mark.slow


def same_weights(found: Tuned, expected: Tuned, atol: float) -> None:
    other = with_effect(expected.weights | expected.head.weights())
    for name, value in with_effect(found.weights | found.head.weights()).items():
        np.testing.assert_allclose(value, other[name], atol=atol, err_msg=name)


def test_parts_of_a_batch_make_the_same_steps(
    steady_model: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last batch has 40 rows, and no part is as large as another throughout.
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 50, "dropout": 0.0, "learning_rate": 1e-3}
    whole = tune(steady_model, tokens, **settings)
    asked = tune(steady_model, tokens, accumulation_steps=7, **settings)
    assert asked.state.parts == 7
    # In lanes, long texts are computed a few at a time.
    monkeypatch.setattr(training_step, "LANES", LANES)
    monkeypatch.setattr(training_step, "LANE_TOKENS", 100)
    shapes: list[list[tuple[int, ...]]] = []
    take = TrainingStep.take

    def taken(step: TrainingStep, parts: Sequence[Part], rate: np.float32, draw: int) -> np.float32:
        shapes.append([features["input_word_ids"].shape for features, *_ in parts])
        return take(step, parts, rate, draw)

    monkeypatch.setattr(TrainingStep, "take", taken)
    long = tune(steady_model, tokens, **settings)
    assert all(rows * length <= 100 for parts in shapes for rows, length in parts)
    assert len(set(map(len, shapes))) > 1, "the shorter the texts, the fewer parts"
    assert {len(parts) % LANES for parts in shapes} == {0}
    for divided in (asked, long):
        assert len(divided.state.losses) == len(whole.state.losses) == 5
        np.testing.assert_allclose(divided.state.losses, whole.state.losses, atol=1e-5)
        same_weights(divided, whole, atol=5e-5)


@given(st.integers(1, 300), st.integers(1, 700), st.integers(2, 3), st.integers(1, 4))
def test_no_lane_has_more_than_its_tokens_or_one_text(rows: int, length: int, lanes: int, replicas: int) -> None:
    numbers: Any = SimpleNamespace(_lanes=lanes, at_once=lanes * replicas)

    def most(parts: int) -> int:
        wholes = np.array_split(np.arange(rows), parts)
        return max(len(piece) for whole in wholes for piece in np.array_split(whole, numbers.at_once))

    parts = TrainingStep.parts_of(numbers, rows, length)
    assert most(parts) * length <= training_step.LANE_TOKENS or most(parts) == 1
    if parts > 1:
        assert most(parts - 1) * length > training_step.LANE_TOKENS, "in one part less it would not fit"


@pytest.mark.parametrize("lanes", [1, 2])
def test_graphs_are_built_before_the_first_step(lanes: int, model: Path, tokens: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning")
    encoder = hungry(model, most=1000)
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    variables = [*(variable for group in encoder.groups for variable in group), *head.variables]
    step = TrainingStep(encoder, head, variables, AdamW(variables, 0.0), SoftmaxCrossEntropy(EVEN), lanes=lanes)
    assert encoder.traced == 0
    step.build(1, 2)
    built = encoder.traced
    assert built > 0
    train = read_examples(tokens, "train")
    for rows, parts in ((8, 1), (12, 1), (12, 2), (9, 3)):
        pieces = np.array_split(np.arange(rows), parts * lanes)
        step.take([part_of(train, piece) for piece in pieces], np.float32(1e-3), 0)
    assert encoder.seen
    assert encoder.traced == built


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_nothing_is_traced_within_an_epoch(accumulation_steps: int, model: Path, tokens: Path) -> None:
    encoder, traced = hungry(model, most=1000), []
    record = Record()
    offer = record.offer

    def note(state: TrainingState, *, epoch_ended: bool) -> None:
        offer(state, epoch_ended=epoch_ended)
        traced.append(encoder.traced)

    record.offer = note  # type: ignore[method-assign]
    tune(model, tokens, record, encoder, epochs=2, batch_size=32, accumulation_steps=accumulation_steps)
    # One graph of the step and one of the forward pass; where batches are divided, that of a part.
    assert set(traced) == {2}


@pytest.mark.parametrize(("count", "side_by_side"), [(29, 2), (1, 3)])
def test_lanes_give_what_one_gives(count: int, side_by_side: int, steady_model: Path, tokens: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning", dropout=0.0)
    train, rows, results = read_examples(tokens, "train"), np.arange(count), []
    for number in (1, side_by_side):
        encoder = load_encoder(steady_model, FACTS, settings, Plan(0, None))
        head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
        variables = [*(variable for group in encoder.groups for variable in group), *head.variables]
        step = TrainingStep(encoder, head, variables, AdamW(variables, 0.01), SoftmaxCrossEntropy(EVEN), lanes=number)
        assert step.at_once == number
        parts = [part_of(train, piece) for piece in np.array_split(rows, number)]
        loss = step.take(parts, np.float32(1e-3), 0)
        results.append((loss, with_effect({variable.name: variable.numpy() for variable in variables})))
    (alone, expected), (together, found) = results
    assert together == pytest.approx(alone, abs=1e-6)
    # Adam's first step is the rate in size, whatever the gradient's: rounding shows where that is nearly 0.
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=2e-4, err_msg=name)


@pytest.mark.usefixtures("two_lanes")
def test_a_part_is_as_small_as_it_was_asked_to_be(model: Path, tokens: Path) -> None:
    counting = hungry(model, most=1000)
    tuned = tune(model, tokens, encoder=counting, epochs=1, batch_size=32, accumulation_steps=100)
    # 7 batches of 32 rows and one of 16, in parts of one row: of two lanes, one has nothing to do.
    assert tuned.state.parts == 32
    assert (max(counting.seen), sum(counting.seen)) == (1, 240)


@pytest.mark.parametrize("kind", ["model", "steady_model"])
def test_each_part_and_each_lane_drops_other_units(kind: str, tokens: Path, request: pytest.FixtureRequest) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning", dropout=0.0)
    encoder = load_encoder(request.getfixturevalue(kind), FACTS, settings, Plan(0, None))
    head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
    variables = [*(variable for group in encoder.groups for variable in group), *head.variables]
    step, in_lanes = (
        TrainingStep(encoder, head, variables, AdamW(variables, 0.0), SoftmaxCrossEntropy(EVEN), lanes=lanes)
        for lanes in (1, 2)
    )
    examples = read_examples(tokens, "train")
    rows = np.arange(16)
    part = part_of(examples, rows)

    def loss(*parts: Any, number: int = 3) -> float:
        return float(step.take(parts, np.float32(0), number))  # at a rate of 0, so that all start from the same weights

    # Twice the same rows have the mean loss of once, unless they drop other units.
    assert loss(part, part) == loss(part, part)
    assert (abs(loss(part, part) - loss(part)) < 1e-6) is (kind == "steady_model")
    assert (abs(loss(part, number=4) - loss(part)) < 1e-6) is (kind == "steady_model")
    # Lanes draw as the parts of an accumulated batch do.
    assert in_lanes.take([part, part], np.float32(0), 3) == pytest.approx(loss(part, part), abs=1e-6)


class Hungry:
    """An encoder for which memory runs out with more than a few rows of training at once.

    The op that fails within the graph is a stand-in: where TensorFlow itself cannot allocate, it waits for ten seconds
    before it fails with the same error.

    Args:
        encoder: what computes.
        most: rows that memory suffices for.
        from_step: the step from which memory is short.
    """

    def __init__(self, encoder: Encoder, most: int, from_step: int) -> None:
        self._encoder, self._most, self._from_step = encoder, most, from_step
        self.width, self.groups, self.signature = encoder.width, encoder.groups, encoder.signature
        self.in_lanes, self.words = encoder.in_lanes, encoder.words
        self.seen: list[int] = []
        self.traced = 0

    def text_vectors(self, features: Any, step: Any) -> Any:
        import tensorflow as tf

        self.traced += 1
        vectors = self._encoder.text_vectors(features, step)
        if step is None:
            return vectors

        def allocate(rows: int, step: int) -> Any:
            self.seen.append(int(rows))
            # Parts of a batch have numbers of their own, far above those of the steps.
            if rows > self._most and step % (1 << 40) >= self._from_step:
                raise MemoryError
            return np.float32(1)

        one = tf.numpy_function(allocate, [tf.shape(vectors)[0], step], tf.float32, stateful=False)
        return vectors * tf.ensure_shape(one, [])


def hungry(model: Path, most: int, from_step: int = 0) -> Hungry:
    start_tensorflow()
    return Hungry(load_encoder(model, FACTS, recipe(), Plan(0, None)), most, from_step)


class Record:
    """A keeper that keeps nothing but in how many parts each step's batch was computed, and the number of rows."""

    def __init__(self) -> None:
        self.parts: list[int] = []
        self.rows = 0

    def restore(self, state: TrainingState) -> bool:
        return False

    def offer(self, state: TrainingState, *, epoch_ended: bool) -> None:
        if not epoch_ended:
            self.parts.append(state.parts)

    def keep_batch(self, rows: object, step: int, loss: float, learning_rate: float) -> str | None:
        raise AssertionError(f"diverged in step {step}")

    def note(self, rows: int, seconds: float) -> None:
        self.rows = rows


@pytest.mark.parametrize(("clip_norm", "lanes", "parts"), [(1.0, LANES, 4), (None, 1, 8)])
def test_when_memory_runs_out_training_goes_on_in_parts(
    clip_norm: float | None,
    lanes: int,
    parts: int,
    steady_model: Path,
    tokens: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_step, "LANES", lanes)
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 32,
        "dropout": 0.0,
        "learning_rate": 1e-3,
        "clip_norm": clip_norm,
    }
    record = Record()
    # Memory suffices for 5 rows at a time in each lane, which has its share of a part.
    encoder = hungry(steady_model, most=5, from_step=3)
    halved = tune(steady_model, tokens, record, encoder, **settings)
    assert record.parts == [1, 1, 1, *[parts] * 5]
    assert record.rows == 240
    assert halved.state.parts == parts
    assert [line for line in halved.lines if "memory" in line] == [
        f"memory ran out: batches are computed in {number} parts or more from here on; their size stays the same"
        for number in (2, 4, 8)
        if number <= parts
    ]
    whole = tune(steady_model, tokens, **settings)
    assert halved.state.optimizer.steps == whole.state.optimizer.steps == 8
    np.testing.assert_allclose(halved.state.losses, whole.state.losses, atol=1e-5)
    same_weights(halved, whole, atol=5e-5)


# In lanes of one row each, a batch is in 4 parts before memory runs out.
@pytest.mark.parametrize(("lanes", "lane_tokens", "tried"), [(1, 640, [1, 2, 4, 8]), (2, 1, [4, 8])])
def test_one_row_that_is_too_much_ends_the_training(
    lanes: int, lane_tokens: int, tried: list[int], model: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_step, "LANES", lanes)
    monkeypatch.setattr(training_step, "LANE_TOKENS", lane_tokens)
    parts, take = [], TrainingStep.take

    def taken(step: TrainingStep, pieces: Sequence[Part], rate: np.float32, draw: int) -> np.float32:
        parts.append(len(pieces) // lanes)
        return take(step, pieces, rate, draw)

    monkeypatch.setattr(TrainingStep, "take", taken)
    with pytest.raises(TrainingFailed, match="memory ran out in step 1, with a batch of 8 rows in 8 parts") as failed:
        tune(model, tokens, encoder=hungry(model, most=0), batch_size=8, epochs=1)
    assert parts == tried
    assert failed.value.where == "train.batch_size"
    assert "lower train.max_length" in failed.value.remedy
