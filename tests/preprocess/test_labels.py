import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.preprocess.labels import class_order


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1", "2", "10"],
        ["-1", "0", "1"],
        ["0.5", "1", "1.5", "10"],
        ["level 2", "level 10", "Level 11"],
        ["a", "B", "c"],
        ["1 star", "2 stars", "10 stars"],
        ["2", "10", "other"],
        ["1", "01"],
    ],
)
def test_without_a_map_labels_are_sorted_naturally(names: list[str]) -> None:
    shuffled = names.copy()
    random.Random(1).shuffle(shuffled)
    expected = names if names != ["1", "01"] else ["01", "1"]
    assert class_order(shuffled, None) == expected


def test_with_a_map_classes_stand_in_the_order_of_the_map() -> None:
    assert class_order({"b"}, {"9": "b", "1": "a", "2": "b", "3": "c"}) == ["b", "a", "c"]


@settings(deadline=None, max_examples=100)
@given(names=st.sets(st.text(min_size=1), max_size=8), seed=st.integers(0, 99))
def test_the_order_does_not_depend_on_the_order_seen(names: set[str], seed: int) -> None:
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    assert class_order(shuffled, None) == class_order(sorted(names), None)
    assert sorted(class_order(shuffled, None)) == sorted(names)
