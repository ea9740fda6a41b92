"""How much each class counts."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hubtune.errors import InvalidData, InvalidRecipe
from tasks.retrain.class_weights import class_weights

TRAIN = np.repeat(np.arange(3, dtype=np.int32), [60, 30, 10])
LABELS = ["a", "b", "c"]


def test_none_counts_every_row_the_same() -> None:
    assert class_weights(None, LABELS, TRAIN).tolist() == [1, 1, 1]


def test_balanced_is_scikit_learns_formula() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TRAIN)
    np.testing.assert_allclose(class_weights("balanced", LABELS, TRAIN), expected, rtol=1e-6)


def test_weights_by_name_keep_their_ratios_and_are_one_on_average() -> None:
    weights = class_weights({"c": 8.0, "b": 2.0}, LABELS, TRAIN)
    np.testing.assert_allclose(weights / weights[0], [1, 2, 8], rtol=1e-6)
    assert weights[TRAIN].mean() == pytest.approx(1)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="'d', which is no class") as refused:
        class_weights({"d": 2.0}, LABELS, TRAIN)
    assert "a, b, c" in refused.value.remedy


def test_a_class_without_rows_has_no_balanced_weight() -> None:
    with pytest.raises(InvalidData, match="'d' has no training rows"):
        class_weights("balanced", [*LABELS, "d"], TRAIN)
