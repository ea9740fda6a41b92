"""`hubtune up` and `hubtune down`, as somebody types them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.download_model.conftest import write_small_model
from tests.operate.dashboard import metrics_of, queries
from tests.prefect_server import ask, free_port

pytestmark = pytest.mark.slow
HUBTUNE = str(Path(sys.executable).parent / "hubtune")
AUTHORIZATION = ("ops", "s3same")


@dataclass(frozen=True)
class Machine:
    """A home folder, ports of the server and of the metrics, and who may come in."""

    home: Path
    port: int
    metrics_port: int

    @property
    def ports(self) -> tuple[str, ...]:
        return "--port", str(self.port), "--metrics-port", str(self.metrics_port)

    @property
    def environment(self) -> dict[str, str]:
        others = ("PREFECT_", "HUBTUNE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        (self.home / "temporary").mkdir(exist_ok=True)
        own = {"HOME": str(self.home), "TMPDIR": str(self.home / "temporary"), "HUBTUNE_AUTH": ":".join(AUTHORIZATION)}
        return inherited | own

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [HUBTUNE, *arguments],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, status: int = 0) -> str:
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=300)
        assert process.returncode == status, out
        return out

    def up(self, *arguments: str, status: int = 0) -> str:
        return self.run("up", *self.ports, *arguments, status=status)

    def metrics(self) -> dict[str, Metric]:
        """What Prometheus gets from the server, and from the store."""
        server = httpx.get(f"http://127.0.0.1:{self.port}/api/metrics", auth=AUTHORIZATION)
        store = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics")
        texts = [answer.raise_for_status().text for answer in (server, store)]
        return {family.name: family for text in texts for family in text_string_to_metric_families(text)}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        url = f"http://127.0.0.1:{self.port}/api{path}"
        return ask("POST", url, json=body, auth=AUTHORIZATION).raise_for_status().json()

    def get(self, path: str) -> Any:
        return ask("GET", f"http://127.0.0.1:{self.port}/api{path}", auth=AUTHORIZATION).raise_for_status().json()

    def pids(self) -> dict[str, int]:
        """The process of each part, and of who keeps them up."""
        state = json.loads((self.home / ".hubtune" / "up" / "state.json").read_text(encoding="utf-8"))
        return {name: part["pid"] for name, part in state["parts"].items()} | {"keeper": state["keeper"]["pid"]}

    def parts(self) -> dict[str, psutil.Process]:
        return {name: psutil.Process(pid) for name, pid in self.pids().items()}

    def once(self, run: dict[str, Any], wanted: str, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while (state := self.get(f"/flow_runs/{run['id']}")["state"])["type"] != wanted:
            assert state["type"] not in ("FAILED", "CRASHED", "CANCELLED"), state
            assert time.monotonic() < deadline, state
            time.sleep(0.3)


def test_all_of_it_comes_up_survives_and_goes_down(tmp_path: Path) -> None:
    machine = Machine(tmp_path, free_port(), free_port())
    said = machine.up("--detach")
    lines = ("server", "work pools", "deployments", "automations", "metrics", "worker default", "worker accelerator")
    for part in lines:
        assert f"\n{part} " in f"\n{said}"
    assert httpx.post(f"http://127.0.0.1:{machine.port}/api/deployments/filter", json={}).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{machine.port}/api/metrics").status_code == 401
    assert "up already" in machine.up()

    # What dies is started again.
    for part in ("metrics", "worker accelerator"):
        before = machine.parts()[part]
        before.kill()
        deadline = time.monotonic() + 60
        while machine.pids()[part] == before.pid:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    # Who keeps it up is killed, in the middle of a run: the next start ends what is left, and the run goes on.
    recipe = {"model": write_small_model(tmp_path / "temporary"), "train": {"mode": "fine_tuning", "max_length": 16}}
    deployment = machine.get("/deployments/name/Retrain/on-demand")
    run = machine.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"recipe": recipe}})
    machine.once(run, "RUNNING")
    killed = machine.parts()
    killed["keeper"].kill()
    assert killed["server"].is_running()
    keeper = machine.start("up", *machine.ports)
    assert keeper.stdout is not None
    said = ""
    for line in keeper.stdout:
        said += line
        if "All of it is up" in line:
            break
    assert "was at work when hubtune was stopped, and goes on with it" in said
    assert not any(process.is_running() for process in killed.values())
    machine.once(run, "COMPLETED")

    # What the dashboard shows is there, and tells of the run.
    metrics = machine.metrics()
    names = {sample.name for family in metrics.values() for sample in family.samples}
    # The server says nothing of events that have not happened; its counters are announced all the same.
    names |= {f"{family.name}_total" for family in metrics.values() if family.type == "counter"}
    assert {name for query in queries() for name in metrics_of(query)} - names <= {"hubtune_rows_quarantined"}
    assert metrics["hubtune_rows_quarantined"].documentation
    (success,) = metrics["hubtune_last_success_timestamp_seconds"].samples
    assert success.labels == {"model": "insincere-questions"}
    assert time.time() - 600 < success.value <= time.time()
    (rows,), (seconds,) = (metrics[f"hubtune_training_{name}"].samples for name in ("rows", "seconds"))
    train = next(each.value for each in metrics["hubtune_rows_kept"].samples if each.labels["split"] == "train")
    assert rows.value > 0
    assert rows.value % train == 0
    assert seconds.value > 0

    # Ctrl-C ends all of it.
    parts = machine.parts()
    os.kill(keeper.pid, signal.SIGINT)
    said, _ = keeper.communicate(timeout=60)
    assert keeper.returncode == 0
    assert said.rstrip().endswith("All of it is stopped.")
    assert not any(process.is_running() for process in parts.values())
    assert "Nothing was up" in machine.run("down")


@pytest.mark.parametrize("option", ["--port", "--metrics-port"])
def test_a_port_that_is_taken_is_told_before_anything_is_started(tmp_path: Path, option: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken, free = listener.getsockname()[1], free_port()
        ports = (taken, free) if option == "--port" else (free, taken)
        said = Machine(tmp_path, *ports).up(status=2)
    assert f"port {taken} cannot be listened on" in said
    assert f"where:  {option}\n" in said
    assert "name another port" in said
    assert not (tmp_path / ".hubtune" / "up" / "server.log").exists()
