"""What a classifier answered, beside the texts that it was asked about."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hubtune.errors import CorruptArtifact, InvalidData
from schemas.handoff import SLICE, Split
from tasks.evaluate.reading import Reading


@dataclass(frozen=True)
class Answers:
    """One split, in the order of the keys.

    Args:
        keys: hash of each text.
        texts: the texts.
        truth: int32[n], class indices; or bool[n, classes], the classes that each row belongs to.
        logits: float64[n, classes].
        columns: what else is known of each row, by name of the column: texts, or None.
        ids: what the source calls each row, or None.
    """

    keys: list[bytes]
    texts: list[str]
    truth: NDArray[Any]
    logits: NDArray[np.float64]
    columns: dict[str, list[str | None]]
    ids: list[str | None]


def read_answers(rows: Path, classifier: Path, split: Split, classes: int, reading: Reading) -> Answers:
    """Put the classifier's logits beside the rows of a split.

    Args:
        rows: folder of the rows artifact.
        classifier: folder of the classifier artifact.
        split: `validation` or `test`.
        classes: how many classes there are.
        reading: what labels mean.

    Returns:
        Every row of the split with its logits.

    Raises:
        CorruptArtifact: rows and answers are not about the same texts, or an answer is not a logit for each class.
        InvalidData: the split has no rows.
    """
    file = classifier / "answers" / f"{split}.parquet"
    known = pl.read_parquet(rows / f"{split}.parquet")
    answered = pl.read_parquet(file, columns=["key", "label", "logits"])
    joined = answered.join(known, on=["key", "label"], how="inner", maintain_order="left")
    if not joined.height == known.height == answered.height:
        raise _unusable(
            f"of {known.height} {split} rows, {joined.height} are among the {answered.height} that were answered", file
        )
    if not joined.height:
        raise InvalidData(
            f"the {split} split has no rows", where=str(rows / f"{split}.parquet"), remedy="give it some, and run again"
        )
    if set(joined["logits"].list.len().unique()) != {classes}:
        raise _unusable(f"there are {classes} classes, and not every answer has as many logits", file)
    logits = joined["logits"].cast(pl.List(pl.Float64)).list.to_array(classes).to_numpy()
    if not np.isfinite(logits).all():
        raise _unusable("some logits are not finite numbers", file)
    return Answers(
        keys=joined["key"].to_list(),
        texts=joined["text"].to_list(),
        truth=reading.truth(joined["label"], classes),
        logits=np.asarray(logits, np.float64),
        columns={name.removeprefix(SLICE): joined[name].to_list() for name in known.columns if name.startswith(SLICE)},
        ids=joined["id"].to_list() if "id" in joined.columns else [None] * joined.height,
    )


def _unusable(what: str, file: Path) -> CorruptArtifact:
    return CorruptArtifact(what, where=str(file), remedy="run again with --refresh retrain")
