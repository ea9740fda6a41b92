"""Raw rows -> clean rows in three splits, the rows that were turned away, and a report on all of them.

Consumes: a `raw` artifact. Emits: a `rows` and a `quarantine` artifact (see `schemas.handoff`). Equal raw rows give
equal files, byte by byte.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from hubtune.progress import Progress, Say
from schemas.data_recipe import DataRecipe
from schemas.handoff import SPLITS, QuarantineFacts, RowsFacts
from schemas.recipe import PreprocessRecipe
from schemas.rows import QUARANTINE_REASONS, Reason, clean_rows, clean_splits
from schemas.train_recipe import Task
from tasks.preprocess.buckets import read_bucket, read_verdicts, write_shard
from tasks.preprocess.contract import Contract
from tasks.preprocess.judge import judge, judge_by_contract
from tasks.preprocess.labels import class_order, listed_names, rows_of_each_class
from tasks.preprocess.listing import turned_away
from tasks.preprocess.near_duplicates import drop_near_duplicates
from tasks.preprocess.refuse import described, refuse_missing_classes, refuse_too_many_bad_rows
from tasks.preprocess.report import counts_by_reason, write_report
from tasks.preprocess.settle import assign, settle
from tasks.preprocess.shards import Shards
from tasks.preprocess.write_rows import keep_contract, write_rows

# What is needed of the rows that are kept alone. (There are about as many of them as of all.)
_OF_KEPT = ("classes", "assigned", "position", "characters", "words", "counts")


def preprocess(
    raw: Sequence[Path],
    recipe: PreprocessRecipe,
    data: DataRecipe,
    contract: Contract | None,
    rows: Path,
    quarantine: Path,
    say: Say,
    *,
    read: Sequence[Path] = (),
    verdicts: Sequence[Path] = (),
) -> tuple[RowsFacts, QuarantineFacts]:
    """Validate, normalise, relabel, deduplicate and split.

    Args:
        raw: shards of a `raw` artifact, in the order of the rows.
        recipe: shares of the splits, limits.
        data: the class map; what stands between labels; the source, for messages.
        contract: what `recipe.contract` names, loaded.
        rows: empty folder for the `rows` artifact.
        quarantine: empty folder for the `quarantine` artifact.
        say: takes lines of progress.
        read: folder of each shard with what `write_shard` wrote of it; empty: they are read here.
        verdicts: what `write_verdicts` wrote of each bucket of rows; empty: all rows are judged here, in one bucket.

    Returns:
        The facts of both artifacts.

    Raises:
        QuarantineLimitExceeded: a larger share of rows is bad than `recipe.max_quarantine`.
        InvalidData: there are fewer than two classes, a split has no rows of a class, all training rows have one, or
            the rows as a whole break the contract.
    """
    task: Task = "multiclass" if data.label_separator is None else "multilabel"
    where = described(data)
    with tempfile.TemporaryDirectory(prefix=".pieces-", dir=quarantine) as scratch:
        pieces = Path(scratch)
        read = read or _read(raw, recipe, data, pieces / "read", say)
        shards = Shards(raw, read)
        if verdicts:
            judged = read_verdicts(verdicts)
        else:
            judged = judge(read_bucket(read, 0), recipe, data)
            judged = settle(judge_by_contract(judged, contract, shards.clean_columns, data), recipe, data)
        if recipe.near_duplicates is not None:
            judged = drop_near_duplicates(judged, recipe.near_duplicates, shards.clean, say)
        refuse_too_many_bad_rows(judged, recipe.max_quarantine, shards.as_they_came, where)

        of_kept = [name for name in _OF_KEPT if name in judged.columns]
        kept = judged.filter(pl.col("reason").is_null()).select("index", "split", *of_kept)
        judged = judged.drop("unknown", *of_kept)
        if recipe.exact_shares:
            kept = assign(kept, recipe, data)
        classes = class_order({name for _, name in rows_of_each_class(kept)}, data.labels)
        dropped = int((judged["reason"] == Reason.UNMAPPED_LABEL.value).sum())
        refuse_missing_classes(kept, classes, where, dropped)
        kept = kept.join(_indices(kept, classes, task), on="classes", how="left", maintain_order="left")
        together = kept.select(label="label_index", split=pl.col("assigned").cast(pl.String))
        keep_contract(clean_splits(classes, task), together, where)
        del together
        kept = kept.drop("split")

        away = turned_away(judged)
        by_itself = clean_rows(classes, task, weighted="counts" in kept.columns, pairs="text_pair" in shards.columns)
        changed, listed = write_rows(
            shards, judged, kept, away.indices, by_itself, recipe.replace, where, rows, quarantine, pieces
        )
    (rows / "labels.json").write_text(json.dumps(classes, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if recipe.replace:
        (rows / "replace.json").write_text(json.dumps(recipe.replace) + "\n", encoding="utf-8")
    write_report(judged, kept, away, changed, listed, classes, task, recipe, quarantine)

    reasons = counts_by_reason(judged)
    facts = QuarantineFacts(
        rows_in=judged.height,
        rows_out=kept.height,
        quarantined=sum(reasons[reason] for reason in QUARANTINE_REASONS),
        duplicates=reasons[Reason.DUPLICATE],
        near_duplicates=reasons[Reason.NEAR_DUPLICATE],
        dropped=dropped,
        reasons={reason.value: reasons[reason] for reason in QUARANTINE_REASONS if reasons[reason]},
    )
    sizes = {split: int((kept["assigned"] == split).sum()) for split in SPLITS}
    say(
        f"{facts.rows_in:,} rows in: {facts.rows_out:,} kept, {facts.quarantined:,} quarantined, "
        f"{facts.duplicates:,} duplicates dropped"
        f"{f', {facts.near_duplicates:,} near duplicates' if facts.near_duplicates else ''}"
        f"{f', {facts.dropped:,} with labels that are not wanted' if facts.dropped else ''}; "
        + ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    )
    return RowsFacts(**sizes, labels=classes, task=task), facts


def _read(raw: Sequence[Path], recipe: PreprocessRecipe, data: DataRecipe, folder: Path, say: Say) -> list[Path]:
    read, first = list[Path](), 0
    progress = Progress(say, "Reading texts", None, "rows")
    for shard in raw:
        read.append(folder / shard.stem)
        read[-1].mkdir(parents=True)
        rows = write_shard(shard, first, 1, recipe.replace, data.kept_together, read[-1], "uncompressed")
        first += rows
        progress.advance(rows)
    progress.finish()
    return read


def _indices(kept: pl.DataFrame, classes: list[str], task: Task) -> pl.DataFrame:
    """For each value of `classes`, its `label_index`: of one class, or of several a list."""
    place = {name: number for number, name in enumerate(classes)}
    listed = {value: sorted(place[name] for name in names) for value, names in listed_names(kept["classes"]).items()}
    table = pl.DataFrame(
        list(listed.items()), {"classes": pl.Categorical, "label_index": pl.List(pl.Int32)}, orient="row"
    )
    return table if task == "multilabel" else table.with_columns(pl.col("label_index").list.first())
