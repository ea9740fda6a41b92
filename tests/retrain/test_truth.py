"""What training takes as the truth against the labels as they lie in an artifact."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.retrain.truth import Truth, label_column, read_truth, rows_that_count, with_padding

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


@pytest.mark.parametrize("truth", [np.array([1, 0], np.int32), np.array([[0, 0, 0], [1, 0, 1]], np.float32)])
def test_padding_is_seen(truth: Truth) -> None:
    padded = with_padding(truth, 5)
    assert (padded.dtype, padded.shape) == (truth.dtype, (5, *truth.shape[1:]))
    assert (padded[:2] == truth).all()
    assert (padded[2:] == -1).all()
    assert (rows_that_count(truth), rows_that_count(padded), rows_that_count(padded[2:])) == (2, 2, 0)
    assert rows_that_count(padded[:0]) == 0
