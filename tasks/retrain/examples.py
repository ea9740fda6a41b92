"""Examples: what `rows` and `tokens` artifacts hold of one split, in memory, and how a batch is cut from it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hubtune.errors import InvalidData, UnsupportedModel
from hubtune.inference.pairs import split_pair
from schemas.handoff import Split
from tasks.retrain.truth import RowWeights, Truth, read_truth, read_weights

KEY_BYTES = 16

Features = Any
"""What an encoder takes: three int32[n, length] arrays by name, or an array of n strings."""


class Inputs(Protocol):
    """What an encoder reads of n texts."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each, in whatever its cost grows with."""
        ...

    def batch(self, rows: "Rows", length: int | None = None) -> Features:
        """The features of some of them, padded to a length no less than the longest; None: to the longest."""
        ...


Rows = npt.NDArray[np.int64]
"""Positions of examples within their split."""


@dataclass(frozen=True)
class TokenIds:
    """Token ids of n texts, one after the other in one array.

    Args:
        values: int32, all ids.
        offsets: int64[n + 1]; text i is `values[offsets[i]:offsets[i + 1]]`.
        firsts: int64[n], where texts are pairs: how many ids of each belong to the first text.
    """

    values: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> "TokenIds":
        """Token ids given as one list for each text."""
        lengths = np.fromiter((len(text) for text in ids), np.int64, len(ids))
        values = np.fromiter((token for text in ids for token in text), np.int32, int(lengths.sum()))
        return cls(values, token_offsets(lengths))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets)

    def select(self, rows: Rows) -> "TokenIds":
        """The texts at these positions, in this order."""
        lengths = self.lengths[rows]
        offsets = token_offsets(lengths)
        values = self.values[token_positions(self.offsets[rows], lengths, offsets)]
        return TokenIds(values, offsets, None if self.firsts is None else self.firsts[rows])

    def batch(self, rows: Rows, length: int | None = None) -> dict[str, npt.NDArray[np.int32]]:
        """The inputs of a BERT-like encoder for some texts.

        Args:
            rows: int64[n], positions of the texts.
            length: what they are padded to, no less than the longest of them; None: the longest of them.

        Returns:
            `input_word_ids`, `input_mask` (1 for tokens, 0 for padding) and `input_type_ids` (1 for the second text of
            a pair, 0 for all else), each int32[n, length].
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]  # of these alone: there may be millions
        places = np.arange(int(lengths.max(initial=1)) if length is None else length)[None, :]
        mask = places < lengths[:, None]
        second = np.zeros_like(mask) if self.firsts is None else mask & (places >= self.firsts[rows][:, None])
        # What stands in the padding is never looked at; 0 is [PAD] in BERT's vocabularies.
        ids = np.zeros(mask.shape, np.int32)
        ids[mask] = self.values[token_positions(self.offsets[rows], lengths, token_offsets(lengths))]
        return {
            "input_word_ids": ids,
            "input_mask": mask.astype(np.int32),
            "input_type_ids": second.astype(np.int32),
        }


@dataclass(frozen=True)
class Texts:
    """Texts for a module that takes strings."""

    values: list[str]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Characters of each text."""
        return np.fromiter((len(text) for text in self.values), np.int64, len(self.values))

    def select(self, rows: Rows) -> "Texts":
        """The texts at these positions, in this order."""
        return Texts([self.values[row] for row in rows])

    def batch(self, rows: Rows, length: int | None = None) -> npt.NDArray[np.object_]:
        """The texts at these positions as UTF-8, as TensorFlow takes strings; they have no padding."""
        del length
        return np.array([self.values[row].encode() for row in rows], object)


@dataclass(frozen=True)
class Examples:
    """One split.

    Args:
        keys: uint8[n, 16], the hash of each text.
        labels: the classes of each.
        inputs: what the encoder reads.
        weights: how much each counts in training; None: all count the same.
    """

    keys: npt.NDArray[np.uint8]
    labels: Truth
    inputs: TokenIds | Texts
    weights: RowWeights | None = None

    def __len__(self) -> int:
        return len(self.labels)


def read_examples(folder: Path, split: Split, classes: int = 0) -> Examples:
    """Read one split of a `tokens` or a `rows` artifact.

    Args:
        folder: the artifact's folder.
        split: which split.
        classes: how many there are. Where a row may have several, `labels` has so many columns: none for callers that
            look at keys and inputs only.

    Returns:
        The examples in the file's order, with token ids where the file has them and texts otherwise.

    Raises:
        InvalidData: the split has no rows.
        UnsupportedModel: the texts are pairs, and no token ids.
    """
    import polars as pl

    path = folder / f"{split}.parquet"
    table = pl.read_parquet(path)
    if table.height == 0:
        raise InvalidData(
            f"the {split} split has no rows",
            where=path.name,
            remedy="give more rows, or a larger share for this split under preprocess",
        )
    keys = np.frombuffer(b"".join(table["key"].to_list()), np.uint8).reshape(-1, KEY_BYTES)
    inputs: TokenIds | Texts
    if "ids" in table.columns:
        lengths = table["ids"].list.len().to_numpy().astype(np.int64)
        values = table["ids"].explode().to_numpy().astype(np.int32, copy=False)
        firsts = table["first"].to_numpy().astype(np.int64) if "first" in table.columns else None
        inputs = TokenIds(values, token_offsets(lengths), firsts)
    else:
        inputs = Texts(table["text"].to_list())
        if split_pair(inputs.values[0]) is not None:
            raise UnsupportedModel(
                "the rows are pairs of texts, and a text-embedding module takes single ones",
                where="model.source",
                remedy="use a BERT-like encoder, or leave data.text_pair out",
            )
    weights = read_weights(table["weight"]) if "weight" in table.columns and split == "train" else None
    return Examples(keys, read_truth(table["label"], classes), inputs, weights)


def restrict_vocabulary(
    train: TokenIds, held_out: Sequence[TokenIds]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], list[TokenIds]]:
    """Number the word pieces that occur, so that the ones that do not need no row in a table that is trained.

    Args:
        train: token ids of the training split.
        held_out: those of the other splits.

    Returns:
        The ids that occur in training, in order; those that occur in other splits alone, in order; and the splits,
        training first, with each id replaced by its place in the first list followed by the second.
    """
    # 0 stands in padding, whatever it means.
    used = np.union1d(np.unique(train.values), [0]).astype(np.int32)
    occurring = [np.empty(0, np.int32), *(np.unique(split.values) for split in held_out)]
    others = np.setdiff1d(np.concatenate(occurring), used).astype(np.int32)
    both = np.concatenate([used, others])
    places = np.zeros(int(both.max()) + 1, np.int32)
    places[both] = np.arange(len(both), dtype=np.int32)
    return used, others, [replace(split, values=places[split.values]) for split in (train, *held_out)]


def are_pairs(inputs: Inputs) -> bool:
    """Whether an encoder reads two texts at a time, each a segment of its own."""
    return isinstance(inputs, TokenIds) and inputs.firsts is not None


def read_labels(rows: Path) -> list[str]:
    """The class names of a `rows` artifact, in class order."""
    labels: list[str] = json.loads((rows / "labels.json").read_text(encoding="utf-8"))
    return labels


def token_offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each text begins among all tokens, and the last one ends: int64[n + 1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def token_positions(
    starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Where the tokens of some texts lie: start, start + 1, ... of each, one text after the other."""
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
