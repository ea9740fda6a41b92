"""Which split a text belongs to: decided by a hash of the text alone, so that it never changes.

A row that joins the data later, or leaves it, moves no other row, and a text that one run tested on is tested on in
every later run: no version is tested on what an earlier one learned. The price is that shares are met on average only.

The hash is a position between 0 and 1. The test split is cut off at the lower end and the validation split at the
upper end, so that a larger share of one takes texts from train only, and never moves a text between the other two.
"""

from hashlib import blake2b

import numpy as np
import polars as pl

# Never change these: every text would land in another split, and the next version would be tested on what the
# published one has learned. The key keeps the position independent of `text_key`, which addresses embeddings.
_KEY = b"hubtune split 1"
_POSITIONS = 2**64

KEY_BYTES = 16


def text_key(text: str) -> bytes:
    """The key of a normalised text: blake2b with a digest of 16 bytes, over its UTF-8 bytes."""
    return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def split_by_hash(texts: pl.Series, validation_fraction: float, test_fraction: float) -> pl.Series:
    """Assign each text to a split.

    Args:
        texts: normalised texts.
        validation_fraction: share of the texts for validation, on average.
        test_fraction: share of the texts for the test, on average; like that of validation at most 0.5.

    Returns:
        "train", "validation" or "test" for each text.
    """
    hashes = b"".join([blake2b(text.encode(), digest_size=8, key=_KEY).digest() for text in texts.to_list()])
    positions = pl.Series("position", np.frombuffer(hashes, ">u8").astype(np.uint64))
    below = round(test_fraction * _POSITIONS)
    last_below = _POSITIONS - 1 - round(validation_fraction * _POSITIONS)
    return positions.to_frame().select(
        pl.when(pl.col("position") < pl.lit(below, dtype=pl.UInt64))
        .then(pl.lit("test"))
        .when(pl.col("position") > pl.lit(last_below, dtype=pl.UInt64))
        .then(pl.lit("validation"))
        .otherwise(pl.lit("train"))
        .alias("assigned")
    )["assigned"]
