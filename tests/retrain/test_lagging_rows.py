"""Rows that lag behind end where AdamW takes them step by step."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.retrain import lagging_rows, training_step
from tasks.retrain.fit import TrainingState
from tasks.retrain.lagging_rows import LaggingRows, Taken
from tasks.retrain.optimizer import EPSILON, AdamW
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.adamw import Array, Reference
from tests.retrain.runs import tune, with_effect

ROWS, WIDTH, DECAY = 6, 3, 0.1
Step = tuple[list[int], float]
"""Rows that have a gradient, and the learning rate."""

steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=3, unique=True), st.sampled_from([0.0, 1e-3, 1e-2])
    ),
    min_size=1,
    max_size=30,
)


class Both:
    """A table under AdamW with rows that lag behind, and the same in NumPy with rows that do not."""

    def __init__(self, size: float, clip_norm: float | None = 1.0, share: float = 1.0) -> None:
        import tensorflow as tf

        self._size = size
        before = np.random.default_rng(5).normal(size=(ROWS, WIDTH))
        self.table = tf.Variable(before.astype(np.float32), name="words")
        self.optimizer = AdamW([self.table], DECAY, clip_norm, [share], lagging=self.table)
        self.reference = Reference([before], [DECAY], [share], clip_norm or np.inf)
        signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, WIDTH]), tf.TensorSpec([])]
        # In a graph, where nothing but TensorFlow's own rules keeps reads and writes apart.
        self._step = tf.function(self._take, input_signature=signature, autograph=False)

    def _take(self, rows: Any, gradient: Any, rate: Any) -> Any:
        return self.optimizer.apply([gradient], rate, self.lagging.take(rows))

    @property
    def lagging(self) -> LaggingRows:
        assert self.optimizer.lagging is not None
        return self.optimizer.lagging

    def take(self, step: Step) -> None:
        rows, rate = step
        random = np.random.default_rng([self.optimizer.steps, *rows])
        gradient: Array = np.zeros((ROWS, WIDTH))
        gradient[rows] = random.normal(size=(len(rows), WIDTH), scale=self._size)
        self.reference.apply([gradient], rate)
        if self.lagging.must_settle:
            self.optimizer.settle()
        self._step(rows, gradient[rows].astype(np.float32), np.float32(rate))

    def state(self) -> TrainingState:
        state = TrainingState([self.table], self.optimizer, np.ones(50, np.float32))
        state.best = state.weights()
        return state

    def found(self) -> NDArray[np.float32]:
        self.optimizer.settle()
        values: NDArray[np.float32] = self.table.numpy()
        return values

    def expected(self) -> Array:
        return self.reference.weights[0]


@pytest.fixture(autouse=True)
def _started() -> None:
    start_tensorflow()


@settings(max_examples=40, deadline=None)
@given(
    steps,
    st.integers(1, 7),
    st.sampled_from([1e-4, 1e-2, 10.0]),
    st.sampled_from([None, 1.0]),
    st.sampled_from([1.0, 0.5]),
)
def test_rows_end_where_each_step_would_have_taken_them(
    taken: list[Step], window: int, size: float, clip_norm: float | None, share: float
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lagging_rows, "WINDOW", window)
        both = Both(size, clip_norm, share)
        for step in taken:
            both.take(step)
        np.testing.assert_allclose(both.found(), both.expected(), rtol=1e-5, atol=3e-6)


def test_a_row_is_up_to_date_when_it_is_taken_and_not_before() -> None:
    import tensorflow as tf

    both = Both(0.01)
    both.take(([0, 1], 0.01))
    moved = both.table.numpy()
    for _ in range(20):
        both.take(([1], 0.01))
    taken = both.lagging.take(tf.constant([5, 0]))
    assert np.array_equal(both.table.numpy()[[0, 5]], moved[[0, 5]])
    assert not np.allclose(taken.values, moved[[5, 0]], atol=1e-3)
    np.testing.assert_allclose(taken.values, both.expected()[[5, 0]], atol=3e-6)
    np.testing.assert_allclose(taken.first, both.reference.m[0][[5, 0]], rtol=1e-4)
    np.testing.assert_allclose(taken.second, both.reference.v[0][[5, 0]], rtol=1e-4)


@pytest.mark.parametrize("size", [0.1 * EPSILON, EPSILON, 10 * EPSILON])
def test_gradients_as_small_as_epsilon_are_moved_nearly_as_far(size: float) -> None:
    both = Both(size)
    before = both.table.numpy()
    for step in range(60):
        both.take(([step % 3], 1e-2))
    way = np.abs(both.expected() - before * (1 - DECAY * 1e-2) ** 60)[:3].max()
    assert way > 1e-3
    assert np.abs(both.found() - both.expected())[:3].max() < 0.01 * way


def test_a_row_that_was_moved_just_now_is_taken_as_it_is() -> None:
    import tensorflow as tf

    both = Both(0.01)
    both.take(([3], 0.01))
    # Moments of zero, and what has no gradient at all.
    both._step([0, 2], np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32), np.float32(0.01))
    as_it_is = [variable.numpy()[[2, 0]] for variable in (both.table, *both.optimizer.state[1:])]
    assert [value.numpy().tobytes() for value in both.lagging.take(tf.constant([2, 0]))[1:]] == [
        value.tobytes() for value in as_it_is
    ]


SCRIPT: list[Step] = [([0, 2], 0.01), ([1], 0.005), ([2, 5], 0.02), ([4], 0.01), ([0, 1, 4], 0.01)]


def test_what_is_kept_in_the_middle_goes_on_bit_by_bit() -> None:
    one, other = Both(0.01), Both(0.01)
    for step in SCRIPT[:3]:
        one.take(step)
    kept = one.state().arrays()
    other.take(([3], 1.0))
    other.state().restore(kept, 0, [], 1)
    for step in SCRIPT[3:]:
        one.take(step)
        other.take(step)
    assert one.found().tobytes() == other.found().tobytes()


def test_other_devices_go_on_from_where_rows_lag_and_from_where_they_do_not() -> None:
    import tensorflow as tf

    lagging, dense, again = Both(0.01), tf.Variable(tf.zeros((ROWS, WIDTH)), name="words"), Both(0.01)
    moves_all = AdamW([dense], DECAY)
    state = TrainingState([dense], moves_all, np.ones(50, np.float32), best=[np.zeros((ROWS, WIDTH), np.float32)])
    for step in SCRIPT:
        lagging.take(step)
    assert not np.allclose(lagging.table, lagging.expected(), atol=1e-4), "rows lag behind"
    state.restore(lagging.state().arrays(), 0, [], 1)
    np.testing.assert_allclose(dense.numpy(), lagging.expected(), atol=3e-6)
    for moments, expected in zip(moves_all.state[1:], (lagging.reference.m, lagging.reference.v), strict=True):
        np.testing.assert_allclose(moments.numpy(), expected[0], rtol=1e-4)
    assert moves_all.steps == len(SCRIPT)

    again.take(([3], 1.0))
    again.state().restore(state.arrays(), 0, [], 1)
    assert again.found().tobytes() == dense.numpy().tobytes(), "what it was before is forgotten"


@pytest.mark.parametrize("field", ["values", "first", "second"])
def test_memory_that_runs_out_leaves_rows_as_they_were(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    short: list[bool] = []
    take = LaggingRows.take

    def allocate(value: NDArray[np.float32]) -> NDArray[np.float32]:
        if short:
            short.pop()
            time.sleep(0.2)  # what can be written meanwhile is written
            raise MemoryError
        return value

    def hungry(rows: LaggingRows, wanted: Any) -> Taken:
        taken = take(rows, wanted)
        value = getattr(taken, field)
        # MOCK: memory that runs out.
        allocated = tf.numpy_function(allocate, [value], tf.float32, stateful=False)
        return taken._replace(**{field: tf.ensure_shape(allocated, value.shape)})

    monkeypatch.setattr(LaggingRows, "take", hungry)
    both = Both(0.01)
    for step in SCRIPT:
        both.take(step)
    kept = both.state().arrays()
    short.append(True)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        both.optimizer.settle()
    for name, value in both.state().arrays().items():
        assert value.tobytes() == kept[name].tobytes(), name
    np.testing.assert_allclose(both.found(), both.expected(), atol=3e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("two_lanes")
def test_a_training_is_the_same_without(steady_model: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some batches of the 16 rows are in parts, and rows cannot lag behind for a whole epoch.
    monkeypatch.setattr(training_step, "LANE_TOKENS", 60)
    monkeypatch.setattr(lagging_rows, "WINDOW", 2)
    wanted: dict[str, Any] = {"epochs": 2, "batch_size": 16, "dropout": 0.0, "learning_rate": 1e-3}
    settled, parts = [], []
    settle, take = lagging_rows.LaggingRows.settle, training_step.TrainingStep.take

    def count(rows: lagging_rows.LaggingRows) -> None:
        settled.append(rows.must_settle)
        settle(rows)

    def taken(step: training_step.TrainingStep, *arguments: Any) -> np.float32:
        parts.append(len(arguments[0]))
        return take(step, *arguments)

    monkeypatch.setattr(lagging_rows.LaggingRows, "settle", count)
    monkeypatch.setattr(training_step.TrainingStep, "take", taken)
    lagging = tune(steady_model, tokens, **wanted)
    assert min(parts) == 2 < max(parts), "some steps are in parts, and others are not"
    assert {True, False} == set(settled)
    settled.clear()
    # MOCK: an accelerator, where each step moves all rows.
    monkeypatch.setattr("tasks.retrain.fine_tuning.on_processors", lambda strategy: False)
    whole = tune(steady_model, tokens, **wanted)
    assert settled == []
    assert whole.state.optimizer.lagging is None
    np.testing.assert_allclose(lagging.state.losses, whole.state.losses, atol=1e-5)
    other = with_effect(whole.weights | whole.head.weights())
    for name, value in with_effect(lagging.weights | lagging.head.weights()).items():
        np.testing.assert_allclose(value, other[name], atol=5e-5, err_msg=name)
