"""`hubtune models`: what is published, how good it was on its test split, and what it came from."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from hubtune.storage import PublishedModel, Store, published_names


def run_models(model: str | None, as_json: bool) -> int:
    """List published models.

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
        console.print(f"Nothing is published in {store.root} yet; `hubtune retrain` publishes.", markup=False)
        return 0
    table = Table("Model", "Version", "Accuracy", "Macro-F1", "Test rows", "Engine")
    for name, versions in listing.items():
        for version in versions:
            test = version["metrics"]["test"]
            figures = [f"{test[key]:.3f}" for key in ("accuracy", "macro_f1")]
            table.add_row(name, str(version["version"]), *figures, f"{test['rows']:,}", version["engine"])
    console.print(table)
    if model:
        for version in listing[model]:
            console.print(f"version {version['version']} came from", markup=False)
            for origin in version["lineage"]:
                console.print(f"  {origin}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"store: {store.root}", markup=False, highlight=False)
    return 0


def _versions(published: PublishedModel) -> list[dict[str, Any]]:
    published.latest()  # raises where there is none, naming the models that exist
    listing = []
    for number in published.versions():
        record = published.record(number)
        folder = published.checkout(number, only=lambda path: path in ("metrics.json", "classifier.json"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["evaluation"]
        engine = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["engine"]
        listing.append({"version": number, "metrics": metrics, "engine": engine, "lineage": record.lineage})
    return listing
