"""Every row once in each epoch, in batches of similar length."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tasks.retrain.batches import forward_batches, training_batches

LENGTHS = st.lists(st.integers(1, 512), max_size=400).map(lambda values: np.array(values, np.int64))


@given(LENGTHS, st.integers(1, 70), st.integers(0, 2**31))
def test_an_epoch_has_every_row_once(lengths: NDArray[np.int64], batch_size: int, seed: int) -> None:
    batches = training_batches(lengths, batch_size, np.random.default_rng(seed))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    sizes = sorted(len(batch) for batch in batches)
    assert all(size == batch_size for size in sizes[1:])
    assert len(batches) == -(-len(lengths) // batch_size)


@given(LENGTHS, st.integers(1, 4096))
def test_a_forward_pass_has_every_row_once_within_the_budget(lengths: NDArray[np.int64], budget: int) -> None:
    batches = forward_batches(lengths, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= budget for batch in batches)


def test_batches_are_grouped_by_length() -> None:
    lengths = np.random.default_rng(0).geometric(0.05, 20_000)
    grouped = training_batches(lengths, 32, np.random.default_rng(1))
    padded = sum(len(batch) * lengths[batch].max() for batch in grouped)
    at_random = np.random.default_rng(1).permutation(len(lengths)).reshape(-1, 32)
    assert padded < 1.15 * lengths.sum()
    assert lengths[at_random].max(axis=1).sum() * 32 > 3 * lengths.sum()
    ordered = forward_batches(lengths, 1024)
    assert sum(len(batch) * lengths[batch].max() for batch in ordered) < 1.05 * lengths.sum()


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    lengths = np.arange(1, 201)
    first, again, other = (
        training_batches(lengths, 8, np.random.default_rng(seed)) for seed in ([1, 0], [1, 0], [1, 1])
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first, other, strict=True))
    # Not sorted by length: a run must not end on the shortest texts.
    assert list(map(int, (lengths[batch].max() for batch in first))) != sorted(lengths[batch].max() for batch in first)
