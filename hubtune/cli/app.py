"""The commands, their arguments and their exit status: 0 done, 1 a run failed, 2 wrong input, nothing started."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hubtune.errors import HubtuneError

app = typer.Typer(
    name="hubtune",
    help="Retrain text classifiers from pretrained encoders, unattended and again and again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, and nothing else there.")]


@app.command()
def retrain(
    recipe: Annotated[Path | None, typer.Argument(help="A recipe in YAML; without one, every default holds.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set one field of the recipe, e.g. train.epochs=2."),
    ] = None,
    refresh: Annotated[
        list[str] | None,
        typer.Option(metavar="BLOCK", help="Run this block again even if its result is in the store."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Retrain a classifier and publish it."""
    from hubtune.cli.retrain import run_retrain

    raise typer.Exit(run_retrain(recipe, settings or [], refresh or [], as_json))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="Name of a published model.")],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Texts to classify; for a model of pairs, two for each."),
    ] = None,
    version: Annotated[int | None, typer.Option(help="Version of the model; without it, the newest.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", help="A .txt (one text a line), .jsonl or .csv (fields `text`, `text_pair`) file."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write answers to this .jsonl or .csv file.")] = None,
    as_json: Json = False,
) -> None:
    """Classify texts with a published model."""
    from hubtune.cli.predict import run_predict

    raise typer.Exit(run_predict(model, version, texts or [], source, output, as_json))


@app.command()
def models(
    model: Annotated[str | None, typer.Argument(help="Name of a published model; without it, all of them.")] = None,
    as_json: Json = False,
) -> None:
    """List published models, their versions, metrics and origins."""
    from hubtune.cli.models import run_models

    raise typer.Exit(run_models(model, as_json))


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the Prefect server listens, on 127.0.0.1.")] = 4200,
    metrics_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Where `hubtune metrics` listens, on 127.0.0.1.")
    ] = 9464,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running in the background.")] = False,
) -> None:
    """Start all that unattended retraining needs on this machine: server, pools, deployments, workers, metrics."""
    from hubtune.cli.up import run_up

    raise typer.Exit(run_up(port, metrics_port, detach))


@app.command()
def down() -> None:
    """End what `hubtune up` started."""
    from hubtune.cli.up import run_down

    raise typer.Exit(run_down())


@app.command()
def metrics(
    store: Annotated[
        str | None, typer.Option(help="A folder or gs://bucket/prefix; without it, what HUBTUNE_STORE says.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 9464,
) -> None:
    """Serve figures of published models to Prometheus: last success, test metrics, rows, training throughput."""
    from hubtune.cli.metrics import run_metrics

    raise typer.Exit(run_metrics(store, host, port))


@app.command()
def tensorboard(
    run: Annotated[
        str,
        typer.Argument(help="NAME of a published model (all its versions), NAME/VERSION, or an artifact's address."),
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 6006,
) -> None:
    """Look at how trainings went, in TensorBoard."""
    from hubtune.cli.tensorboard import run_tensorboard

    raise typer.Exit(run_tensorboard(run, port))


def main() -> None:
    """Entry point of the console script: errors of hubtune become a message and an exit status, never a traceback."""
    try:
        app()
    except HubtuneError as error:
        if "--json" in sys.argv[1:]:
            print(json.dumps({"error": error.to_json()}, ensure_ascii=False))
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
