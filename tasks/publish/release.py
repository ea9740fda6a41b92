"""Builds a release: a trained classifier in the forms in which it is published, each proven.

Consumes a model, a classifier trained from it, the rows whose test split is the proof, and the evaluation whose figures
are published. Emits the files of `ReleaseFacts`. The work runs in processes of its own: one exports, and one for each
exported file answers.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import yaml

from hubtune.inference.classifier import DESCRIPTION, FORMAT, NORMALISATION, Description, Engine
from hubtune.inference.replacements import Replacement
from hubtune.progress import Say
from schemas.handoff import SPLITS, Metrics, ModelFacts, ReleaseFacts, Split
from schemas.recipe import Recipe
from tasks.fresh_process import run_in_fresh_process
from tasks.publish.classifier_graph import read_trained
from tasks.publish.model_card import CardFacts, model_card
from tasks.publish.proof import Evaluated, Proof, prove, read_evaluated

# A model of 90 MB is exported in 15 s, and answers some 500 texts a second on two cores; these limits only end what
# would never end.
_EXPORT_SECONDS = 1800.0
_PROOF_SECONDS = 5400.0


def build_release(
    model: Path,
    facts: ModelFacts,
    classifier: Path,
    rows: Path,
    evaluation: Path,
    recipe: Recipe,
    folder: Path,
    say: Say,
) -> ReleaseFacts:
    """Export a classifier, prove the files, and describe them.

    Args:
        model: folder of the model artifact.
        facts: its facts.
        classifier: folder of the classifier artifact.
        rows: folder of the rows artifact.
        evaluation: folder of the evaluation artifact.
        recipe: the whole recipe.
        folder: an empty folder, which becomes the release.
        say: takes progress lines.

    Returns:
        The release's facts.

    Raises:
        ExportFailed: the model cannot be exported, or an exported file answers otherwise than was evaluated.
        CorruptArtifact: model, classifier and rows do not belong together.
        WorkerDied: a process ended without an answer.
    """
    assert recipe.name is not None  # a validated recipe has a name
    trained = read_trained(classifier)
    evaluated = read_evaluated(classifier, rows, trained.task)
    replace = _replaced(rows)
    request = {"model": str(model), "classifier": str(classifier), "folder": str(folder), "replace": replace}
    exported = run_in_fresh_process("tasks.publish.export", request, say, timeout_seconds=_EXPORT_SECONDS)
    engine: Engine = exported["engine"]
    description = Description(
        format=FORMAT,
        name=recipe.name,
        task=trained.task,
        interface=trained.interface,
        engine=engine,
        labels=trained.labels,
        max_length=trained.max_length if trained.interface == "bert_encoder" else None,
        normalisation=NORMALISATION,
        replace=replace,
        pairs=trained.pairs,
    )
    _write_json(folder / DESCRIPTION, description.model_dump())
    proofs = _prove_all(folder, description, evaluated, say)
    figures = main_figures(json.loads((evaluation / "evaluation.json").read_bytes()))
    # The largest difference is left out: it is rounding, and may be another on another processor.
    proven = {name: {"rows": proof.rows, "ties": proof.ties} for name, proof in proofs.items()}
    _write_json(folder / "metrics.json", figures | {"proof": proven})
    shared = shareable(recipe)
    settings = yaml.safe_dump(shared.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "recipe.yaml").write_text(settings, encoding="utf-8")
    counts, sizes = _rows_of_each_class(rows, len(trained.labels))
    card = model_card(CardFacts(shared, facts, engine, trained.labels, description.max_length, figures, counts, sizes))
    (folder / "README.md").write_text(card, encoding="utf-8")
    metrics: dict[Split, Metrics] = {
        split: Metrics.model_validate({name: figures["evaluation"][split][name] for name in Metrics.model_fields})
        for split in SPLITS
        if split in figures["evaluation"]
    }
    return ReleaseFacts(name=recipe.name, labels=trained.labels, engine=engine, metrics=metrics)


def main_figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    """What of an evaluation is published: `metrics.json`, but for the proof.

    Args:
        evaluation: the content of `evaluation.json`.

    Returns:
        `evaluation` (figures by split), `intervals` and `baselines` on the test split, `verdict`, `threshold` (None but
        for two classes), `thresholds` (of each class, with `multilabel` only) and `calibration` (temperature; error and
        loss on the test split before and after). No bins, no slices, and no text of the data.
    """
    calibration = evaluation["calibration"]
    baselines = {
        baseline["name"]: {
            **{name: baseline["figures"][name] for name in ("accuracy", "macro_f1", "loss", "roc_auc", "pr_auc")},
            "f1_at_threshold": baseline["f1_at_threshold"],
            "outcome": baseline["outcome"],
        }
        for baseline in evaluation["baselines"]
    }
    return {
        "evaluation": evaluation["splits"],
        "intervals": evaluation["intervals"],
        "baselines": baselines,
        "verdict": evaluation["verdict"],
        **{name: evaluation[name] for name in ("threshold", "thresholds") if name in evaluation},
        "calibration": {
            "temperature": calibration["temperature"],
            **{
                when: {name: calibration[when]["test"][name] for name in ("expected_calibration_error", "loss")}
                for when in ("before", "after")
            },
        },
    }


def shareable(recipe: Recipe) -> Recipe:
    """The recipe without what belongs to one machine or one person.

    Args:
        recipe: as it was run.

    Returns:
        The same, with the last part alone of absolute local paths, addresses without user, password and query, and no
        name of a block. A query that a database is asked stays: it says what the data is.
    """
    model = recipe.model.model_dump() | {
        field: _shareable_source(getattr(recipe.model, field)) for field in ("source", "preprocessor")
    }
    data = recipe.data.model_dump() | {"password_block": None}
    data |= {
        field: _shareable_source(getattr(recipe.data, field))
        for field in ("source", "train", "validation", "test", "data_dir")
    }
    return Recipe.model_validate(recipe.model_dump() | {"model": model, "data": data})


def _shareable_source(source: str | None) -> str | None:
    if source is None:
        return None
    parts = urlsplit(source)
    if parts.scheme == "gs":
        return source  # a path to its end, in which `?` stands for any character
    if parts.scheme in ("file", "sqlite"):
        return f"{parts.scheme}:///{Path(parts.path).name}"
    if parts.scheme and "://" in source:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    path = Path(source).expanduser()
    return path.name if path.is_absolute() else source


def _prove_all(folder: Path, description: Description, evaluated: Evaluated, say: Say) -> dict[str, Proof]:
    # Side by side: loading takes most of the time, and most of that on one core.
    engines: dict[str, Engine] = {"saved_model": "tensorflow"}
    if description.engine == "onnx":
        engines["onnx"] = "onnx"
    with ThreadPoolExecutor(len(engines)) as pool:
        running = {
            name: pool.submit(prove, folder, engine, description.labels, evaluated, say, _PROOF_SECONDS)
            for name, engine in engines.items()
        }
        return {name: future.result() for name, future in running.items()}


def _replaced(rows: Path) -> list[Replacement]:
    path = rows / "replace.json"
    found: list[Replacement] = json.loads(path.read_bytes()) if path.exists() else []
    return found


def _rows_of_each_class(rows: Path, classes: int) -> tuple[dict[Split, list[int]], dict[Split, int]]:
    counts: dict[Split, list[int]] = {}
    sizes: dict[Split, int] = {}
    for split in SPLITS:
        labels = pl.read_parquet(rows / f"{split}.parquet", columns=["label"])["label"]
        sizes[split] = len(labels)
        each = labels.explode() if labels.dtype == pl.List else labels
        counts[split] = [int((each == label).sum()) for label in range(classes)]
    return counts, sizes


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
