"""Embeddings artifacts: the text vectors that are known, looked up by the hash of the text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hubtune.errors import CorruptArtifact
from schemas.handoff import SPLITS
from tasks.retrain.examples import KEY_BYTES, Rows, read_examples

Keys = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


class Embeddings:
    """The vectors of one or more artifacts. Files are mapped, not read: a look-up touches only what it returns.

    Args:
        folders: the artifacts' folders, each with `keys.npy` and `vectors.npy`. Where two know the same text, the first
            counts.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._parts = [
            (_searchable(np.load(folder / "keys.npy")), np.load(folder / "vectors.npy", mmap_mode="r"))
            for folder in folders
        ]

    def unknown(self, keys: Keys) -> Rows:
        """The first position of each distinct key that has no vector yet, in the order of the keys' bytes.

        Args:
            keys: uint8[n, 16].

        Returns:
            int64[m].
        """
        distinct, first = np.unique(_searchable(keys), return_index=True)
        known = np.zeros(len(distinct), bool)
        for part, _ in self._parts:
            known |= _find(part, distinct) >= 0
        return first[~known].astype(np.int64)

    def look_up(self, keys: Keys) -> Vectors:
        """The vectors of texts.

        Args:
            keys: uint8[n, 16].

        Returns:
            float32[n, width].

        Raises:
            CorruptArtifact: a text has no vector, so what was handed over is not what embed wrote.
        """
        wanted = _searchable(keys)
        vectors = np.empty((len(wanted), self._parts[0][1].shape[1] if self._parts else 0), np.float32)
        missing = np.ones(len(wanted), bool)
        for part, values in self._parts:
            places = _find(part, wanted)
            found = missing & (places >= 0)
            vectors[found] = values[places[found]]
            missing &= ~found
        if missing.any():
            raise CorruptArtifact(
                f"{missing.sum():,} of {len(wanted):,} texts have no embedding",
                where=f"{len(self._parts)} embeddings artifacts",
                remedy="run again with --refresh retrain",
            )
        return vectors


def write_embeddings(folder: Path, keys: Keys, vectors: Vectors) -> None:
    """Write the content of an embeddings artifact.

    Args:
        folder: where `keys.npy` and `vectors.npy` are written.
        keys: uint8[n, 16], distinct and in the order of their bytes (as `Embeddings.unknown` gives them).
        vectors: float32[n, width].
    """
    write_keys(folder, keys)
    np.save(folder / "vectors.npy", vectors, allow_pickle=False)


def distinct_keys(texts: Path) -> Keys:
    """The hash of each distinct text of a `tokens` or `rows` artifact, in the order of their bytes.

    Args:
        texts: the artifact's folder.

    Returns:
        uint8[n, 16].
    """
    keys = np.concatenate([read_examples(texts, split).keys for split in SPLITS])
    return keys[Embeddings([]).unknown(keys)]


def write_keys(folder: Path, keys: Keys) -> None:
    """Write the content of a `texts_to_embed` artifact: uint8[n, 16]."""
    np.save(folder / "keys.npy", keys, allow_pickle=False)


def read_keys(folder: Path) -> Keys:
    """The keys of a `texts_to_embed` or an `embeddings` artifact: uint8[n, 16]."""
    keys: Keys = np.load(folder / "keys.npy")
    return keys


def places_of(wanted: Keys, keys: Keys) -> Rows:
    """Where keys stand among others.

    Args:
        wanted: uint8[m, 16].
        keys: uint8[n, 16], in which each of them occurs.

    Returns:
        int64[m], the first place of each.
    """
    distinct, first = np.unique(_searchable(keys), return_index=True)
    return first[_find(distinct, _searchable(wanted))].astype(np.int64)


def _searchable(keys: Keys) -> npt.NDArray[np.bytes_]:
    # NumPy's byte strings are compared as bytes; all have the same length, so the zeros that it ignores at their end
    # do not matter.
    return np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").reshape(-1)


def _find(part: npt.NDArray[np.bytes_], wanted: npt.NDArray[np.bytes_]) -> Rows:
    """The position of each wanted key in a sorted array, -1 where it is not there."""
    if not len(part):
        return np.full(len(wanted), -1, np.int64)
    places = np.minimum(np.searchsorted(part, wanted), len(part) - 1)
    return np.where(part[places] == wanted, places, -1)
