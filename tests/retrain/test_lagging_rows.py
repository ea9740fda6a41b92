"""Rows that lag behind end where AdamW takes them step by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.retrain import lagging_rows, training_step
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

    def __init__(self, size: float, clip_norm: float | None = 1.0) -> None:
        tf = start_tensorflow()
        self._random, self._size = np.random.default_rng(5), size
        before = self._random.normal(size=(ROWS, WIDTH))
        self.table = tf.Variable(before.astype(np.float32), name="words")
        self.optimizer = AdamW([self.table], DECAY, clip_norm, lagging=self.table)
        self.reference = Reference([before], [DECAY], [1.0], clip_norm or np.inf)

    def take(self, step: Step) -> None:
        import tensorflow as tf

        rows, rate = step
        gradient: Array = np.zeros((ROWS, WIDTH))
        gradient[rows] = self._random.normal(size=(len(rows), WIDTH), scale=self._size)
        self.reference.apply([gradient], rate)
        assert self.optimizer.lagging is not None
        if self.optimizer.lagging.must_settle:
            self.optimizer.settle()
        taken = self.optimizer.lagging.take(tf.constant(rows))
        self.optimizer.apply([tf.constant(gradient[rows], tf.float32)], tf.constant(rate), taken)

    def found(self) -> NDArray[np.float32]:
        self.optimizer.settle()
        values: NDArray[np.float32] = self.table.numpy()
        return values

    def expected(self) -> Array:
        return self.reference.weights[0]


@settings(max_examples=40, deadline=None)
@given(steps, st.integers(1, 7), st.sampled_from([1e-4, 1e-2, 10.0]), st.sampled_from([None, 1.0]))
def test_rows_end_where_each_step_would_have_taken_them(
    taken: list[Step], window: int, size: float, clip_norm: float | None
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(lagging_rows, "WINDOW", window)
        both = Both(size, clip_norm)
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
    assert both.optimizer.lagging is not None
    taken = both.optimizer.lagging.take(tf.constant([5, 0]))
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
        both.take(([step % 3], 1e-3))
    way = np.abs(both.expected() - before * (1 - DECAY * 1e-3) ** 60)[:3].max()
    assert way > 5e-4
    assert np.abs(both.found() - both.expected())[:3].max() < 0.01 * way


def test_what_is_kept_in_the_middle_goes_on_bit_by_bit() -> None:
    one, other = Both(0.01), Both(0.01)
    script: list[Step] = [([0, 2], 0.01), ([1], 0.005), ([2, 5], 0.02), ([4], 0.01), ([0, 1, 4], 0.01)]
    for step in script[:3]:
        one.take(step)
        other.take(step)
    kept = [value.numpy() for value in (one.table, *one.optimizer.state)]
    for step in script[3:]:
        one.take(step)
    # What comes later in another process, on other values.
    other.take(([3], 1.0))
    for variable, value in zip((other.table, *other.optimizer.state), kept, strict=True):
        variable.assign(value)
    other._random = np.random.default_rng(5)
    other._random.normal(size=(ROWS, WIDTH))
    for rows, _ in script[:3]:
        other._random.normal(size=(len(rows), WIDTH))
    for step in script[3:]:
        other.take(step)
    assert one.found().tobytes() == other.found().tobytes()


def test_rows_that_are_up_to_date_stay_as_they_are() -> None:
    both = Both(0.01)
    both.take(([0, 2], 0.01))
    found = both.found().tobytes()
    assert both.found().tobytes() == found


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
    monkeypatch.setattr("tasks.retrain.fine_tuning.AdamW", lambda *arguments: AdamW(*arguments[:-1]))
    whole = tune(steady_model, tokens, **wanted)
    assert settled == []
    np.testing.assert_allclose(lagging.state.losses, whole.state.losses, atol=1e-5)
    other = with_effect(whole.weights | whole.head.weights())
    for name, value in with_effect(lagging.weights | lagging.head.weights()).items():
        np.testing.assert_allclose(value, other[name], atol=5e-5, err_msg=name)
