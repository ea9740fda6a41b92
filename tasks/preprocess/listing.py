"""Which of many rows a report shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.rows import QUARANTINE_REASONS, Reason

# Up to this many rows, each is listed; of more, the first few of each kind.
LISTED_IN_FULL = 100
LISTED_OF_EACH = 5


@dataclass(frozen=True)
class Listing:
    """Rows of which a report shows all, if they are few, or else the first of each kind.

    Args:
        rows: how many there are.
        shown: those that are shown.
    """

    rows: int
    shown: pl.DataFrame

    @property
    def complete(self) -> bool:
        """Whether all are shown, whatever their kinds."""
        return self.rows <= LISTED_IN_FULL


def listing(rows: pl.DataFrame, kind: str) -> Listing:
    """Choose the rows that are shown.

    Args:
        rows: all of them, in order.
        kind: the column that says of which kind each is.

    Returns:
        The listing.
    """
    if rows.height <= LISTED_IN_FULL:
        return Listing(rows.height, rows)
    return Listing(rows.height, rows.filter(pl.int_range(pl.len()).over(kind) < LISTED_OF_EACH))


@dataclass(frozen=True)
class TurnedAway:
    """The rows that are not kept, as a report shows them.

    Args:
        quarantined: by reason; copies of a text stand together, so that one sees why their labels conflict.
        duplicates: by split, with `source_kept`, `row_kept` and `split_kept` of the copy that is kept.
        near_duplicates: likewise.
        leaks: of duplicates and near duplicates, how many there are between given splits.
    """

    quarantined: Listing
    duplicates: Listing
    near_duplicates: Listing
    leaks: Mapping[Reason, pl.DataFrame]

    @property
    def indices(self) -> pl.Series:
        """Of all rows whose texts are shown."""
        listings = (self.quarantined, self.duplicates, self.near_duplicates)
        own = [listing.shown["index"] for listing in listings]
        return pl.concat([*own, self.near_duplicates.shown["first_copy"]]).unique()


def turned_away(judged: pl.DataFrame) -> TurnedAway:
    """Choose the rows that are shown of those that are not kept.

    Args:
        judged: all rows.

    Returns:
        The listings.
    """
    in_order = judged.filter(pl.col("reason").is_not_null()).sort(pl.coalesce("first_copy", "index"), "index")
    away = pl.concat(in_order.filter(pl.col("reason") == reason.value) for reason in QUARANTINE_REASONS)
    duplicates, near = (_copies(judged, reason) for reason in (Reason.DUPLICATE, Reason.NEAR_DUPLICATE))
    return TurnedAway(
        quarantined=listing(away, "reason"),
        duplicates=listing(duplicates, "split"),
        near_duplicates=listing(near, "split"),
        leaks={Reason.DUPLICATE: _leaks(duplicates), Reason.NEAR_DUPLICATE: _leaks(near)},
    )


def _copies(judged: pl.DataFrame, reason: Reason) -> pl.DataFrame:
    copies = judged.filter(pl.col("reason") == reason.value)
    # By position, which is what an index is: a join of all rows would take memory for each.
    kept = judged.select(pl.col("source", "row", "split").name.suffix("_kept"))[copies["first_copy"]]
    return pl.concat([copies, kept], how="horizontal")


def _leaks(copies: pl.DataFrame) -> pl.DataFrame:
    # Between given splits, a shared text is a leak: what is tested on was trained on.
    return (
        copies.filter(pl.col("split") != pl.col("split_kept"))
        .group_by(removed_from=pl.col("split").cast(pl.String), kept_in=pl.col("split_kept").cast(pl.String))
        .agg(pl.len().alias("rows"))
        .sort("removed_from", "kept_in")
    )
