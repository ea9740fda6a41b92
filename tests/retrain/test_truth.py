"""What training takes as the truth against the labels as they lie in an artifact."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrain.truth import label_column, read_truth, read_weights

CLASSES = 5
SETS = st.lists(st.sets(st.integers(0, CLASSES - 1)).map(sorted), min_size=1, max_size=12)


@given(SETS)
def test_sets_of_classes_go_through_training_as_they_are(sets: list[list[int]]) -> None:
    labels = pl.Series(sets, dtype=pl.List(pl.Int32))
    truth = read_truth(labels, CLASSES)
    assert (truth.dtype, truth.shape) == (np.dtype(np.float32), (len(sets), CLASSES))
    assert [np.flatnonzero(row).tolist() for row in truth] == sets
    assert set(np.unique(truth)) <= {0, 1}
    assert label_column(truth).equals(labels, check_dtypes=True)
    # Who does not look at labels need not know the classes.
    assert read_truth(labels, 0).shape == (len(sets), 0)


def test_one_class_of_each_row_stays_an_index() -> None:
    labels = pl.Series([2, 0, 1], dtype=pl.Int32)
    truth = read_truth(labels, CLASSES)
    assert (truth.dtype, truth.tolist()) == (np.dtype(np.int32), [2, 0, 1])
    assert label_column(truth).equals(labels, check_dtypes=True)


def test_only_the_ratios_of_weights_matter() -> None:
    few, many = (read_weights(pl.Series([factor, 2 * factor, 3 * factor])) for factor in (1e-6, 3e5))
    assert few.dtype == np.float32
    np.testing.assert_allclose(few, [0.5, 1.0, 1.5], rtol=1e-6)
    np.testing.assert_allclose(many, few, rtol=1e-6)
