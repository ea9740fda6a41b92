"""A machine on which somebody types `hubtune up`: a home folder and ports of its own."""

import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.prefect_server import ask, free_port

HUBTUNE = [str(Path(sys.executable).parent / "hubtune")]
# Parts that hang are noticed within seconds, not minutes.
IMPATIENT = [
    sys.executable,
    "-c",
    "from deployments import watch; watch.HUNG_SECONDS, watch.LOOK_SECONDS = 10.0, 1.0; "
    "from hubtune.cli.app import main; main()",
]
AUTHORIZATION = ("ops", "s3same-w0rd")


@dataclass(frozen=True)
class Machine:
    """A home folder, ports of the server and of the metrics, who may come in, and what else is set."""

    home: Path
    port: int
    metrics_port: int
    further: dict[str, str] = field(default_factory=dict)

    @property
    def ports(self) -> tuple[str, ...]:
        return "--port", str(self.port), "--metrics-port", str(self.metrics_port)

    @property
    def environment(self) -> dict[str, str]:
        others = ("PREFECT_", "HUBTUNE_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        (self.home / "temporary").mkdir(exist_ok=True)
        own = {"HOME": str(self.home), "TMPDIR": str(self.home / "temporary"), "HUBTUNE_AUTH": ":".join(AUTHORIZATION)}
        return inherited | own | self.further

    @property
    def logs(self) -> Path:
        return self.home / ".hubtune" / "up"

    def start(self, *arguments: str, program: list[str] = HUBTUNE, terminal: int | None = None) -> "Typed":
        """Type a command; into a pipe, or on a terminal."""
        out = subprocess.PIPE if terminal is None else terminal
        return subprocess.Popen(
            # Without a terminal of its own, the closing of which ends it, it has none.
            [*program, *arguments] if terminal is None else ["setsid", "--ctty", *program, *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=out,
            stderr=subprocess.STDOUT if terminal is None else terminal,
            text=True,
            start_new_session=terminal is None,
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

    def retrain(self, recipe: dict[str, Any]) -> dict[str, Any]:
        """Press Run."""
        deployment = self.get("/deployments/name/Retrain/on-demand")
        parameters = {"parameters": {"recipe": recipe}}
        run: dict[str, Any] = self.post(f"/deployments/{deployment['id']}/create_flow_run", parameters)
        return run

    def pids(self) -> dict[str, int]:
        """The process of each part, and of who keeps them up."""
        state = json.loads((self.logs / "state.json").read_text(encoding="utf-8"))
        return {name: part["pid"] for name, part in state["parts"].items()} | {"keeper": state["keeper"]["pid"]}

    def parts(self) -> dict[str, psutil.Process]:
        return {name: psutil.Process(pid) for name, pid in self.pids().items()}

    def again(self, part: str, before: psutil.Process, seconds: float = 90) -> None:
        """Wait until a part is another process than before."""
        deadline = time.monotonic() + seconds
        while self.pids()[part] == before.pid:
            assert time.monotonic() < deadline, part
            time.sleep(0.2)

    def wait_for_server(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/api/health").raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < deadline
                time.sleep(0.3)

    def processes(self) -> list[psutil.Process]:
        """All that runs in this home: parts, runs, and what they have started."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("HOME") == str(self.home) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def once(self, run: dict[str, Any], wanted: str, seconds: float = 180) -> dict[str, Any]:
        """A run when it is in a state."""
        deadline = time.monotonic() + seconds
        while (read := self.get(f"/flow_runs/{run['id']}"))["state"]["type"] != wanted:
            state = read["state"]
            assert state["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} - {wanted}, state
            assert time.monotonic() < deadline, state
            time.sleep(0.3)
        found: dict[str, Any] = read
        return found


Typed = subprocess.Popen[str]


@contextmanager
def machine_in(home: Path, further: dict[str, str]) -> Iterator[Machine]:
    """A machine of which nothing is left running, however a test ends.

    Args:
        home: its home folder.
        further: what is set in its environment.

    Yields:
        The machine.
    """
    machine = Machine(home, free_port(), free_port(), further)
    try:
        yield machine
    finally:
        for process in machine.processes():
            with suppress(psutil.Error):
                process.kill()


def found_in(folder: Path, secrets: list[str]) -> list[str]:
    """Files that hold a secret, as it is or as it is sent to a server.

    Args:
        folder: all files below it are read.
        secrets: what is looked for.

    Returns:
        A line for each.
    """
    forms = [form.encode() for secret in secrets for form in written(secret)]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [
        f"{path}: {form!r}" for path in files for content in (path.read_bytes(),) for form in forms if form in content
    ]


def written(secret: str) -> Iterator[str]:
    """A secret, and how HTTP writes it where it is the password of the tests' user."""
    yield secret
    yield b64encode(f"{AUTHORIZATION[0]}:{secret}".encode()).decode()
