"""Texts that are nearly the same: found by MinHash, and compared run by run before anything is said of them."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from hubtune.inference.pairs import split_pair
from hubtune.progress import Progress, Say
from schemas.rows import REASONS, Reason
from tasks.preprocess.judge import rank

_RUN = 5
_PERMUTATIONS = 128
# Share of the pairs that are just similar enough which may be missed: more bands find more, and more that is compared
# in vain.
_MISSED = 0.01
_RUNS_KEPT = 4096


@dataclass(frozen=True)
class Copy:
    """What a text nearly repeats: the position of that text, and their Jaccard similarity."""

    of: int
    similarity: float


def drop_near_duplicates(
    judged: pl.DataFrame, threshold: float, texts: Callable[[pl.DataFrame], pl.Series], say: Say
) -> pl.DataFrame:
    """Judge the rows that are left: of those that nearly repeat each other and have the same classes, one is kept.

    Args:
        judged: all rows.
        threshold: similarity from which on a text is nearly the same.
        texts: gives the normalised texts of some rows.
        say: takes progress lines.

    Returns:
        The same rows: near duplicates have that `reason`, the index of the copy that is kept as `first_copy`, and the
        `similarity` to it.
    """
    kept = judged.filter(pl.col("reason").is_null()).sort(rank())
    # Texts of other classes are no copies: one word may change what a text means.
    classes = kept["classes"].to_physical().to_list()
    copies = near_duplicates(texts(kept).to_list(), classes, threshold, say)
    found = {
        "index": [kept["index"][position] for position in copies],
        "of": [kept["index"][copy.of] for copy in copies.values()],
        "similarity": [copy.similarity for copy in copies.values()],
    }
    schema: dict[str, Any] = {"index": judged.schema["index"], "of": judged.schema["index"], "similarity": pl.Float64}
    table = pl.DataFrame(found, schema)
    near = pl.when(pl.col("of").is_not_null()).then(pl.lit(Reason.NEAR_DUPLICATE.value, dtype=REASONS))
    # What an exact copy was left out for may be a near copy of another text itself.
    further = table.select(first_copy="index", instead="of")
    return (
        judged.join(table, on="index", how="left", maintain_order="left")
        .join(further, on="first_copy", how="left", maintain_order="left")
        .with_columns(
            near.otherwise("reason").alias("reason"), pl.coalesce("of", "instead", "first_copy").alias("first_copy")
        )
        .drop("of", "instead")
    )


def near_duplicates(texts: Sequence[str], groups: Sequence[int], threshold: float, say: Say) -> dict[int, Copy]:
    """Find texts that nearly repeat an earlier one of their group that is kept.

    Two texts are as similar as the sets of their runs of five characters, without regard to case: common runs over all
    (Jaccard). Broder 1997, On the resemblance and containment of documents; for the bands of the MinHashes, Leskovec,
    Rajaraman and Ullman 2014, Mining of Massive Datasets, section 3.4.

    Args:
        texts: distinct texts, or pairs of them. The first of similar ones is kept; pairs are as similar as the less
            similar one of their texts.
        groups: the group of each.
        threshold: similarity from which on a text is nearly the same, from 0.5 to 0.99.
        say: takes progress lines.

    Returns:
        For the position of each text that is not kept, the most similar one that is. Which texts are compared is up to
        chance that is drawn once and for all: the same texts always give the same answer, and a few are missed.
    """
    from datasketch import MinHash, MinHashLSH

    bands = _bands(threshold)
    indices: dict[int, Any] = defaultdict(lambda: MinHashLSH(num_perm=_PERMUTATIONS, params=bands))
    runs_of = lru_cache(_RUNS_KEPT)(_runs)
    found: dict[int, Copy] = {}

    def similarity(one: str, other: str) -> float:
        # Both texts of a pair must be alike: a long one that many pairs share says nothing of the other one.
        parts = zip(split_pair(one) or (one,), split_pair(other) or (other,), strict=True)
        return min(_similarity(runs_of(ours), runs_of(theirs)) for ours, theirs in parts)

    progress = Progress(say, "Comparing texts", len(texts), "texts")
    runs: Iterator[list[bytes]] = (list(runs_of(text)) for text in texts)
    for position, hashed in enumerate(MinHash.generator(runs, num_perm=_PERMUTATIONS)):
        index = indices[groups[position]]
        copies = (Copy(other, similarity(texts[position], texts[other])) for other in index.query(hashed))
        best = max(copies, key=lambda copy: (copy.similarity, -copy.of), default=None)
        if best is not None and best.similarity >= threshold:
            found[position] = best
        else:
            index.insert(position, hashed, check_duplication=False)
        progress.advance(1)
    progress.finish()
    return found


def _bands(threshold: float) -> tuple[int, int]:
    """The number of bands and of rows in each: as many rows as miss no more than they may at the threshold."""
    choices = ((_PERMUTATIONS // rows, rows) for rows in range(_PERMUTATIONS // 2, 0, -1))
    return next((bands, rows) for bands, rows in choices if (1 - threshold**rows) ** bands <= _MISSED)


def _runs(text: str) -> set[bytes]:
    folded = text.casefold()
    return {folded[start : start + _RUN].encode() for start in range(max(1, len(folded) - _RUN + 1))}


def _similarity(one: set[bytes], other: set[bytes]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)
