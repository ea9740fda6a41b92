"""Warm-up and decay, value by value."""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrain.schedule import learning_rates


def test_values() -> None:
    rates = learning_rates(10, peak=1.0, warmup_fraction=0.4)
    np.testing.assert_allclose(rates, [1 / 4, 2 / 4, 3 / 4, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6], rtol=1e-6)


def test_without_warm_up_the_first_step_is_at_the_peak() -> None:
    np.testing.assert_allclose(
        learning_rates(4, peak=2e-3, warmup_fraction=0.0), [2e-3, 1.5e-3, 1e-3, 0.5e-3], rtol=1e-6
    )


def test_values_along_a_cosine() -> None:
    rates = learning_rates(8, peak=2.0, warmup_fraction=0.25, schedule="cosine")
    falling = [1 + math.cos(math.pi * done / 6) for done in range(6)]
    np.testing.assert_allclose(rates, [1, 2, *falling], rtol=1e-6)
    assert rates[5] == pytest.approx(1.0)  # half way down at half of the time


@given(st.integers(1, 500), st.floats(0, 0.5), st.sampled_from(["linear", "cosine"]))
def test_it_rises_then_falls_and_no_step_is_lost(
    steps: int, warmup_fraction: float, schedule: Literal["linear", "cosine"]
) -> None:
    rates = learning_rates(steps, 1.0, warmup_fraction, schedule)
    top = int(rates.argmax())
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert rates.max() == pytest.approx(1.0)
    assert rates.min() > 0
