"""The progress bar of a run, on a real server; and what happens to the work when the server is no help."""

import os
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

pytestmark = pytest.mark.slow

# A task that goes on when it is told to, on its stdin.
RUN = """
import sys
from prefect import flow, task
from hubtune.progress import Progress, ProgressLine
from tasks import progress_artifact
from tasks.execution import say_and_show

progress_artifact.ProgressArtifact.__init__.__defaults__ = (0.05,)

@task(name="Train classifier")
def train():
    with say_and_show() as say:
        say("nothing is known of how far this is")
        say(ProgressLine("epoch 1/4: train loss 0.5", 0.25))
        for command in sys.stdin:
            if command.strip() == "fail":
                raise ValueError("as it was told")
            if command.strip() == "end":
                break
            progress = Progress(say, "Epoch 2", 100, "rows", every_seconds=0, part=(0.25, 0.5))
            progress.advance(int(command))

@flow(name="Watched")
def watched():
    train()

watched()
"""


class Run:
    """A flow in a process of its own that does what it is told."""

    def __init__(self, server: dict[str, str], folder: Path) -> None:
        self.api = server["PREFECT_API_URL"]
        self.known = {artifact["id"] for artifact in self._artifacts()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN],
                env=inherited | server,
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def end(self, command: str) -> int:
        self.tell(command)
        self.process.communicate(timeout=120)
        return self.process.returncode

    def wait_for(self, percent: float) -> dict[str, Any]:
        """The run's artifact, once it shows this much."""
        deadline = time.monotonic() + 120
        while True:
            new = [artifact for artifact in self._artifacts() if artifact["id"] not in self.known]
            if new and new[0]["data"] == percent:
                assert len(new) == 1
                return new[0]
            assert time.monotonic() < deadline, f"no bar at {percent}: {new}\n{self.log.read_text()}"
            time.sleep(0.1)

    def task(self, run: str) -> dict[str, Any]:
        """A task run, which a busy server knows of only a while after its artifacts: it learns of it by events."""
        deadline = time.monotonic() + 60
        while (answer := httpx.get(f"{self.api}/task_runs/{run}")).status_code == 404 and time.monotonic() < deadline:
            time.sleep(0.5)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def _artifacts(self) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.api}/artifacts/filter", json={"artifacts": {"type": {"any_": ["progress"]}}})
        found: list[dict[str, Any]] = answer.raise_for_status().json()
        return found


@pytest.fixture
def run(prefect_server: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    run = Run(prefect_server, tmp_path)
    yield run
    run.process.kill()
    run.process.communicate()


def test_the_bar_moves_while_the_task_runs_and_ends_at_its_end(run: Run) -> None:
    first = run.wait_for(25.0)
    assert (first["key"], first["type"]) == ("train-classifier", "progress")
    assert first["description"] == "epoch 1/4: train loss 0.5"
    task = run.task(first["task_run_id"])
    assert task["flow_run_id"] == first["flow_run_id"]
    assert task["name"].startswith("Train classifier")
    run.tell("40")
    moved = run.wait_for(35.0)
    assert moved["id"] == first["id"]
    assert moved["description"].startswith("Epoch 2: 40 of 100 rows (40 %), ")
    assert run.end("end") == 0
    last = run.wait_for(100.0)
    assert last["description"] == moved["description"]
    # The lines are in the log all the same.
    log = run.log.read_text(encoding="utf-8")
    assert "nothing is known of how far this is" in log
    assert "Epoch 2: 40 of 100 rows" in log


def test_a_task_that_fails_leaves_its_bar_where_it_was(run: Run) -> None:
    run.wait_for(25.0)
    assert run.end("fail") != 0
    run.wait_for(25.0)


def test_an_error_is_told_once_and_the_work_goes_on(run: Run) -> None:
    artifact = run.wait_for(25.0)
    # Whoever tidies up the server takes the bar away from under the run.
    while (answer := httpx.delete(f"{run.api}/artifacts/{artifact['id']}")).status_code == 503:
        time.sleep(0.5)  # its database is busy
    answer.raise_for_status()
    for rows in (10, 20, 30, 40):
        run.tell(str(rows))
        time.sleep(0.3)
    assert run.end("end") == 0
    log = run.log.read_text(encoding="utf-8")
    assert log.count("the progress bar could not be shown, and the work goes on: ") == 1
    assert "404 Not Found" in log
    assert "Epoch 2: 40 of 100 rows" in log


# The bar alone, without a flow: what it does to the work when nobody answers.
WORK = """
import time, warnings
warnings.simplefilter("ignore")
from hubtune.progress import ProgressLine
from tasks.progress_artifact import ProgressArtifact

told = []
started = time.monotonic()
with ProgressArtifact("a-key", told.append, every_seconds=0.01) as bar:
    for number in range(10_000):
        bar.show(ProgressLine("a line", number / 10_000))
    shown = time.monotonic()
    time.sleep({pause})
left = time.monotonic()
print(len(told), shown - started, left - shown)
"""


@contextmanager
def deaf_server() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(("deaf", "pause", "told"), [(True, 0, "0"), (False, 3, "1")])
def test_a_server_that_does_not_answer_holds_nothing_up(tmp_path: Path, deaf: bool, pause: float, told: str) -> None:
    with deaf_server() as port:
        # Nothing listens at port 9.
        settings = {"PREFECT_API_URL": f"http://127.0.0.1:{port if deaf else 9}/api", "PREFECT_HOME": str(tmp_path)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        result = subprocess.run(
            [sys.executable, "-c", WORK.format(pause=pause)],
            env=inherited | settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    lines, seconds, wait = result.stdout.split()
    assert lines == told
    # Prefect's client would have waited for 60 s.
    assert float(seconds) + float(wait) < 30
