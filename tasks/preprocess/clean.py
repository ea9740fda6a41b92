"""Raw rows -> clean rows in three splits, the rows that were turned away, and a report on all of them.

Consumes: a `raw` artifact. Emits: a `rows` and a `quarantine` artifact (see `schemas.handoff`). Equal raw rows give
equal files, byte by byte.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandera.errors
import polars as pl

from hubtune.errors import InvalidData
from hubtune.inference.pairs import BETWEEN
from hubtune.progress import Progress, Say
from schemas.data_recipe import DataRecipe
from schemas.handoff import SLICE, SPLITS, QuarantineFacts, RowsFacts
from schemas.recipe import PreprocessRecipe
from schemas.rows import QUARANTINE_REASONS, Reason, clean_rows
from schemas.train_recipe import Task
from tasks.http import shown
from tasks.preprocess.contract import Contract
from tasks.preprocess.judge import judge
from tasks.preprocess.labels import class_order
from tasks.preprocess.near_duplicates import drop_near_duplicates
from tasks.preprocess.refuse import refuse_missing_classes, refuse_too_many_bad_rows
from tasks.preprocess.report import counts_by_reason, write_report
from tasks.preprocess.split import split_by_position, split_exactly
from tasks.preprocess.texts import read_texts


def preprocess(
    shards: Sequence[Path],
    texts: Sequence[Path],
    recipe: PreprocessRecipe,
    data: DataRecipe,
    contract: Contract | None,
    rows: Path,
    quarantine: Path,
    say: Say,
) -> tuple[RowsFacts, QuarantineFacts]:
    """Validate, normalise, relabel, deduplicate and split.

    Args:
        shards: those of a `raw` artifact, in the order of the rows.
        texts: what `read_texts` tells of each; empty: it is asked here.
        recipe: shares of the splits, limits.
        data: the class map; what stands between labels; the source, for messages.
        contract: what `recipe.contract` names, loaded.
        rows: empty folder for the `rows` artifact.
        quarantine: empty folder for the `quarantine` artifact.
        say: takes lines of progress.

    Returns:
        The facts of both artifacts.

    Raises:
        QuarantineLimitExceeded: a larger share of rows is bad than `recipe.max_quarantine`.
        InvalidData: there are fewer than two classes, a split has no rows of a class, all training rows have one, or
            the rows as a whole break the contract.
    """
    task: Task = "multiclass" if data.label_separator is None else "multilabel"
    where = _described(data)
    table = _read(shards, texts, recipe, data, say)
    judged = judge(table, recipe, data, contract)
    if recipe.near_duplicates is not None:
        judged = drop_near_duplicates(judged, recipe.near_duplicates, say)
    shown = _shown(judged)
    refuse_too_many_bad_rows(shown, recipe.max_quarantine, where)

    kept = _split(judged.filter(pl.col("reason").is_null()), data, recipe)
    classes = class_order(kept["classes"].explode().drop_nulls().unique(), data.labels)
    dropped = int((judged["reason"] == Reason.UNMAPPED_LABEL.value).sum())
    refuse_missing_classes(kept, classes, where, dropped)
    kept = kept.with_columns(_indices(classes, task).alias("label_index"))
    weighted = "weight" in table.columns
    pairs = "text_pair" in table.columns
    _check_contract(kept, classes, task, weighted, pairs, where)

    carried = [name for name in table.columns if name == "id" or name.startswith(SLICE)]
    for split in SPLITS:
        part = kept.filter(pl.col("assigned") == split).select(
            "key", *carried, *_weights(weighted), text="clean", label="label_index"
        )
        part.write_parquet(rows / f"{split}.parquet", compression="zstd")
    (rows / "labels.json").write_text(json.dumps(classes, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    if recipe.replace:
        (rows / "replace.json").write_text(json.dumps(recipe.replace) + "\n", encoding="utf-8")

    turned_away = judged.filter(pl.col("reason").is_not_null() & (pl.col("reason") != Reason.UNMAPPED_LABEL.value))
    raw_columns = ["text", *(["text_pair"] if pairs else []), "label", *(["weight"] if weighted else [])]
    turned_away.select("row", "source", "reason", "broken", *raw_columns, *carried).write_parquet(
        quarantine / "quarantine.parquet", compression="zstd"
    )
    write_report(shown, _shown(kept), classes, task, recipe, quarantine)

    reasons = counts_by_reason(judged)
    facts = QuarantineFacts(
        rows_in=table.height,
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


def _read(
    shards: Sequence[Path], texts: Sequence[Path], recipe: PreprocessRecipe, data: DataRecipe, say: Say
) -> pl.DataFrame:
    tables = []
    progress = Progress(say, "Reading texts", None, "rows")
    for number, shard in enumerate(shards):
        rows = pl.read_parquet(shard, glob=False)
        told = (
            pl.read_parquet(texts[number], glob=False)
            if texts
            else read_texts(rows, recipe.replace, data.kept_together)
        )
        tables.append(pl.concat([rows, told], how="horizontal"))
        progress.advance(rows.height)
    progress.finish()
    return pl.concat(tables)


def _shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as a report shows them: of a pair, `text` holds both texts as they came, and `first` the first one."""
    if "text_pair" not in rows.columns:
        return rows
    both = pl.concat_str(pl.col("text", "text_pair").fill_null("(none)"), separator=BETWEEN)
    return rows.with_columns(both.alias("text"), first="text")


def _split(kept: pl.DataFrame, data: DataRecipe, recipe: PreprocessRecipe) -> pl.DataFrame:
    if data.validation is not None:
        return kept.with_columns(pl.col("split").alias("assigned"))
    if data.train is None:
        return kept.with_columns(_assigned(kept, recipe, recipe.test_fraction))
    # The test split is given, the validation split is not: it is cut out of the training rows.
    train, test = kept.filter(pl.col("split") == "train"), kept.filter(pl.col("split") == "test")
    both = [train.with_columns(_assigned(train, recipe, 0.0)), test.with_columns(pl.col("split").alias("assigned"))]
    return pl.concat(both).sort("index")


def _assigned(rows: pl.DataFrame, recipe: PreprocessRecipe, test_fraction: float) -> pl.Series:
    if recipe.exact_shares:
        first = rows["classes"].list.first()
        return split_exactly(rows["position"], first, recipe.validation_fraction, test_fraction)
    return split_by_position(rows["position"], recipe.validation_fraction, test_fraction)


def _indices(classes: list[str], task: Task) -> pl.Expr:
    index = pl.element().replace_strict(classes, range(len(classes)), return_dtype=pl.Int32)
    indices = pl.col("classes").list.eval(index).list.sort()
    return indices if task == "multilabel" else indices.list.first()


def _weights(weighted: bool) -> list[pl.Expr]:
    return [pl.col("counts").alias("weight")] if weighted else []


def _check_contract(
    kept: pl.DataFrame, classes: list[str], task: Task, weighted: bool, pairs: bool, where: str
) -> None:
    view = kept.select(
        pl.col("key").bin.encode("hex").alias("key"),
        *_weights(weighted),
        text="clean",
        label="label_index",
        split="assigned",
    )
    try:
        clean_rows(classes, task, weighted=weighted, pairs=pairs).validate(view, lazy=True)
    except pandera.errors.SchemaErrors as error:
        breach = error.failure_cases.row(0, named=True)
        raise InvalidData(
            f"The clean rows break their contract ({breach['column']}: {breach['check']}): {breach['failure_case']!r}.",
            where=where,
            remedy="This is a fault of hubtune, not of the data; please report it with this message.",
        ) from error


def _described(data: DataRecipe) -> str:
    return ", ".join(f"data.{field}: {shown(handle, patterns=True)}" for field, handle in data.handles.items())
