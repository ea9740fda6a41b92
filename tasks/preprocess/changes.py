"""What normalising changed in the texts that are kept."""

from collections.abc import Mapping, Sequence

import polars as pl

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE, normalise
from hubtune.inference.pairs import join_pair
from hubtune.inference.replacements import Replacement
from tasks.preprocess.shards import as_shown
from tasks.preprocess.texts import text_columns

_LINE_BREAKS = ((0x0A, 0x0D), (0x85, 0x85), (0x2028, 0x2029))

_REPLACEMENTS: Mapping[Replacement, str] = {
    "html_entities": "HTML entities",
    "urls": "web addresses",
    "users": "user names",
}

KINDS = (
    "line breaks",
    "white space",
    "invisible characters",
    "compatibility characters",
    *_REPLACEMENTS.values(),
    "spaces around the label",
)
"""What may be changed, in the order in which it is told."""


def changes(kept: pl.DataFrame, replace: Sequence[Replacement]) -> pl.DataFrame:
    """What was changed in each row.

    Args:
        kept: raw rows that are kept, with their `index` and `clean` text.
        replace: what was replaced.

    Returns:
        A row for each that was changed: `index`, `changes` (list of some of `KINDS`), and `text` as a report shows it.
    """
    text, label = pl.col("text"), pl.col("label")
    raw = kept.select(pl.exclude("text"), first="text").with_columns(as_shown(kept)["text"])
    changed = raw.filter((text != pl.col("clean")) | (label != label.str.strip_chars()))
    texts = _normalised(changed, []) if replace else changed["clean"]
    spaces, others, breaks = _any_of(WHITE_SPACE), _any_of(WHITE_SPACE + INVISIBLE), _any_of(_LINE_BREAKS)
    without_breaks = text.str.replace_all(f"{breaks}+", "")
    without_spaces = pl.lit(texts).str.replace_all(" ", "", literal=True)
    found = {
        "line breaks": text.str.contains(breaks),
        "white space": without_breaks.str.contains(r"^ | $|  ")
        | without_breaks.str.replace_all(" ", "", literal=True).str.contains(spaces),
        "invisible characters": text.str.contains(_any_of(INVISIBLE)),
        "compatibility characters": text.str.replace_all(others, "") != without_spaces,
        **{_REPLACEMENTS[what]: pl.lit(_normalised(changed, [what])) != pl.lit(texts) for what in replace},
        "spaces around the label": label != label.str.strip_chars(),
    }
    kinds = pl.concat_list(pl.when(is_so).then(pl.lit(kind)) for kind, is_so in found.items())
    return changed.select("index", kinds.list.drop_nulls().alias("changes"), "text")


def _normalised(rows: pl.DataFrame, replace: Sequence[Replacement]) -> pl.Series:
    if len(text_columns(rows.columns)) == 1:
        return pl.Series([normalise(text, replace) for text in rows["text"].to_list()], dtype=pl.String)
    pairs = rows.select("first", "text_pair").iter_rows()
    return pl.Series([join_pair(*(normalise(text, replace) for text in pair)) for pair in pairs], dtype=pl.String)


def _any_of(ranges: Sequence[tuple[int, int]]) -> str:
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]"
