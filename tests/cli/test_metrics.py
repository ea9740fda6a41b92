"""`hubtune metrics` as Prometheus sees it: over HTTP, from real stores with published versions."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from deployments.metrics import GAUGES, StoreMetrics, serve
from hubtune.errors import InvalidRecipe
from hubtune.storage import Artifact, Producer, PublishedModel, Store, task_key
from hubtune.storage.journal import Success, Training, note_success, note_training
from schemas.handoff import ClassifierFacts, QuarantineFacts, ReleaseFacts, RowsFacts
from tests.gcs_fake import GcsFake

HUBTUNE = str(Path(sys.executable).parent / "hubtune")
ENDED = "2026-07-01T02:03:04+00:00"
LABELS = ["no", "yes"]
EVALUATION = {
    "validation": {"rows": 10, "accuracy": 0.7, "loss": 0.6},
    "test": {"rows": 12, "accuracy": 0.75, "roc_auc": None, "loss": 0.5},
}
Figures = dict[tuple[str, ...], float]


class Published:
    """What a run leaves in a store, without the weights: each artifact with its facts, a version, the journal."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def put(self, kind: str, facts: Any, inputs: tuple[Artifact, ...] = (), **files: object) -> Artifact:
        producer = Producer(task=f"make.{kind}", version=1, parameters={"of": self.name})
        with self.store.scratch() as folder:
            for name, content in files.items():
                (folder / f"{name}.json").write_text(json.dumps(content))
            return self.store.put(kind, folder, producer=producer, inputs=inputs, facts=facts)

    def publish(self, what: str = "first", evaluation: object = EVALUATION, *, in_time: bool = True) -> int:
        rows = self.put("rows", RowsFacts(train=100, validation=10, test=12, labels=LABELS), file=[what, self.name])
        reasons = {"text is empty": 3, "label is missing": 1}
        turned_away = QuarantineFacts(rows_in=131, rows_out=122, quarantined=4, duplicates=5, reasons=reasons)
        quarantine = self.put("quarantine", turned_away, file=[what, self.name])
        trained = ClassifierFacts(
            mode="fine_tuning",
            labels=LABELS,
            epochs=3,
            best_epoch=2,
            parameters=9,
            trained_parameters=9,
            precision="float32",
        )
        classifier = self.put("classifier", trained, (rows,), file=[what, self.name])
        facts = ReleaseFacts(name=self.name, labels=LABELS, engine="onnx", metrics={})
        release = self.put("release", facts, (classifier,), metrics={"evaluation": evaluation, "of": [what, self.name]})
        version = PublishedModel(self.store, self.name).publish(release)
        if in_time:
            key = task_key("make.classifier", 1, {"of": self.name}, [rows])
            note_training(self.store, key, Training(rows=300, seconds=1.5))
            done = Success(run="a", ended=ENDED, version=version, rows=rows.digest, quarantine=quarantine.digest)
            note_success(self.store, self.name, done)
        return version


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    return Store.open()


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The command in a process of its own, as a shell starts it in the background: with SIGINT turned off."""
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", HUBTUNE, "metrics", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+/metrics", greeting)
        assert match, greeting + process.communicate(timeout=30)[1]
        yield match[0], process
    finally:
        process.kill()
        process.communicate()


def samples(url: str) -> list[Sample]:
    answer = httpx.get(url).raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    assert {family.name for family in families} == set(GAUGES)
    assert {family.type for family in families} == {"gauge"}
    return [sample for family in families for sample in family.samples]


def figures(url: str) -> Figures:
    """Name and labels' values, in the order of the labels' names -> value."""
    return {(each.name, *(each.labels[name] for name in sorted(each.labels))): each.value for each in samples(url)}


def of(name: str, published: float, version: int = 1) -> Figures:
    """All that is to be said of a model."""
    return {
        ("hubtune_model_version", name): version,
        ("hubtune_model_published_timestamp_seconds", name): published,
        ("hubtune_last_success_timestamp_seconds", name): 1782871384,
        ("hubtune_model_unreadable", name): 0,
        ("hubtune_model_metric", "accuracy", name, "validation"): 0.7,
        ("hubtune_model_metric", "loss", name, "validation"): 0.6,
        ("hubtune_model_metric", "accuracy", name, "test"): 0.75,
        ("hubtune_model_metric", "loss", name, "test"): 0.5,
        ("hubtune_rows", "kept", name): 122,
        ("hubtune_rows", "quarantined", name): 4,
        ("hubtune_rows", "duplicate", name): 5,
        ("hubtune_rows", "near_duplicate", name): 0,
        ("hubtune_rows", "dropped", name): 0,
        ("hubtune_rows_kept", name, "train"): 100,
        ("hubtune_rows_kept", name, "validation"): 10,
        ("hubtune_rows_kept", name, "test"): 12,
        ("hubtune_rows_quarantined", name, "text is empty"): 3,
        ("hubtune_rows_quarantined", name, "label is missing"): 1,
        ("hubtune_training_rows", name): 300,
        ("hubtune_training_seconds", name): 1.5,
        ("hubtune_training_rows_per_second", name): 200,
    }


def published_at(found: Figures, name: str) -> float:
    moment = found["hubtune_model_published_timestamp_seconds", name]
    assert time.time() - 60 < moment <= time.time()
    return moment


UP, LOST = {("hubtune_store_up",): 1.0}, {("hubtune_store_up",): 0.0}


def test_every_model_with_all_its_figures_and_new_ones_at_the_next_scrape(store: Store) -> None:
    Published(store, "questions").publish()
    with serving() as (url, process):
        found = figures(url)
        assert found == UP | of("questions", published_at(found, "questions"))
        Published(store, "tickets").publish()
        assert Published(store, "questions").publish("second") == 2
        found = figures(url)
        questions = of("questions", published_at(found, "questions"), version=2)
        assert found == UP | questions | of("tickets", published_at(found, "tickets"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == ""


def test_a_store_that_goes_away_and_comes_back(store: Store, tmp_path: Path) -> None:
    Published(store, "questions").publish()
    with serving("--store", store.root) as (url, process):
        before = figures(url)
        Path(store.root).rename(tmp_path / "elsewhere")
        assert figures(url) == figures(url) == LOST
        (tmp_path / "elsewhere").rename(store.root)
        assert figures(url) == before
        # Another store in its place: nothing of the first one is left.
        Path(store.root).rename(tmp_path / "elsewhere")
        assert figures(url) == LOST
        Published(store, "questions").publish("other", {"test": {"accuracy": 0.1}})
        assert figures(url)["hubtune_model_metric", "accuracy", "questions", "test"] == 0.1
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    lost, again, *_ = err.splitlines()
    assert lost.startswith("the store is lost: ")
    assert "No such file or directory" in lost
    assert again == "the store answers again"
    assert len(err.splitlines()) == 4


def test_a_store_without_a_version_is_up(store: Store) -> None:
    Path(store.root).mkdir()
    url = serve(store, "127.0.0.1", 0, print)
    assert figures(url) == UP


def test_what_was_published_before_runs_were_noted(store: Store) -> None:
    Published(store, "questions").publish(in_time=False)
    found = figures(serve(store, "127.0.0.1", 0, print))
    published = published_at(found, "questions")
    assert found["hubtune_last_success_timestamp_seconds", "questions"] == published
    assert not any(name.startswith(("hubtune_rows", "hubtune_training")) for name, *_ in found)
    assert found["hubtune_model_unreadable", "questions"] == 0


RUN = {"hubtune_last_success_timestamp_seconds", "hubtune_rows", "hubtune_rows_kept", "hubtune_rows_quarantined"}
TRAINING = {"hubtune_training_rows", "hubtune_training_seconds", "hubtune_training_rows_per_second"}


@pytest.mark.parametrize(
    ("damaged", "missing"),
    [
        ("models/questions/1/metrics.json", {"hubtune_model_metric"}),
        ("journal/runs/questions.json", RUN),
        ("artifacts/quarantine/*/manifest.json", {"hubtune_rows", "hubtune_rows_quarantined"}),
        ("journal/trainings/*.json", TRAINING),
    ],
)
def test_what_is_damaged_is_missing_and_hides_nothing_else(store: Store, damaged: str, missing: set[str]) -> None:
    lines: list[str] = []
    Published(store, "questions").publish()
    url = serve(store, "127.0.0.1", 0, lines.append)
    (path,) = Path(store.root).glob(damaged)
    whole = path.read_bytes()
    path.write_bytes(b"other")
    for _ in range(2):
        found = figures(url)
        assert found["hubtune_model_unreadable", "questions"] == 1
        assert set(GAUGES) - {name for name, *_ in found} == missing
    (line,) = lines
    assert line.startswith("questions, version 1: ")
    path.write_bytes(whole)
    found = figures(url)
    assert found == UP | of("questions", published_at(found, "questions"))


def test_a_store_that_hangs(store: Store) -> None:
    lines: list[str] = []
    Published(store, "questions").publish()
    registry = CollectorRegistry()
    registry.register(StoreMetrics(store, lines.append, patience=2))
    record = Path(store.root, "journal", "runs", "questions.json")
    content = record.read_bytes()
    record.unlink()
    os.mkfifo(record)  # whoever reads it waits for somebody who writes
    assert registry.get_sample_value("hubtune_store_up") == 0
    assert registry.get_sample_value("hubtune_model_version", {"model": "questions"}) is None
    record.write_bytes(content)  # the reading that hung ends, and nobody takes it for new
    record.unlink()
    record.write_bytes(content)
    deadline = time.monotonic() + 30
    while registry.get_sample_value("hubtune_store_up") == 0:
        assert time.monotonic() < deadline
    assert registry.get_sample_value("hubtune_model_version", {"model": "questions"}) == 1
    assert lines == ["the store is lost: no answer for 2 s", "the store answers again"]


def test_a_bucket_and_a_bucket_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GcsFake() as fake:
        fake.create_bucket("models")
        monkeypatch.setenv("HUBTUNE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake.url)
        store = Store.open("gs://models/hubtune")
        Published(store, "questions").publish()
        url = serve(store, "127.0.0.1", 0, print)
        found = figures(url)
        assert found == UP | of("questions", published_at(found, "questions"))
        nowhere = serve(Store.open("gs://nowhere/hubtune"), "127.0.0.1", 0, print)
        assert figures(nowhere) == LOST


def test_a_port_that_is_taken(store: Store) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        command = [HUBTUNE, "metrics", "--port", port]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert result.returncode == InvalidRecipe.exit_status
    assert f"error: port {port} of 127.0.0.1 cannot be listened on: Address already in use" in result.stderr
    assert "Traceback" not in result.stderr
