"""Ragged token ids against plain lists."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from hubtune.inference.tokenizer import WordPieceTokenizer
from tasks.retrain.examples import Texts, TokenIds, read_examples
from tasks.retrain.tokenise import tokenise
from tests.retrain.small_inputs import MAX_LENGTH, WORDS, write_rows

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


def test_tokenise_writes_what_the_tokenizer_gives(model: Path, rows: Path, tokens: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    facts = tokenise(model, rows, MAX_LENGTH, tmp_path, lines.append)
    tokenizer = WordPieceTokenizer.load(model / "tokenizer")
    texts = 0
    for split in ("train", "validation", "test"):
        assert (tmp_path / f"{split}.parquet").read_bytes() == (tokens / f"{split}.parquet").read_bytes()
        given_rows, written = pl.read_parquet(rows / f"{split}.parquet"), pl.read_parquet(tmp_path / f"{split}.parquet")
        assert written["ids"].to_list() == tokenizer.encode(given_rows["text"].to_list(), MAX_LENGTH)
        assert written.schema == {"key": pl.Binary, "ids": pl.List(pl.Int32), "label": pl.Int32}
        assert written.select("key", "label").equals(given_rows.select("key", "label"))
        texts += written.height
    assert facts.texts == texts
    assert facts.longest <= MAX_LENGTH
    assert lines[-1].startswith(f"Tokenising: {texts} texts done")


def test_long_texts_are_cut(model: Path, tmp_path: Path) -> None:
    row = (" ".join(WORDS["food"] * 10), 0)
    rows = write_rows(tmp_path / "rows", {"train": [row], "validation": [row], "test": [row]}, ["a"])
    facts = tokenise(model, rows, 8, tmp_path, print)
    assert facts.longest == 8
    assert facts.tokens == 24


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path, {"validation": []}, ["a", "b"])
    with pytest.raises(InvalidData, match="validation split has no rows"):
        read_examples(tmp_path, "validation")
