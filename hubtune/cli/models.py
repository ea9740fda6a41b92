"""`hubtune models`: what is published, how good it was on its test split, and what it came from."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hubtune.errors import CorruptArtifact
from hubtune.storage import PublishedModel, Store, published_names


def run_models(model: str | None, as_json: bool) -> int:
    """List published models. A version that is damaged is listed as such, and hides no other.

    Args:
        model: one model's name, or None for all of them.
        as_json: print one JSON object.

    Returns:
        The exit status 0.

    Raises:
        ModelNotFound: no model of that name is published.
    """
    store = Store.open()
    names = [model] if model else published_names(store)
    listing = {name: _versions(PublishedModel(store, name)) for name in names}
    if as_json:
        print(json.dumps({"store": store.root, "models": listing}, ensure_ascii=False))
        return 0
    console = Console()
    if not listing:
        console.print(
            f"Nothing is published in {store.root} yet; `hubtune retrain` publishes.", markup=False, soft_wrap=True
        )
        return 0
    table = Table("Model", "Version", "Task", "Accuracy", "Macro-F1", "Test rows", "Engine")
    for name, versions in listing.items():
        for version in versions:
            if "damaged" in version:
                table.add_row(escape(name), str(version["version"]), "damaged")
                continue
            test = version["metrics"]["test"]
            figures = [*(f"{test[key]:.3f}" for key in ("accuracy", "macro_f1")), f"{test['rows']:,}"]
            task, engine = escape(version["task"]), escape(version["engine"])
            table.add_row(escape(name), str(version["version"]), task, *figures, engine)
    console.print(table)
    for name, versions in listing.items():
        for version in versions:
            if "damaged" in version:
                message = f"{name}, version {version['version']}, is damaged: {version['damaged']}"
                console.print(message, markup=False, highlight=False, soft_wrap=True)
    if model:
        for version in listing[model]:
            if "damaged" in version:
                continue
            console.print(f"version {version['version']} came from", markup=False)
            for origin in version["lineage"]:
                console.print(f"  {origin}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"store: {store.root}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _versions(published: PublishedModel) -> list[dict[str, Any]]:
    published.latest()  # raises where there is none, naming the models that exist
    listing = []
    for number in published.versions():
        try:
            listing.append({"version": number, **_described(published, number)})
        except CorruptArtifact as error:
            listing.append({"version": number, "damaged": error.what})
    return listing


def _described(published: PublishedModel, number: int) -> dict[str, Any]:
    record = published.record(number)
    folder = published.checkout(number, only=lambda path: path in ("metrics.json", "classifier.json"))
    description = folder / "classifier.json"
    return {
        "metrics": _value(folder / "metrics.json", "evaluation"),
        # Versions of format 1 do not say it.
        "task": _value(description, "task", "multiclass"),
        "engine": _value(description, "engine"),
        "lineage": record.lineage,
    }


def _value(file: Path, key: str, default: str | None = None) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content[key] if default is None else content.get(key, default)
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptArtifact(
            f"{file.name} holds no {key!r}", where=str(file), remedy="publish the model again: hubtune retrain"
        ) from error
