"""hubtune as ops run it: a real Prefect server with the project's pools and deployments, and a worker for each pool."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.stack import make_pools
from tests.download_model.conftest import write_small_model
from tests.prefect_server import PREFECT, ask, running, running_server

OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
CHECKOUT = Path(__file__).parents[2]
Json = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A server with deployments and workers, a store that all of them use, and a small model.

    Args:
        folder: of the logs and the store.
        settings: of everything that talks to the server.
        model: the model section of a recipe.
        workers: by pool.
    """

    folder: Path
    settings: dict[str, str]
    model: dict[str, str]
    workers: dict[str, "subprocess.Popen[bytes]"]

    def post(self, path: str, body: Json) -> Any:
        return ask("POST", f"{self.settings['PREFECT_API_URL']}{path}", json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        return ask("GET", f"{self.settings['PREFECT_API_URL']}{path}").raise_for_status().json()

    def recipe(self, **train: Any) -> Json:
        """Fine-tuning that takes a few seconds: an epoch takes less than one."""
        short = {"mode": "fine_tuning", "max_length": 16, "epochs": 2}
        return {"model": self.model, "train": short | train}

    def start(self, deployment: str, parameters: Json) -> Json:
        """Press Run: a flow run of a deployment."""
        found: Json = self.get(f"/deployments/name/{deployment}")
        run: Json = self.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        return run

    def retry(self, run: Json) -> None:
        """Press Retry."""
        self.set_state(run, "SCHEDULED", "AwaitingRetry")

    def cancel(self, run: Json) -> None:
        """Press Cancel."""
        self.set_state(run, "CANCELLING", "Cancelling")

    def set_state(self, run: Json, kind: str, name: str) -> None:
        answer = self.post(f"/flow_runs/{run['id']}/set_state", {"state": {"type": kind, "name": name}})
        assert answer["status"] == "ACCEPT", answer

    def read(self, run: Json) -> Json:
        read: Json = self.get(f"/flow_runs/{run['id']}")
        return read

    def ended(self, run: Json, seconds: float = 240) -> Json:
        """A run when it is over."""
        return self.once(run, lambda read: read["state"]["type"] in OVER, seconds)

    def once(self, run: Json, wanted: Callable[[Json], bool], seconds: float = 240) -> Json:
        deadline = time.monotonic() + seconds
        while not wanted(read := self.read(run)):
            assert time.monotonic() < deadline, (read["name"], read["state"], self.log())
            time.sleep(0.5)
        return read

    def runs_so_far(self) -> int:
        """How many flow runs there are."""
        count: int = self.post("/flow_runs/count", {})
        return count

    def trainings(self) -> list[Json]:
        """All runs of `Train` so far, the oldest first."""
        found = {"flows": {"name": {"any_": ["Train"]}}, "sort": "START_TIME_ASC"}
        runs: list[Json] = self.post("/flow_runs/filter", found)
        return sorted(runs, key=lambda run: run["created"])

    def training_after(self, before: int, seconds: float = 120) -> Json:
        """The next run of `Train`, when the store holds a checkpoint of it."""
        deadline = time.monotonic() + seconds
        checkpoints = self.folder / "store" / "artifacts" / "checkpoint"
        known = set(checkpoints.glob("*/manifest.json"))
        while True:
            runs = self.trainings()[before:]
            if runs and set(checkpoints.glob("*/manifest.json")) - known:
                return runs[-1]
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def said_by(self, run: Json) -> list[str]:
        """The log of a run, as its page shows it."""
        lines = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC"})
        return [line["message"] for line in lines]

    def tasks_of(self, run: Json) -> dict[str, str]:
        """Task name -> name of its state, of a run that is over; of tasks that ran again, that of the last time."""
        # The server records tasks a moment later than states of runs, so that the last one may be missing; the state's
        # name with the task itself, and the state after it, so that `state` may be null.
        deadline = time.monotonic() + 30
        read = self.read(run)
        last = "Train classifier" if read["parent_task_run_id"] else "Publish model"
        while True:
            wanted = {"task_runs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
            runs = self.post("/task_runs/filter", wanted)
            # What was at work when its process was killed stays `Running` until the run is done again.
            latest = {task["name"].rpartition("-")[0]: task for task in runs}
            complete = read["state"]["type"] != "COMPLETED" or last in latest
            if complete and all(task["state_type"] in OVER for task in latest.values()):
                return {name: task["state_name"] for name, task in latest.items()}
            assert time.monotonic() < deadline, runs
            time.sleep(0.5)

    def completed_in(self, run: Json) -> set[str]:
        """Names of the tasks that have done something in a run, the first time or in a retry."""
        wanted = {"flow_run_id": {"any_": [run["id"]]}, "state": {"name": {"any_": ["Completed"]}}}
        return {task["name"].rpartition("-")[0] for task in self.post("/task_runs/filter", {"task_runs": wanted})}

    def process_of(self, run: Json) -> psutil.Process:
        """The process that a worker has started for a run."""
        for worker in self.workers.values():
            for process in psutil.Process(worker.pid).children(recursive=True):
                with suppress(psutil.Error):  # it has ended meanwhile
                    if run["id"] in process.environ().get("PREFECT__FLOW_RUN_ID", ""):
                        return process
        raise AssertionError(f"no worker has a process for {run['name']}")

    def log(self) -> str:
        return "\n".join((self.folder / f"{pool}.log").read_text(encoding="utf-8")[-3000:] for pool in self.workers)


@contextmanager
def client_of(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    """Prefect's own client of a server."""
    with temporary_settings({PREFECT_API_URL: server["PREFECT_API_URL"]}), get_client(sync_client=True) as client:
        yield client


def prepare_pools(server: dict[str, str]) -> None:
    """Make the project's pools."""
    with client_of(server) as client:
        make_pools(client)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server without deployments, pools or workers, but with pages: the settings that point to it."""
    with running_server(tmp_path_factory.mktemp("prefect"), pages=True) as settings:
        yield settings


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The model section of a recipe: two layers, eight wide."""
    return write_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def stage(
    tmp_path_factory: pytest.TempPathFactory, server: dict[str, str], small_model: dict[str, str]
) -> Iterator[Stage]:
    """The server with everything on it."""
    with set_stage(tmp_path_factory.mktemp("stage"), server, small_model) as stage:
        yield stage


@contextmanager
def set_stage(folder: Path, server: dict[str, str], model: dict[str, str]) -> Iterator[Stage]:
    """A server with the project's pools and deployments, and a worker for each pool; its files in a folder."""
    (folder / "temporary").mkdir()
    own = {
        "HUBTUNE_STORE": str(folder / "store"),
        "HOME": str(folder),
        "TMPDIR": str(folder / "temporary"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HUBTUNE_"))}
    environment |= server | own
    prepare_pools(server)
    deploy = [PREFECT, "--no-prompt", "deploy", "--all"]
    deployed = subprocess.run(deploy, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    with ExitStack() as stack:
        workers = {
            pool: stack.enter_context(
                running([PREFECT, "worker", "start", "--pool", pool], environment, folder / f"{pool}.log")
            )
            for pool in ("default", "accelerator")
        }
        yield Stage(folder, server | own, model, workers)


@pytest.fixture
def client(server: dict[str, str]) -> Iterator[SyncPrefectClient]:
    with client_of(server) as client:
        yield client
