"""Which split a text belongs to: decided by a hash of the text alone, so that it never changes.

A row that joins the data later, or leaves it, moves no other row, and a text that one run tested on is tested on in
every later run: no version is tested on what an earlier one learned. The price is that shares are met on average only.

The hash is a position between 0 and 1. The test split is cut off at the lower end and the validation split at the
upper end, so that a larger share of one takes texts from train only, and never moves a text between the other two.

`split_exactly` cuts at ranks instead, within each class: shares hold, and the promise does not.
"""

from hashlib import blake2b

import numpy as np
import polars as pl

from schemas.handoff import SPLITS

# Never change these: every text would land in another split, and the next version would be tested on what the
# published one has learned. The key keeps the position independent of `text_key`, which addresses embeddings.
_KEY = b"hubtune split 1"
_POSITIONS = 2**64

KEY_BYTES = 16


def text_key(text: str) -> bytes:
    """The key of a normalised text: blake2b with a digest of 16 bytes, over its UTF-8 bytes."""
    return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def positions_of(texts: pl.Series) -> pl.Series:
    """The position of each text, from 0 to 2**64 - 1: a keyed hash.

    Args:
        texts: normalised texts, or names of groups; none is null.

    Returns:
        uint64, `position`.
    """
    hashes = b"".join([blake2b(text.encode(), digest_size=8, key=_KEY).digest() for text in texts.to_list()])
    return pl.Series("position", np.frombuffer(hashes, ">u8").astype(np.uint64))


def split_by_position(positions: pl.Series, validation_fraction: float, test_fraction: float) -> pl.Series:
    """Assign each text to a split.

    Args:
        positions: uint64, of each text.
        validation_fraction: share of the texts for validation, on average.
        test_fraction: share of the texts for the test, on average; like that of validation at most 0.5.

    Returns:
        "train", "validation" or "test" for each text.
    """
    below = round(test_fraction * _POSITIONS)
    last_below = _POSITIONS - 1 - round(validation_fraction * _POSITIONS)
    position = pl.col("position")
    is_test = position < pl.lit(below, dtype=pl.UInt64)
    is_validation = position > pl.lit(last_below, dtype=pl.UInt64)
    return _cut(pl.DataFrame({"position": positions}), is_test, is_validation)


def split_exactly(
    positions: pl.Series, classes: pl.Series, validation_fraction: float, test_fraction: float
) -> pl.Series:
    """Assign each text to a split so that each class has its shares, to half a text. A text that joins moves others.

    Of three texts or more each split gets at least one, unless its share is 0.

    Args:
        positions: uint64, of distinct texts.
        classes: the class of each text.
        validation_fraction: share of the texts for validation.
        test_fraction: share of the texts for the test.

    Returns:
        "train", "validation" or "test" for each text.
    """
    table = pl.DataFrame({"position": positions, "class": classes})
    rows = pl.len().over("class").cast(pl.Int64)
    rank = pl.col("position").rank("ordinal").over("class").cast(pl.Int64)

    def wanted(fraction: float, most: pl.Expr) -> pl.Expr:
        share = (rows * fraction).round().cast(pl.Int64)
        least = 1 if fraction else 0
        return pl.when(rows >= len(SPLITS)).then(share.clip(least, most)).otherwise(share)

    test = wanted(test_fraction, rows - 2)
    return _cut(table, rank <= test, rank > rows - wanted(validation_fraction, rows - 1 - test))


def _cut(table: pl.DataFrame, is_test: pl.Expr, is_validation: pl.Expr) -> pl.Series:
    split = (
        pl.when(is_test).then(pl.lit("test")).when(is_validation).then(pl.lit("validation")).otherwise(pl.lit("train"))
    )
    return table.select(split.cast(pl.Enum(SPLITS)).alias("assigned"))["assigned"]
