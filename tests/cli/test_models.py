"""`hubtune models` with real published versions, whole and damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubtune.cli.models import run_models
from hubtune.errors import ModelNotFound
from hubtune.storage import Producer, PublishedModel, Store
from schemas.handoff import ReleaseFacts
from tests.inference.handmade_release import LABELS, WORDS, write_description, write_handmade_release

EVALUATION = {"test": {"accuracy": 0.75, "macro_f1": 0.5, "rows": 1234}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    # A store's folder may have any name; in brackets it must not be taken for markup.
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "[red]store[/nothing]"))
    monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "cache"))
    return Store.open()


def publish(store: Store, name: str, folder: Path, seed: int = 0, **description: object) -> int:
    vectors = np.full((4 + len(WORDS), 3), seed, np.float32)
    write_handmade_release(folder, vectors)
    write_description(folder, **description)
    (folder / "metrics.json").write_text(json.dumps({"evaluation": EVALUATION}))
    return put(store, name, folder)


def put(store: Store, name: str, folder: Path) -> int:
    facts = ReleaseFacts(name=name, labels=LABELS, engine="onnx", metrics={})
    producer = Producer(task="publish", version=1, parameters={})
    return PublishedModel(store, name).publish(store.put("release", folder, producer=producer, facts=facts))


def listed(capsys: pytest.CaptureFixture[str], name: str | None = None) -> dict[str, Any]:
    assert run_models(name, as_json=True) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)["models"]
    return answer


def test_versions_are_listed(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(store, "handmade", tmp_path / "a")
    version = {"version": 1, "metrics": EVALUATION, "task": "multiclass", "engine": "onnx", "lineage": []}
    assert listed(capsys) == {"handmade": [version]}
    run_models(None, as_json=False)
    output = capsys.readouterr().out
    for figure in ("handmade", "0.750", "0.500", "1,234", "onnx"):
        assert figure in output


def test_the_task_is_listed_and_versions_of_the_first_format_had_one(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(store, "several", tmp_path / "a", task="multilabel")
    old = write_handmade_release(tmp_path / "b")
    description = json.loads((old / "classifier.json").read_text())
    del description["task"]
    (old / "classifier.json").write_text(json.dumps(description | {"format": 1}))
    (old / "metrics.json").write_text(json.dumps({"evaluation": EVALUATION}))
    put(store, "several", old)
    assert [version["task"] for version in listed(capsys)["several"]] == ["multilabel", "multiclass"]
    run_models(None, as_json=False)
    assert "multilabel" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["metrics.json", "classifier.json", "manifest.json"])
def test_a_damaged_version_hides_no_other(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    publish(store, "first", tmp_path / "a")
    publish(store, "first", tmp_path / "b", seed=1)
    publish(store, "second", tmp_path / "c", seed=2)
    (Path(store.root) / "models" / "first" / "1" / file).write_text("other")
    answer = listed(capsys)
    damaged, whole = answer["first"]
    assert set(damaged) == {"version", "damaged"}
    assert damaged["version"] == 1
    assert damaged["damaged"]
    assert (whole["version"], whole["metrics"]) == (2, EVALUATION)
    assert answer["second"][0]["engine"] == "onnx"
    for name in (None, "first"):
        assert run_models(name, as_json=False) == 0
        output = capsys.readouterr().out
        assert "damaged" in output
        assert damaged["damaged"] in output
        assert "0.750" in output


def test_a_version_without_metrics_is_damaged(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_handmade_release(tmp_path / "release")
    put(store, "bare", tmp_path / "release")
    assert "metrics.json" in listed(capsys)["bare"][0]["damaged"]


def test_names_and_paths_are_no_markup(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_models(None, as_json=False)
    assert "[/nothing]" in capsys.readouterr().out
    publish(store, "handmade", tmp_path / "a", engine="[/x]")
    run_models("handmade", as_json=False)
    output = capsys.readouterr().out
    assert "[/x]" in output
    assert "[red]store[/nothing]" in output.replace("\n", "")
    with pytest.raises(ModelNotFound):
        run_models("[b]", as_json=False)
