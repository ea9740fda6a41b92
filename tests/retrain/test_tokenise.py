"""Texts become token ids, cut at a length that is given or found."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hubtune.errors import InvalidRecipe
from hubtune.inference.tokenizer import WordPieceTokenizer
from tasks.retrain.tokenise import tokenise
from tests.retrain.small_inputs import MAX_LENGTH, POSITIONS, WORDS, write_rows


def test_tokenise_writes_what_the_tokenizer_gives(model: Path, rows: Path, tokens: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    facts = tokenise(model, rows, MAX_LENGTH, POSITIONS, tmp_path, lines.append)
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
    facts = tokenise(model, rows, 8, None, tmp_path, print)
    assert facts.longest == facts.max_length == 8
    assert facts.tokens == 24


def write_lengths(folder: Path, lengths: list[int], other: int) -> Path:
    """Training texts with so many tokens, the special ones included, and one text in each of the other splits."""
    train = [(" ".join((WORDS["food"] * 100)[: length - 2]), 0) for length in lengths]
    rest = [(" ".join((WORDS["food"] * 100)[: other - 2]), 0)]
    return write_rows(folder, {"train": train, "validation": rest, "test": rest}, ["a"])


@pytest.mark.parametrize(
    ("lengths", "positions", "found"),
    [
        ([*[10] * 991, *[40] * 9], POSITIONS, 10),
        ([*[10] * 989, *[40] * 11], POSITIONS, 40),
        (list(range(3, 153)), None, 151),
        ([3] * 50, POSITIONS, 8),
        ([500] * 50, POSITIONS, POSITIONS),
        ([600] * 50, None, 512),
    ],
)
def test_auto_covers_99_of_100_training_texts(
    lengths: list[int], positions: int | None, found: int, model: Path, tmp_path: Path
) -> None:
    shuffled = np.random.default_rng(0).permutation(lengths).tolist()
    rows = write_lengths(tmp_path / "rows", shuffled, other=700)
    said: list[str] = []
    facts = tokenise(model, rows, "auto", positions, tmp_path, said.append)
    assert facts.max_length == found
    assert said[0] == f"Texts are cut at {found} tokens, which 99% of the training texts do not exceed"
    written = pl.read_parquet(tmp_path / "train.parquet")["ids"].list.len().to_list()
    assert written == [min(length, found) for length in shuffled]
    # Texts that are not trained on have no say in it.
    assert pl.read_parquet(tmp_path / "test.parquet")["ids"].list.len().to_list() == [found]
    assert facts.longest == found


def test_auto_is_the_same_as_the_length_that_it_finds(model: Path, rows: Path, tmp_path: Path) -> None:
    for name in ("auto", "given"):
        (tmp_path / name).mkdir()
    found = tokenise(model, rows, "auto", POSITIONS, tmp_path / "auto", print)
    given = tokenise(model, rows, found.max_length, POSITIONS, tmp_path / "given", print)
    assert given == found
    for path in (tmp_path / "auto").iterdir():
        assert path.read_bytes() == (tmp_path / "given" / path.name).read_bytes()


def test_more_tokens_than_the_model_has_positions_are_refused(model: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"train\.max_length is 65, and the model has 64 positions") as refused:
        tokenise(model, rows, POSITIONS + 1, POSITIONS, tmp_path, print)
    assert refused.value.where == "train.max_length"
    assert "auto" in refused.value.remedy
    assert not list(tmp_path.iterdir())
    assert tokenise(model, rows, POSITIONS, POSITIONS, tmp_path, print).max_length == POSITIONS
