"""Rows -> token ids, once, so that no training step handles strings."""

from pathlib import Path
from typing import Literal

import numpy as np

from hubtune.errors import InvalidRecipe, UnsupportedModel
from hubtune.inference.pairs import split_pair
from hubtune.inference.tokenizer import WordPieceTokenizer
from hubtune.progress import Progress, Say
from schemas.handoff import SPLITS, TokensFacts

# Texts that are encoded at a time: enough to keep all cores of the tokenizer busy, few enough for a live progress line.
_CHUNK = 8192
# What `auto` covers of the training texts, and the bounds of what it chooses where the model sets none.
_SHARE, _SHORTEST, _LONGEST = 0.99, 8, 512


def tokenise(
    model: Path,
    rows: Path,
    max_length: int | Literal["auto"],
    positions: int | None,
    folder: Path,
    say: Say,
    *,
    takes_pairs: bool | None = None,
) -> TokensFacts:
    """Turn every text of a `rows` artifact into the ids of its word pieces.

    Args:
        model: a `model` artifact with a `tokenizer/`.
        rows: a `rows` artifact.
        max_length: tokens per text, special ones included; the rest of a longer text is cut. "auto": as many as 99 % of
            the training texts have at most.
        positions: the most tokens that the model can take, where that is known.
        folder: where the content of the `tokens` artifact is written.
        say: takes progress lines.
        takes_pairs: whether the model takes pairs of texts; None: not known.

    Returns:
        How many texts and tokens there are, the most tokens in one text, and the length at which texts are cut.

    Raises:
        InvalidRecipe: the model cannot take that many tokens.
        UnsupportedModel: the rows are pairs, and the model takes single texts.
    """
    import polars as pl

    if positions is not None and max_length != "auto" and max_length > positions:
        raise InvalidRecipe(
            f"train.max_length is {max_length}, and the model has {positions} positions",
            where="train.max_length",
            remedy=f"choose {positions} or less, or auto",
        )
    tokenizer = WordPieceTokenizer.load(model / "tokenizer")
    tables = {split: pl.read_parquet(rows / f"{split}.parquet") for split in SPLITS}
    if takes_pairs is False and any(split_pair(text) for text in tables["train"]["text"].head(1)):
        raise UnsupportedModel(
            "the rows are pairs of texts, and this encoder or its preprocessor takes single ones",
            where="data.text_pair",
            remedy="use another model.source, or leave data.text_pair out",
        )
    if max_length == "auto":
        max_length = _length_that_suits(tokenizer, tables["train"]["text"].to_list(), positions or _LONGEST)
        say(f"Texts are cut at {max_length} tokens, which {_SHARE:.0%} of the training texts do not exceed")
    texts = sum(table.height for table in tables.values())
    tokens = longest = 0
    progress = Progress(say, "Tokenising", texts, "texts")
    for split, table in tables.items():
        ids: list[list[int]] = []
        firsts: list[int] = []
        for start in range(0, table.height, _CHUNK):
            chunk = table["text"][start : start + _CHUNK].to_list()
            some, sizes = _encode(tokenizer, chunk, max_length)
            ids += some
            firsts += sizes
            progress.advance(len(chunk))
        columns = [pl.Series("ids", ids, dtype=pl.List(pl.Int32))]
        if firsts:
            columns.append(pl.Series("first", firsts, dtype=pl.Int32))
        weights = [name for name in table.columns if name == "weight"]
        table.select("key", *columns, "label", *weights).write_parquet(folder / f"{split}.parquet")
        tokens += sum(map(len, ids))
        longest = max(longest, *map(len, ids)) if ids else longest
    progress.finish()
    return TokensFacts(texts=texts, tokens=tokens, longest=longest, max_length=max_length)


def _encode(tokenizer: WordPieceTokenizer, texts: list[str], max_length: int) -> tuple[list[list[int]], list[int]]:
    """Ids of each text; and, of pairs, how many of them belong to the first."""
    pairs = [pair for text in texts if (pair := split_pair(text)) is not None]
    if not pairs:
        return tokenizer.encode(texts, max_length), []
    assert len(pairs) == len(texts), "all rows are pairs, or none is"
    firsts, seconds = zip(*pairs, strict=True)
    return tokenizer.encode_pairs(firsts, seconds, max_length)


def _length_that_suits(tokenizer: WordPieceTokenizer, texts: list[str], most: int) -> int:
    lengths = [
        len(ids)
        for start in range(0, len(texts), _CHUNK)
        for ids in _encode(tokenizer, texts[start : start + _CHUNK], most)[0]
    ]
    return max(_SHORTEST, int(np.quantile(lengths, _SHARE, method="inverted_cdf"))) if lengths else most
