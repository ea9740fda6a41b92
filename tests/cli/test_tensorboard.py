"""`hubtune tensorboard` as it is used: a real TensorBoard on loopback, from logs in a real store."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import BaseModel

from hubtune.cli.tensorboard import run_tensorboard
from hubtune.errors import CorruptArtifact, HubtuneError, InvalidRecipe, ModelNotFound
from hubtune.storage import Artifact, Producer, PublishedModel, Store
from tasks.evaluate.tensorboard_logs import write_tensorboard_logs
from tests.evaluate.trained_by_hand import write_classifier, write_rows
from tests.gcs_fake import GcsFake

HUBTUNE = str(Path(sys.executable).parent / "hubtune")
RUNS = ("test", "train", "validation")


class NoFacts(BaseModel):
    pass


def put_logs(store: Store, folder: Path, epochs: int = 3) -> Artifact:
    write_rows(folder / "rows", [f"Where is number {number}?" for number in range(30)])
    write_classifier(folder / "classifier", folder / "rows", epochs=epochs)
    recipe = {"epochs": epochs, "mode": "fine_tuning", "hidden": [64]}
    write_tensorboard_logs(folder / "classifier", folder / "rows", recipe, folder / "logs")
    return put(store, "tensorboard", folder / "logs")


def put(store: Store, kind: str, folder: Path, inputs: tuple[Artifact, ...] = ()) -> Artifact:
    producer = Producer(task="by hand", version=1, parameters={})
    return store.put(kind, folder, producer=producer, inputs=inputs, facts=NoFacts())


def publish(store: Store, name: str, folder: Path, *inputs: Artifact) -> int:
    (folder / "release").mkdir(parents=True)
    (folder / "release" / "README.md").write_text(str(folder))
    return PublishedModel(store, name).publish(put(store, "release", folder / "release", inputs))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    return Store.open()


class Board:
    """The command in a process of its own, with a folder for temporary files of its own."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        # As a shell starts it in the background: with SIGINT turned off.
        started = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", HUBTUNE, "tensorboard", *arguments]
        self.process = subprocess.Popen(
            started,
            env=os.environ | {"TMPDIR": str(self.temporary)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.greeting = self.process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:\d+/", self.greeting)
        assert match, self.greeting + self.process.communicate(timeout=30)[1]
        self.url = match[0]

    def runs(self) -> list[str]:
        deadline = time.monotonic() + 60
        while True:
            with urllib.request.urlopen(f"{self.url}data/runs", timeout=30) as answer:
                runs: list[str] = json.load(answer)
            if runs:
                return sorted(runs)
            assert time.monotonic() < deadline, "no run appeared"
            time.sleep(0.1)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err


@contextmanager
def board(folder: Path, *arguments: str, **environment: str) -> Iterator[Board]:
    board = Board(folder, *arguments, **environment)
    try:
        yield board
    finally:
        board.process.kill()
        board.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_versions_of_a_model_side_by_side_until_it_is_ended(
    store: Store, tmp_path: Path, number: signal.Signals
) -> None:
    for version in (1, 2):
        logs = put_logs(store, tmp_path / str(version), epochs=2 + version)
        assert publish(store, "questions", tmp_path / str(version), logs) == version
    assert publish(store, "questions", tmp_path / "3") == 3
    with board(tmp_path, "questions", "--port", "0") as shown:
        assert "questions/1, questions/2 at" in shown.greeting
        assert shown.runs() == [f"questions/{version}/{run}" for version in (1, 2) for run in RUNS]
        scalars = f"{shown.url}data/plugin/scalars/scalars?run=questions/2/validation&tag=epoch/loss"
        with urllib.request.urlopen(scalars, timeout=30) as answer:
            assert [step for _, step, _ in json.load(answer)] == [10, 20, 30, 40]
        with urllib.request.urlopen(shown.url, timeout=30) as page:
            assert b"<title>TensorBoard</title>" in page.read()
        status, err = shown.end(number)
    assert status == 0
    assert err.splitlines() == ["left out: version 3 of 'questions' has no TensorBoard logs"]
    assert list(shown.temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(shown.process.pid, 0)  # nothing that it started lives on
    assert store.is_whole(logs)


def test_one_version_or_the_artifact_itself(store: Store, tmp_path: Path) -> None:
    logs = put_logs(store, tmp_path / "1")
    # The logs are an origin of an origin: the release was made from an evaluation, say.
    (tmp_path / "between").mkdir()
    (tmp_path / "between" / "file").write_text("")
    between = put(store, "evaluation", tmp_path / "between", (logs,))
    publish(store, "questions", tmp_path / "1", between)
    for place, (run, name) in enumerate(
        [
            ("questions/1", "questions/1"),
            (logs.uri, f"tensorboard/{logs.digest[:12]}"),
            (f"tensorboard/{logs.digest}", f"tensorboard/{logs.digest[:12]}"),
            (logs.digest, f"tensorboard/{logs.digest[:12]}"),
        ]
    ):
        (tmp_path / f"place {place}").mkdir()
        with board(tmp_path / f"place {place}", run, "--port", "0") as shown:
            assert shown.runs() == [f"{name}/{each}" for each in RUNS]


def test_logs_come_out_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GcsFake() as fake:
        fake.create_bucket("models")
        settings = {
            "HUBTUNE_STORE": "gs://models/hubtune",
            "HUBTUNE_CACHE": str(tmp_path / "cache"),
            "STORAGE_EMULATOR_HOST": fake.url,
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        store = Store.open()
        publish(store, "questions", tmp_path / "1", put_logs(store, tmp_path / "1"))
        with board(tmp_path, "questions", "--port", "0") as shown:
            assert shown.runs() == [f"questions/1/{run}" for run in RUNS]


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("nothing", r"no model 'nothing' is published; published models: questions"),
        ("questions", r"no version of 'questions' has TensorBoard logs"),
        ("questions/1", r"version 1 of 'questions' has no TensorBoard logs"),
        ("questions/2", r"has no version 2; versions of 'questions': 1"),
        ("questions/one", r"'questions/one' is neither a model, nor NAME/VERSION"),
        (f"gs://somewhere/artifacts/classifier/{'a' * 64}", r"is the address of a classifier"),
        ("../questions", r"cannot be the name of a model"),
    ],
)
def test_what_has_no_logs_is_told(store: Store, tmp_path: Path, run: str, told: str) -> None:
    publish(store, "questions", tmp_path / "1")
    with pytest.raises(ModelNotFound, match=told):
        run_tensorboard(run, 0)


def test_logs_that_are_not_in_the_store(store: Store) -> None:
    with pytest.raises(CorruptArtifact, match=f"tensorboard/{'a' * 64} is not in the store"):
        run_tensorboard("a" * 64, 0)


def test_a_port_that_is_taken(store: Store, tmp_path: Path) -> None:
    logs = put_logs(store, tmp_path / "1")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        result = subprocess.run(
            [HUBTUNE, "tensorboard", logs.uri, "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert result.returncode == InvalidRecipe.exit_status
    assert f"error: TensorBoard cannot listen on port {port}" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_tensorboard_is_not_installed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(HubtuneError, match="TensorBoard is not installed here"):
        run_tensorboard("questions", 0)
