"""Runs of the whole road as its users start them: the `hubtune` command in a process of its own, against a real
Prefect server, on a store of its own."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.download_model.conftest import write_small_model
from tests.gcs_fake import GcsFake
from tests.prefect_server import running_server

HUBTUNE = str(Path(sys.executable).parent / "hubtune")


@dataclass(frozen=True)
class Road:
    """A place to run hubtune in: a store, a mirror, the Prefect settings, and what every recipe sets."""

    folder: Path
    prefect: dict[str, str]
    settings: tuple[str, ...] = ()
    store: str = ""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def store_folder(self) -> Path:
        return self.folder / "store"

    @property
    def temporary(self) -> Path:
        return self.folder / "temporary"

    @property
    def environment(self) -> dict[str, str]:
        # CI: some libraries send nothing home only where it is set.
        others = ("PREFECT_", "HUBTUNE_", "CI")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        own = {
            "HUBTUNE_STORE": self.store or str(self.store_folder),
            "HUBTUNE_CACHE": str(self.folder / "cache"),
            "HOME": str(self.folder),
            "TMPDIR": str(self.temporary),
        }
        return inherited | own | self.prefect | self.extra

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        self.temporary.mkdir(exist_ok=True)
        if arguments[0] == "retrain":
            arguments += tuple(argument for setting in self.settings for argument in ("--set", setting))
        return subprocess.Popen(
            [HUBTUNE, *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=500)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def report(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        result = self.run("retrain", "--json", *arguments)
        assert result.returncode == status, result.stdout + result.stderr
        report: dict[str, Any] = json.loads(result.stdout)
        return report

    def reports_at_once(self) -> list[dict[str, Any]]:
        """The reports of two runs that begin at the same time."""
        runs = [self.start("retrain", "--json") for _ in range(2)]
        outcomes = [run.communicate(timeout=500) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], outcomes
        return [json.loads(out) for out, _ in outcomes]

    def copy(self, folder: Path) -> "Road":
        """The same store in another place, so that a test can do as it likes with it."""
        shutil.copytree(self.store_folder, folder / "store")
        return replace(self, folder=folder)


def kill_once_it_says(run: subprocess.Popen[str], pattern: str) -> str:
    """Kill a run, with all its processes, at a line of its log; returns what it had said until then."""
    assert run.stderr is not None
    said: list[str] = []
    for line in run.stderr:
        said.append(line)
        if re.search(pattern, line):
            os.killpg(run.pid, signal.SIGKILL)
            break
    run.communicate()
    assert run.returncode == -signal.SIGKILL, "".join(said)
    return "".join(said)


def states(report: dict[str, Any]) -> dict[str, str]:
    """Task name -> state of a run."""
    return {task["name"]: task["state"] for task in report["tasks"]}


def digests(report: dict[str, Any]) -> dict[str, str]:
    """Block -> digest of its artifact, wherever the store is."""
    return {block: uri.rpartition("/")[2] for block, uri in report["artifacts"].items()}


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Prefect server on loopback, with a database of its own; the settings that point to it."""
    folder = tmp_path_factory.mktemp("prefect")
    with running_server(folder) as settings:
        _copy_database(folder / "prefect.db", folder / "empty.db")
        yield settings


TASKS = [
    "Download model",
    "Download data",
    "Preprocess rows",
    "Tokenise texts",
    "Embed texts",
    "Train classifier",
    "Evaluate classifier",
    "Publish model",
]
ALL_CACHED = dict.fromkeys(TASKS, "Cached")

Finished = tuple[Road, dict[str, Any]]


@pytest.fixture(scope="session")
def default(tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str]) -> Finished:
    """The default recipe from nothing. Tests copy it or leave it as it is."""
    road = Road(tmp_path_factory.mktemp("default"), prefect_server)
    return road, road.report()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings for what does not depend on the model: one of two layers, eight wide, in a folder."""
    model = write_small_model(tmp_path_factory.mktemp("small"))
    return *(f"model.{field}={value}" for field, value in model.items()), "train.max_length=64"


@pytest.fixture(scope="session")
def at_once(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str], small: tuple[str, ...]
) -> Iterator[tuple[Road, list[dict[str, Any]]]]:
    """Two runs of the small recipe that began from nothing at the same time, with one bucket as their store."""
    with GcsFake() as fake:
        fake.create_bucket("models")
        road = Road(
            tmp_path_factory.mktemp("at_once"),
            prefect_server,
            small,
            store="gs://models/hubtune",
            extra={"STORAGE_EMULATOR_HOST": fake.url},
        )
        yield road, road.reports_at_once()


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str], small: tuple[str, ...]
) -> Finished:
    """The small recipe from nothing, killed once in each block and completed by the next run; that run's report.

    Tests copy it or leave it as it is.
    """
    road = Road(tmp_path_factory.mktemp("road"), prefect_server, small)
    for task, moment in (
        ("Download model", "Inspecting what arrived"),
        ("Download data", "the store holds no result"),
        ("Preprocess rows", "the store holds no result"),
        ("Train classifier", "epoch 1/"),
        ("Publish model", "SavedModel written"),
    ):
        kill_once_it_says(road.start("retrain"), rf"Task run '{task}-\w+' - {moment}")
    return road, road.report()


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)


@pytest.fixture
def another_database(prefect_server: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Settings without a server: Prefect starts one of its own, with a database that knows of no run.

    It is as the tests' server made it, since to make another one takes Prefect 20 s.
    """
    home = tmp_path / "prefect"
    home.mkdir()
    shutil.copy(Path(prefect_server["PREFECT_HOME"], "empty.db"), home / "prefect.db")
    return {"PREFECT_HOME": str(home)}
