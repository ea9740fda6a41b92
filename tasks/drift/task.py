"""Part of block 3, a task of its own: rows + the published version's rows -> a `drift` artifact, and a verdict."""

from collections.abc import Mapping
from typing import get_args

from prefect import task
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from hubtune.errors import DriftLimitExceeded
from hubtune.storage import PublishedModel, Store
from hubtune.storage.artifact import Artifact, Producer
from schemas.drift_recipe import DriftFigure, DriftRecipe
from schemas.handoff import DriftFacts
from tasks.execution import RETRY, Outputs, outputs_of, run_once, say
from tasks.run_page import drift_key, show_report

VERSION = 2


def published_rows(name: str, rows: Artifact) -> Artifact | None:
    """The rows that the latest version of a model was trained on, if these are others.

    Args:
        name: the model's name.
        rows: those of this run.

    Returns:
        A `rows` artifact; None if no version is published, if it was trained on these very rows, or if its rows cannot
        be had any more.
    """
    model = PublishedModel(Store.open(), name)
    versions = model.versions()
    if not versions:
        return None
    if model.was_made_from(versions[-1], rows):
        return None
    reference = model.ancestor(versions[-1], "rows")
    if reference is None:
        get_run_logger().warning(
            "the rows that version %s of %s was trained on cannot be had any more: this run's rows are compared with "
            "nothing",
            versions[-1],
            name,
        )
    return reference


def count_new_rows(name: str, rows: Artifact) -> int:
    """How many rows the latest version of a model has never seen, in whichever split.

    Args:
        name: the model's name.
        rows: clean rows.

    Returns:
        All of them where no version is published, or where its rows cannot be had any more.
    """
    import polars as pl

    store = Store.open()
    model = PublishedModel(store, name)
    versions = model.versions()

    def keys(artifact: Artifact) -> pl.LazyFrame:
        return pl.scan_parquet(sorted(store.checkout(artifact).glob("*.parquet")), glob=False).select("key")

    now = keys(rows)
    if (reference := model.ancestor(versions[-1], "rows") if versions else None) is not None:
        now = now.join(keys(reference), on="key", how="anti")
    return int(now.select(pl.len()).collect().item())


@task(name="Compare with published data", timeout_seconds=3600, **RETRY)
def compare_with_published(
    rows: Artifact, reference: Artifact, recipe: DriftRecipe, name: str, refresh: bool = False
) -> Outputs | State[Outputs]:
    """Compare the training rows with those of the published version, and judge how far they are from each other.

    Args:
        rows: clean rows of this run.
        reference: clean rows that the latest published version was trained on.
        recipe: the limits; they decide the verdict, and the artifact does not depend on them.
        name: the model's name; the report is shown under it, and depends on it in nothing else.
        refresh: do it even if the result is in the store.

    Returns:
        `drift`: the figures and the report.

    Raises:
        DriftLimitExceeded: a figure is above `recipe.fail`.
    """
    store = Store.open()

    def work(producer: Producer) -> Outputs:
        from tasks.drift.report import write_drift

        before, now = store.checkout(reference), store.checkout(rows)
        with store.scratch() as folder:
            say()("Comparing with the rows that the latest published version was trained on")
            facts = write_drift(before, now, reference.digest, folder)
            return {"drift": store.put("drift", folder, producer=producer, inputs=inputs, facts=facts)}

    inputs = [rows, reference]
    result = run_once(store, "drift", VERSION, {}, inputs, work, refresh=refresh)
    drift = outputs_of(result)["drift"]
    # A run that fails over this is looked at: the page is shown whether the figures were known or not.
    report = (store.checkout(drift) / "report.md").read_text(encoding="utf-8")
    show_report(report, drift_key(name), f"How far the data of {name} has moved")
    judge(drift, recipe, f"{rows.uri}, compared with {reference.uri}")
    return result


def judge(drift: Artifact, recipe: DriftRecipe, where: str) -> None:
    """Fail or warn where figures are above their limits.

    Args:
        drift: a `drift` artifact.
        recipe: the limits.
        where: which rows were compared, for the message.

    Raises:
        DriftLimitExceeded: a figure is above `recipe.fail`.
    """
    facts = DriftFacts.model_validate(drift.facts)
    report = f"{drift.uri}/report.md"
    limits = {figure: recipe.limits_of(figure) for figure in get_args(DriftFigure)}
    if too_far := _above(facts, {figure: each.fail for figure, each in limits.items()}):
        raise DriftLimitExceeded(
            f"the data is too far from what the published version was trained on: {too_far}",
            where=where,
            remedy=f"see {report}; mend the data, or raise the limit if the change is meant (drift.fail, or what "
            "drift.figures says of the figure)",
        )
    if far := _above(facts, {figure: each.warn for figure, each in limits.items()}):
        get_run_logger().warning(
            "the data is far from what the published version was trained on: %s; see %s", far, report
        )


def _above(facts: DriftFacts, limits: Mapping[DriftFigure, float | None]) -> str:
    """The figures that are further above what chance gives than their limit, in words; empty if there are none."""
    said = []
    for figure, limit in limits.items():
        value, chance = getattr(facts, figure), facts.by_chance[figure]
        if limit is not None and value - chance > limit:
            said.append(f"{figure} {value:.4g} ({chance:.4g} by chance; the limit is {limit:g} above it)")
    return ", ".join(said)
