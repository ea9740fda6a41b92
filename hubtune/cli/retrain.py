"""`hubtune retrain`: check the input, run the flow in this process, say what came of it."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubtune.errors import HubtuneError, InvalidRecipe, UnexpectedFailure

if TYPE_CHECKING:
    from schemas.recipe import Recipe
    from schemas.report import RunReport

# A first start of Prefect's temporary server has taken more than half a minute; nothing is reported to anyone.
_PREFECT_SETTINGS = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_SHOWN_PREDICTIONS = 6
_SHOWN_CHARACTERS = 90


def run_retrain(path: Path | None, settings: Sequence[str], refresh: Sequence[str], as_json: bool) -> int:
    """Run the retrain flow.

    Args:
        path: recipe file, or None for the default recipe.
        settings: `FIELD=VALUE` pairs.
        refresh: names of blocks that work even if their result is in the store.
        as_json: print the run's report as JSON and nothing else.

    Returns:
        The exit status: 0 when a version is published, 1 when the run failed.

    Raises:
        InvalidRecipe: before anything is started.
    """
    try:
        from hubtune.cli.recipe_file import load_recipe
        from schemas.recipe import Block
    except ModuleNotFoundError as error:
        raise HubtuneError(
            f"the pipeline is not installed here: {error}",
            where="hubtune retrain",
            remedy="run it in a checkout of hubtune, after `make setup`; the wheel alone only predicts",
        ) from None
    recipe = load_recipe(path, settings)
    _check_blocks(refresh, get_args(Block))
    _check_sources(recipe)

    for name, value in _PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    if authorization := os.environ.get("HUBTUNE_AUTH"):
        os.environ.setdefault("PREFECT_API_AUTH_STRING", authorization)
    from prefect import tags

    from flows.retrain import retrain
    from schemas.report import RunFailed, RunReport

    try:
        with tags("retraining"):
            state = retrain(recipe, list(refresh), return_state=True)
    except Exception as error:
        raise UnexpectedFailure(
            f"Prefect could not run the flow: {type(error).__name__}: {error}",
            where=f"PREFECT_API_URL: {os.environ.get('PREFECT_API_URL', 'not set, a temporary server is started')}",
            remedy="check that the Prefect server answers, or unset PREFECT_API_URL",
        ) from error
    result: object = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, RunFailed) else result
    if isinstance(report, BaseException):
        raise report
    assert isinstance(report, RunReport)
    if as_json:
        left_out = set() if report.error else {"error"}
        print(json.dumps(report.model_dump(mode="json", exclude=left_out), ensure_ascii=False))
    else:
        _print(report, recipe, path, Console())
    return 1 if report.error else 0


def _check_blocks(refresh: Sequence[str], blocks: Sequence[str]) -> None:
    for name in refresh:
        if name not in blocks:
            raise InvalidRecipe(
                f"{name!r} is no block",
                where="--refresh",
                remedy=f"name one of {', '.join(blocks)}; nothing was started",
            )


def _check_sources(recipe: "Recipe") -> None:
    # What a run could only find out later is found out now. Addresses are left to the run: a server that does not
    # answer at this moment is no mistake in the recipe.
    from tasks.download_data.read import check_source
    from tasks.download_model.fetch import check_handles

    try:
        check_source(recipe.data)
        check_handles(recipe.model)
        if recipe.preprocess.contract is not None:
            from tasks.preprocess.contract import Contract

            Contract(recipe.preprocess.contract)
    except HubtuneError as error:
        raise InvalidRecipe(error.what, where=error.where, remedy=error.remedy) from None


def _print(report: "RunReport", recipe: "Recipe", path: Path | None, console: Console) -> None:
    console.print()
    console.print(f"[bold]{report.state}[/bold] after {report.seconds:.1f} s (run {report.run})")
    tasks = Table("Task", "State", "Seconds")
    tasks.columns[2].justify = "right"
    for task in report.tasks:
        tasks.add_row(task.name, task.state, f"{task.seconds:.1f}")
    console.print(tasks)
    if report.error:
        console.print(f"[bold red]{report.tasks[-1].name if report.tasks else 'The run'} failed[/bold red]")
        console.print(report.error["what"], markup=False, highlight=False, soft_wrap=True)
        for part in ("where", "remedy"):
            if report.error[part]:
                console.print(f"  {part}: {report.error[part]}", markup=False, highlight=False, soft_wrap=True)
        console.print("What was finished is in the store; the next run goes on from there.")
        return
    nothing_new = all(task.state == "Cached" for task in report.tasks)
    if nothing_new:
        console.print("Nothing was run again: every result is in the store already.")
    _print_quality(report, console)
    _print_places(report, console)
    # The table costs the import of polars and onnxruntime, some 2 s, and would show what the first run showed.
    if not nothing_new:
        _print_predictions(report, console)
    _print_next(report, recipe, path, console)


def _print_quality(report: "RunReport", console: Console) -> None:
    table = Table("Split", "Rows", "Accuracy", "Macro-F1", "Loss", title="How good it is", title_justify="left")
    for split, metrics in report.metrics.items():
        figures = [f"{metrics.accuracy:.3f}", f"{metrics.macro_f1:.3f}", f"{metrics.loss:.3f}"]
        table.add_row(split, f"{metrics.rows:,}", *figures)
    console.print(table)


def _print_places(report: "RunReport", console: Console) -> None:
    newest = "the newest" if report.promoted else "not the newest"
    console.print(f"[bold]Where everything lies[/bold] (version {report.version} of {report.model}, {newest})")
    root = report.artifacts["publish"].partition("/artifacts/")[0]
    published = {"published": f"{root}/models/{report.model}/{report.version}"}
    reported = {
        "report on rows": f"{report.artifacts['quarantine']}/report.html",
        "how good it is": f"{report.artifacts['evaluation']}/report.html",
        "as Markdown": f"{report.artifacts['evaluation']}/report.md",
    }
    if "drift" in report.artifacts:
        reported["drift report"] = f"{report.artifacts['drift']}/report.html"
    for name, uri in (published | reported | report.artifacts).items():
        console.print(f"  {name:<16}{uri}", markup=False, highlight=False, soft_wrap=True)


def _print_predictions(report: "RunReport", console: Console) -> None:
    import polars

    from hubtune.inference import Classifier
    from hubtune.inference.pairs import split_pair
    from hubtune.storage import Store
    from hubtune.storage.artifact import Artifact

    uri = report.artifacts["preprocess"]
    artifact = Artifact(kind="rows", digest=uri.rpartition("/")[2], uri=uri)
    rows = polars.read_parquet(Store.open().checkout(artifact) / "test.parquet")
    classifier = Classifier.load(report.model, report.version)
    # Spread over the classes (of several in a row: over their combinations), so that the table shows more than the most
    # frequent one.
    by_label = rows.group_by("label", maintain_order=True)
    several = classifier.task == "multilabel"
    each = _SHOWN_PREDICTIONS // len(classifier.labels) or 1
    shown = by_label.head(1).head(_SHOWN_PREDICTIONS) if several else by_label.head(each)
    table = Table(
        "Text", "Truth", "Prediction", "Probability", title="A few rows of the test split", title_justify="left"
    )
    texts = [split_pair(text) or text for text in shown["text"].to_list()]
    for row, answer in zip(shown.iter_rows(named=True), classifier.predict(texts), strict=True):
        truth = row["label"] if several else [row["label"]]
        probabilities = "\n".join(f"{answer.probabilities[label]:.3f}" for label in answer.labels)
        table.add_row(
            escape(_cut(row["text"])),
            _lines([classifier.labels[index] for index in truth]),
            _lines(answer.labels),
            probabilities,
        )
    console.print(table)


def _lines(labels: Sequence[str]) -> str:
    return "\n".join(map(escape, labels)) or "(none)"


def _cut(text: str) -> str:
    from hubtune.inference.pairs import BETWEEN, split_pair

    parts = split_pair(text) or (text,)
    most = _SHOWN_CHARACTERS // len(parts)
    return BETWEEN.join(part if len(part) <= most else f"{part[: most - 1]}…" for part in parts)


def _print_next(report: "RunReport", recipe: "Recipe", path: Path | None, console: Console) -> None:
    from hubtune.cli.recipe_file import load_recipe

    console.print("[bold]What to type next[/bold]")
    command = os.path.relpath(sys.argv[0]) if "/" in sys.argv[0] else sys.argv[0]
    same = f" {path}" if path else ""
    mode = "fine_tuning" if recipe.train.mode == "feature_extraction" else "feature_extraction"
    other = [f"{command} retrain{same} --set train.mode={mode}"]
    try:
        load_recipe(path, [f"train.mode={mode}"])
    except InvalidRecipe:  # options that mean nothing in the other mode
        other = []
    for line in (
        f'{command} predict {report.model} "your own text"' + (' "and another"' if recipe.data.text_pair else ""),
        f"{command} models {report.model}",
        *other,
        f"{command} retrain your-recipe.yaml     (see examples/recipes)",
    ):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
