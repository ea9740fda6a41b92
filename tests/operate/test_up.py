"""`hubtune up` and `hubtune down`, as somebody types them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import httpx
import pytest
from playwright.sync_api import expect

from tests.operate.browser import PROGRAM, Pages, open_browser
from tests.operate.conftest import Json
from tests.operate.dashboard import metrics_of, queries
from tests.operate.machine import AUTHORIZATION, IMPATIENT, Machine, Typed, found_in, machine_in
from tests.operate.receiver import TOKEN, receiving
from tests.prefect_server import free_port

pytestmark = pytest.mark.slow
WORKERS = ("worker default", "worker accelerator")


@pytest.mark.timeout(900)
def test_all_of_it_comes_up_survives_and_goes_down(tmp_path: Path, small_model: dict[str, str]) -> None:
    # A sign of life of workers each second: one that hangs is to be told from one that is silent.
    beats = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "1"}
    with receiving() as receiver, machine_in(tmp_path, beats | {"HUBTUNE_ALERTS": receiver.url}) as machine:
        said = machine.up("--detach")
        lines = ("server", "work pools", "deployments", "automations", "metrics", *WORKERS)
        for part in lines:
            assert f"\n{part} " in f"\n{said}"
        assert httpx.post(f"http://127.0.0.1:{machine.port}/api/deployments/filter", json={}).status_code == 401
        assert httpx.get(f"http://127.0.0.1:{machine.port}/api/metrics").status_code == 401
        assert "up already" in machine.up()
        if PROGRAM is not None:
            _check_pages(machine)

        # What dies is started again.
        for part in ("metrics", "worker accelerator"):
            before = machine.parts()[part]
            before.kill()
            machine.again(part, before)

        # It is stopped in the middle of a training, and the run goes on at the next start, with what the store holds.
        long = {"mode": "fine_tuning", "max_length": 16, "epochs": 150, "early_stopping_patience": None}
        recipe = {"model": small_model, "train": long}
        run = machine.retrain(recipe)
        _wait_for_checkpoint(machine)
        assert "All of it is stopped" in machine.run("down")
        assert not machine.processes()
        assert "goes on with it" in (machine.logs / "up.log").read_text(encoding="utf-8")
        machine.up("--detach")
        machine.once(run, "RUNNING")
        _wait_for_training(machine, run)

        # Who keeps it up is killed, with the run at work: the next start ends what is left, and the run goes on.
        killed = machine.parts()
        killed["keeper"].kill()
        assert killed["server"].is_running()
        keeper = machine.start("up", *machine.ports, program=IMPATIENT)
        said = _until(keeper, "All of it is up")
        assert "was at work when hubtune was stopped, and goes on with it" in said
        assert not any(process.is_running() for process in killed.values())
        machine.once(run, "COMPLETED", 300)
        tasks = _tasks(machine, run)
        assert tasks["Download data"] == ["Completed", "Cached", "Cached"]
        assert tasks["Train on accelerator"] == ["Crashed", "Crashed", "Completed"]
        trained = machine.post("/flow_runs/filter", {"flows": {"name": {"any_": ["Train"]}}})
        assert [each["state"]["type"] for each in trained].count("COMPLETED") == 1
        assert any("going on from a checkpoint" in line["message"] for line in machine.post("/logs/filter", {}))
        _check_dashboard(machine)

        # The server hangs: it is started again, and the workers go on.
        hung = machine.parts()["server"]
        hung.suspend()
        assert "server" in _until(keeper, "has not answered for")
        machine.again("server", hung)
        machine.wait_for_server()
        again = machine.retrain(recipe)
        machine.once(again, "COMPLETED")
        assert set(_tasks(machine, again)) >= {"Download data", "Train on accelerator", "Publish model"}
        assert all(states == ["Cached"] for states in _tasks(machine, again).values())

        # Ctrl-C ends all of it, though nobody reads any more what it says.
        assert keeper.stdout is not None
        keeper.stdout.close()
        os.kill(keeper.pid, signal.SIGINT)
        assert keeper.wait(timeout=60) == 0
        assert not machine.processes()
        assert "Nothing was up" in machine.run("down")
        # Nobody was woken for a run that went on, and no secret was written down.
        assert [message["subject"] for message in receiver.messages] == [
            "Version 1 of insincere-questions is published"
        ]
        assert found_in(tmp_path, [TOKEN, AUTHORIZATION[1]]) == []


def _until(keeper: Typed, wanted: str, seconds: float = 180) -> str:
    """What is said until something is."""
    assert keeper.stdout is not None
    too_late = Timer(seconds, keeper.kill)
    too_late.start()
    try:
        said = ""
        for line in keeper.stdout:
            said += line
            if wanted in line:
                return said
    finally:
        too_late.cancel()
    raise AssertionError(f"{wanted!r} was not said: {said}")


def _wait_for_checkpoint(machine: Machine, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    checkpoints = machine.home / ".hubtune" / "store" / "artifacts" / "checkpoint"
    while not any(checkpoints.glob("*/manifest.json")):
        assert time.monotonic() < deadline, (machine.logs / "worker-accelerator.log").read_text(encoding="utf-8")
        time.sleep(0.3)


def _wait_for_training(machine: Machine, run: Json, seconds: float = 180) -> None:
    """Until it trains for the second time; the first is shown as crashed by then."""
    deadline = time.monotonic() + seconds
    while (states := _tasks(machine, run)["Train on accelerator"]) != ["Crashed", "Running"]:
        assert states[0] == "Crashed", states
        assert time.monotonic() < deadline, states
        time.sleep(0.2)


def _tasks(machine: Machine, run: Json) -> dict[str, list[str]]:
    """Task name -> names of its states, one for each time that it ran."""
    wanted = {"task_runs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "EXPECTED_START_TIME_ASC"}
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, list[str]] = {}
        for task in machine.post("/task_runs/filter", wanted):
            found.setdefault(task["name"].rpartition("-")[0], []).append(task["state_name"])
        # The server records tasks, and their states, a moment later than the states of runs.
        state = machine.get(f"/flow_runs/{run['id']}")["state"]["type"]
        settled = "Running" not in str(found) and (state != "COMPLETED" or "Publish model" in found)
        if state == "RUNNING" or settled:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def _check_pages(machine: Machine) -> None:
    """Neither of the two UIs asks anybody but the server."""
    url = f"http://127.0.0.1:{machine.port}"
    with open_browser() as browser:
        for path in ("/", "/v2/"):
            pages = Pages(browser, {"PREFECT_API_URL": f"{url}/api"})
            pages.page.goto(f"{url}{path}")
            expect(pages.page.locator("input[type=password]")).to_be_visible()
            pages.page.wait_for_load_state("networkidle")
            assert pages.hosts <= {"127.0.0.1", ""}, pages.hosts
            pages.page.close()


def _check_dashboard(machine: Machine) -> None:
    """What the dashboard shows is there, and tells of the run."""
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


def test_nohup_is_heeded_and_kill_ends_it_like_ctrl_c() -> None:
    typed = (
        "import os, signal; from hubtune.cli.up import end_on_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "end_on_signals()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()\n"
        "except KeyboardInterrupt:\n    print('ended')\n"
    )
    done = subprocess.run([sys.executable, "-c", typed], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "ended\n"
