"""How far the rows that a run trains on are from those that an earlier version was trained on.

Consumes: two `rows` artifacts (see `schemas.handoff`), of which it reads the training splits. Equal rows give equal
figures, in whatever order they come.
"""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import rel_entr

MOVED = 5
"""How many classes, bins or words are named with a figure."""

_DIGITS = 6  # below these, floating-point sums may differ between machines
_WORD = r"\w+"

# An empty bin has a logarithm of minus infinity. Half a row more in each bin makes every figure finite, and is too
# little to be seen wherever there are rows.
_ADDED = 0.5


@dataclass(frozen=True)
class Share:
    """A class, a bin or a word, and which share it had and has."""

    name: str
    before: float
    now: float


@dataclass(frozen=True)
class Figure:
    """A figure, 0 where nothing differs, and what moved it most, the strongest first.

    `by_chance` is what the figure is where nothing but chance differs: that of the same rows dealt at random, as many
    of them on both sides, and on one side alone, as there are.
    """

    value: float
    by_chance: float
    moved: tuple[Share, ...]


@dataclass(frozen=True)
class Drift:
    """What the comparison found.

    `labels` and `length` are population stability indices (0 upwards) of the classes and of the words per text;
    `vocabulary` is the share (0 to 1) of the words that never occur in the reference; `words` the Jensen-Shannon
    divergence (0 to 1) of the word frequencies. `classes` and `lengths` are all classes and all bins of lengths.
    """

    rows_before: int
    rows_now: int
    labels: Figure
    length: Figure
    vocabulary: Figure
    words: Figure
    classes: tuple[Share, ...]
    lengths: tuple[Share, ...]


def compare(reference: Path, current: Path) -> Drift:
    """Compare the training rows of two artifacts.

    Args:
        reference: folder of the `rows` artifact that the published version was trained on.
        current: folder of the `rows` artifact of this run.

    Returns:
        The figures.
    """
    # By name: an index may mean another class in each of them.
    classes = list(dict.fromkeys([*_classes(reference), *_classes(current)]))
    before, now = (_rows(folder, classes) for folder in (reference, current))
    found, dealt = _measured(before, now, classes), _measured(*_dealt(before, now), classes)
    figures = {name: Figure(value, dealt.values[name], found.moved[name]) for name, value in found.values.items()}
    return Drift(
        rows_before=before.height, rows_now=now.height, **figures, classes=found.classes, lengths=found.lengths
    )


def _classes(rows: Path) -> list[str]:
    names: list[str] = json.loads((rows / "labels.json").read_text(encoding="utf-8"))
    return names


def _rows(rows: Path, classes: Sequence[str]) -> pl.DataFrame:
    """The training rows: `key`, `text`, and `label`, a list of indices into `classes`."""
    table = pl.read_parquet(rows / "train.parquet", columns=["key", "text", "label"], glob=False)
    labels = table["label"]
    lists = labels if isinstance(labels.dtype, pl.List) else labels.reshape((-1, 1)).arr.to_list()
    own = _classes(rows)
    index = pl.element().replace_strict(
        list(range(len(own))), [classes.index(name) for name in own], return_dtype=pl.Int32
    )
    return table.with_columns(lists.list.eval(index).alias("label"))


def _dealt(before: pl.DataFrame, now: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All rows, dealt anew at random but always in the same way: as many on both sides, and on one side alone, as were.

    Where rows were added to the earlier ones, it is as if others of them had been the ones that were added.
    """
    new = now.join(before, on="key", how="anti")
    gone = before.join(now, on="key", how="anti").height
    label = pl.col("label").list.eval(pl.element().cast(pl.String)).list.join(",")
    every = pl.concat([before, new]).sort("key", label)  # keys are hashes of the texts
    return every.head(before.height), pl.concat([every.head(before.height - gone), every.tail(new.height)])


_Found = tuple[float, tuple[Share, ...]]
"""A figure's value, and what moved it most."""


@dataclass(frozen=True)
class _Measured:
    values: dict[str, float]
    moved: dict[str, tuple[Share, ...]]
    classes: tuple[Share, ...]
    lengths: tuple[Share, ...]


def _measured(before: pl.DataFrame, now: pl.DataFrame, classes: Sequence[str]) -> _Measured:
    counts = [
        np.bincount(side["label"].explode().drop_nulls().to_numpy(), minlength=len(classes)) for side in (before, now)
    ]
    labels, shares = _stability(classes, *counts)
    words_before, words_now = (
        side["text"].str.count_matches(_WORD).cast(pl.Int64).to_numpy() for side in (before, now)
    )
    edges = _edges(words_before)
    length, lengths = _stability(_bin_names(edges), _in_bins(words_before, edges), _in_bins(words_now, edges))

    words = _words(before).join(_words(now), on="word", how="full", coalesce=True, suffix="_now")
    # Floating-point sums depend on the order, and a table of groups has none.
    words = words.with_columns(pl.col("count", "count_now").fill_null(0)).sort("word")
    found = {"labels": labels, "length": length, "vocabulary": _new_words(words), "words": _divergence(words)}
    return _Measured(
        values={name: value for name, (value, _) in found.items()},
        moved={name: moved for name, (_, moved) in found.items()},
        classes=shares,
        lengths=lengths,
    )


def _words(rows: pl.DataFrame) -> pl.DataFrame:
    """How often each word occurs; words that differ in capitals alone are one."""
    found = pl.col("text").str.to_lowercase().str.extract_all(_WORD).alias("word")
    every = rows.lazy().select(found).explode("word").drop_nulls()
    # Piece by piece: all words of a million texts at once would be gigabytes.
    return every.group_by("word").agg(pl.len().cast(pl.Int64).alias("count")).collect(engine="streaming")


def _edges(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The longest length of each bin but the last: the deciles.

    A length that several deciles fall on has a bin of its own. Otherwise shorter texts would share its bin, and where
    most texts are equally long nobody would see that they became shorter.
    """
    deciles = np.quantile(lengths, np.arange(1, 10) / 10, method="inverted_cdf").astype(np.int64)
    several = deciles[1:][np.diff(deciles) == 0]
    edges = np.unique(np.concatenate([deciles, several - 1]))
    return edges[edges >= 0]


def _bin_names(edges: NDArray[np.int64]) -> list[str]:
    inner = [
        str(high) if low + 1 == high else f"{low + 1} to {high}" for low, high in itertools.pairwise(edges.tolist())
    ]
    return [f"up to {edges[0]}" if edges[0] > 0 else f"{edges[0]}", *inner, f"more than {edges[-1]}"]


def _in_bins(lengths: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.bincount(np.searchsorted(edges, lengths, side="left"), minlength=edges.size + 1)
    return counts


def _stability(
    names: Sequence[str], before: NDArray[np.int64], now: NDArray[np.int64]
) -> tuple[_Found, tuple[Share, ...]]:
    """The population stability index of counts, and the share of each of them."""
    p, q = (_shares(counts + _ADDED) for counts in (before, now))
    parts = (q - p) * np.log(q / p)
    shares = _named(names, _shares(before), _shares(now))
    strongest = _moved([shares[index] for index in _strongest(parts)])
    return (_rounded(parts.sum()), strongest), shares


def _divergence(words: pl.DataFrame) -> _Found:
    """The Jensen-Shannon divergence to base 2 (Lin, 1991)."""
    p, q = _shares(words["count"].to_numpy()), _shares(words["count_now"].to_numpy())
    if p.any() != q.any():
        return 1.0, ()  # one of them has no words at all: they have none in common
    middle = (p + q) / 2
    parts = (rel_entr(p, middle) + rel_entr(q, middle)) / (2 * math.log(2))
    strongest = _strongest(parts)
    names = words["word"].gather(strongest).to_list()
    return _rounded(parts.sum()), _moved(_named(names, p[strongest], q[strongest]))


def _new_words(words: pl.DataFrame) -> _Found:
    """The share of this run's words that the reference does not have."""
    total = max(1, int(words["count_now"].sum()))
    new = words.filter(pl.col("count") == 0)
    top = new.sort("count_now", "word", descending=[True, False]).head(MOVED)
    counts = top["count_now"].to_numpy()
    shares = _named(top["word"].to_list(), np.zeros(counts.size), counts / total)
    return _rounded(int(new["count_now"].sum()) / total), _moved(shares)


def _shares(counts: NDArray[np.integer[Any] | np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(counts / max(1, counts.sum()), np.float64)


def _named(names: Sequence[str], before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[Share, ...]:
    pairs = zip(names, before.tolist(), now.tolist(), strict=True)
    return tuple(Share(name, _rounded(old), _rounded(new)) for name, old, new in pairs)


def _strongest(parts: NDArray[np.float64]) -> NDArray[np.int64]:
    # Stable: of equal parts the first, whatever the machine's sorting does.
    return np.argsort(-parts, kind="stable")[:MOVED]


def _moved(shares: Sequence[Share]) -> tuple[Share, ...]:
    return tuple(share for share in shares if share.before != share.now)


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS) + 0.0  # without the sign of -0.0
