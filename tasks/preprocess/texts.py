"""What preprocess does with each text by itself: normalise it, and take its hashes. It is most of the work.

Any part of the rows can be worked on, on any machine: what the rows are to each other is for `judge` to see.
"""

from collections.abc import Collection
from pathlib import Path

import polars as pl

from hubtune.inference.normalise import normalise
from hubtune.inference.pairs import BETWEEN
from hubtune.inference.replacements import Replacement
from schemas.handoff import TEXTS
from schemas.rows import NORMALISED_ALREADY
from tasks.preprocess.split import positions_of, text_key

REPLACEMENT_CHARACTER = "\ufffd"

# What the name of a column with normalised texts begins with; of pairs there are two.
_CLEAN = "clean "
# Whatever may be the beginning of something that is replaced.
_PERHAPS_REPLACED = r"[&@]|://|(?i:www\.)"


def raw_shards(raw: Path) -> list[Path]:
    """The shards of a `raw` artifact, in the order of the rows."""
    return sorted((raw / "rows").glob("*.parquet"))


def text_columns(columns: Collection[str]) -> list[str]:
    """Those of the columns of raw rows that hold texts: one, or of pairs two."""
    return [name for name in TEXTS if name in columns]


def read_texts(rows: pl.DataFrame, replace: Collection[Replacement], together: str | None) -> pl.DataFrame:
    """What is told of the texts of raw rows.

    Args:
        rows: columns of a `raw` artifact.
        replace: what is replaced.
        together: the column whose equal values are kept in one split, if any is.

    Returns:
        A row for each, with these columns: `undecodable` (whether a text or the label holds bytes
        that are no text), `missing` (whether a text is), `clean` (the normalised text, of a pair both joined; null
        where it cannot be read), `shortest` and `longest` (characters of the normalised text; of the shorter and the
        longer one of a pair), `characters` and `words` (of `clean`), `key` (hash of `clean`) and `position` (what the
        split is decided by: of the group, where the row has one, or else of `clean`).
    """
    texts = text_columns(rows.columns)
    undecodable = pl.col(*texts, "label").str.contains(REPLACEMENT_CHARACTER, literal=True).fill_null(False)
    missing = pl.any_horizontal(pl.col(*texts).is_null())
    table = rows.with_columns(undecodable=pl.any_horizontal(undecodable), missing=missing)
    table = table.with_columns(_normalised(table, name, replace) for name in texts)
    clean = [pl.col(_CLEAN + name) for name in texts]
    characters = [text.str.len_chars() for text in clean]
    table = table.with_columns(
        clean=pl.concat_str(clean, separator=BETWEEN),
        shortest=pl.min_horizontal(characters),
        longest=pl.max_horizontal(characters),
    )
    # Nothing but a space stands between the texts of a pair; a normalised text has single spaces, and none at its ends.
    as_one = pl.col("clean").str.replace(BETWEEN, " ", literal=True) if len(texts) > 1 else pl.col("clean")
    words = as_one.str.count_matches(" ", literal=True) + 1
    kept = table["clean"]
    if together in TEXTS:
        # As it will be trained on: another spelling of the same text is no other text.
        kept = table[_CLEAN + together]
    elif together is not None:
        # An empty name is none, as with labels.
        named = pl.col(together).str.strip_chars().replace({"": None})
        kept = table.select(pl.coalesce(named, "clean").alias("kept"))["kept"]
    keys = [None if text is None else text_key(text) for text in table["clean"].to_list()]
    return table.select(
        "undecodable",
        "missing",
        "clean",
        "shortest",
        "longest",
        as_one.str.len_chars().alias("characters"),
        words.alias("words"),
        pl.Series("key", keys, dtype=pl.Binary),
        positions_of(kept.fill_null("")),
    )


def _normalised(table: pl.DataFrame, name: str, replace: Collection[Replacement]) -> pl.Series:
    texts = table.select(pl.when(pl.col("undecodable").not_()).then(name).alias(_CLEAN + name)).to_series()
    # Most texts are left as they are, and Polars finds them on all cores; the others go one by one.
    others = texts.str.contains(NORMALISED_ALREADY).not_()
    if replace:
        others |= texts.str.contains(_PERHAPS_REPLACED)
    rest = others.fill_null(False).arg_true()
    return texts.scatter(rest, [normalise(text, replace) for text in texts.gather(rest).to_list()])
