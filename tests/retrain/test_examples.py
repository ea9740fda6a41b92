"""Ragged token ids against plain lists."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from tasks.retrain.examples import Texts, TokenIds, read_examples
from tests.retrain.small_inputs import write_rows

IDS = st.lists(st.lists(st.integers(1, 30_000), max_size=12), min_size=1, max_size=20)


@given(IDS, st.data())
def test_batches_and_selections_hold_what_the_lists_hold(ids: list[list[int]], data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, len(ids) - 1), min_size=1, max_size=30)), np.int64)
    tokens = TokenIds.of(ids)
    assert tokens.lengths.tolist() == [len(text) for text in ids]
    batch = tokens.batch(rows)
    longest = max(1, max(len(ids[row]) for row in rows))
    assert batch["input_word_ids"].tolist() == [ids[row] + [0] * (longest - len(ids[row])) for row in rows]
    assert batch["input_mask"].sum(axis=1).tolist() == [len(ids[row]) for row in rows]
    assert not batch["input_type_ids"].any()
    selected = tokens.select(rows)
    for name, values in selected.batch(np.arange(len(rows))).items():
        assert values.tolist() == batch[name].tolist()


def test_texts_are_fed_as_utf8() -> None:
    texts = Texts(["naïve", "", "日本"])
    assert texts.batch(np.array([2, 0])).tolist() == ["日本".encode(), "naïve".encode()]
    assert texts.select(np.array([1])).values == [""]


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path, {"validation": []}, ["a", "b"])
    with pytest.raises(InvalidData, match="validation split has no rows"):
        read_examples(tmp_path, "validation")
