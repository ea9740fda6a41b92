"""How much each class counts."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hubtune.errors import InvalidData, InvalidRecipe
from tasks.retrain.class_weights import class_weights, positive_weights

TRAIN = np.repeat(np.arange(3, dtype=np.int32), [60, 30, 10])
LABELS = ["a", "b", "c"]
# 1 of 4 rows has class a, 2 have class b, 3 have class c.
SEVERAL = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]], np.float32)


def test_none_counts_every_row_the_same() -> None:
    assert class_weights(None, LABELS, TRAIN).tolist() == [1, 1, 1]


def test_balanced_is_scikit_learns_formula() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=TRAIN)
    np.testing.assert_allclose(class_weights("balanced", LABELS, TRAIN), expected, rtol=1e-6)


def test_weights_by_name_keep_their_ratios_and_are_one_on_average() -> None:
    weights = class_weights({"c": 8.0, "b": 2.0}, LABELS, TRAIN)
    np.testing.assert_allclose(weights / weights[0], [1, 2, 8], rtol=1e-6)
    assert weights[TRAIN].mean() == pytest.approx(1)


@pytest.mark.parametrize(
    "weigh", [lambda names: class_weights(names, LABELS, TRAIN), lambda names: positive_weights(names, LABELS, SEVERAL)]
)
def test_an_unknown_name_is_refused(weigh: Callable[[dict[str, float]], object]) -> None:
    with pytest.raises(InvalidRecipe, match="'d', which is no class") as refused:
        weigh({"d": 2.0})
    assert "a, b, c" in refused.value.remedy


def test_a_class_without_rows_has_no_balanced_weight() -> None:
    with pytest.raises(InvalidData, match="'d' has no training rows"):
        class_weights("balanced", [*LABELS, "d"], TRAIN)


def test_of_several_classes_each_has_a_weight_for_its_own_rows() -> None:
    assert positive_weights(None, LABELS, SEVERAL).tolist() == [1, 1, 1]
    np.testing.assert_allclose(positive_weights("balanced", LABELS, SEVERAL), [3, 1, 1 / 3], rtol=1e-6)
    assert positive_weights({"c": 8.0, "b": 0.5}, LABELS, SEVERAL).tolist() == [1, 0.5, 8]


@pytest.mark.parametrize(("column", "told"), [(0, "'a' has no training rows"), (1, "'a' is one of each training row")])
def test_a_class_of_no_row_or_of_all_has_no_balanced_weight(column: int, told: str) -> None:
    train = SEVERAL.copy()
    train[:, 0] = column
    with pytest.raises(InvalidData, match=told):
        positive_weights("balanced", LABELS, train)
