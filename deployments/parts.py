"""Processes that are kept running, and are gone when they should be."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psutil
from pydantic import BaseModel, ConfigDict

# What ends within this time is not started again at once, but after twice the time of before.
_LONG_ENOUGH_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 60.0

RUN = "PREFECT__FLOW_RUN_ID"
"""Where a worker names the run in the environment of its process."""

Say = Callable[[str, str], None]
"""Takes the name of a part, and what is to be said of it."""


class Running(BaseModel):
    """A process: its number, and its command, since numbers are used again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    command: list[str]

    def process(self) -> psutil.Process | None:
        """The process, if it still runs."""
        try:
            process = psutil.Process(self.pid)
            # An interpreter may stand before it. What has ended stays in the list, without a command, until its parent
            # has asked for its status.
            return process if process.cmdline()[-len(self.command) :] == self.command else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None


class Part:
    """A process that is started again when it ends by itself.

    Args:
        name: for messages.
        command: program and arguments.
        environment: all of it.
        folder: working directory.
        logs: where the file lies that its output is added to.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, logs: Path
    ) -> None:
        self.name, self.log = name, logs / f"{name.replace(' ', '-')}.log"
        self.running: Running | None = None
        self.since = datetime.now(UTC)
        self._command, self._environment, self._folder = list(command), dict(environment), folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._wait = self._due = 0.0

    def start(self) -> None:
        """Start the process. Ctrl-C does not reach it: it is stopped in its turn."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started, self.since = time.monotonic(), datetime.now(UTC)
        self.running = Running(pid=self._process.pid, command=self._command)

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def last_lines(self, count: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])

    def tend(self) -> str | None:
        """Start it again if it has ended: after a second, and after longer and longer waits if it keeps on ending.

        Returns:
            A line if something happened.
        """
        if self._process is None or (status := self._process.poll()) is None:
            return None
        now = time.monotonic()
        if not self._due:
            again = (
                1.0 if now - self._started > _LONG_ENOUGH_SECONDS else min(self._wait * 2 or 1.0, _LONGEST_WAIT_SECONDS)
            )
            self._wait, self._due = again, now + again
            return f"ended with status {status}, is started again in {again:.0f} s; see {self.log}"
        if now < self._due:
            return None
        self.start()
        self._due = 0.0
        return "started again"

    def kill(self) -> None:
        """End it by force, and not what it has started: the runs of a worker that hangs go on."""
        if self._process is not None:
            self._process.kill()

    def stop(self, seconds: float) -> None:
        """End it and all that it has started: politely, and by force after some time.

        Args:
            seconds: how long it may take.
        """
        if self._process is not None and self.runs:
            end(psutil.Process(self._process.pid), seconds)
            self._process.poll()
        self._process = self.running = None


def program(name: str, *arguments: str) -> list[str]:
    """The command of a program of this environment.

    Args:
        name: e.g. "prefect".
        arguments: what follows it.

    Returns:
        Program and arguments.
    """
    return [str(Path(sys.executable).parent / name), *arguments]


def end(process: psutil.Process, seconds: float) -> None:
    """End a process and all that it has started.

    Args:
        process: it may have ended already.
        seconds: how long they may take before they are killed.
    """
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    end_all(family, seconds)


def end_all(processes: Sequence[psutil.Process], seconds: float) -> None:
    """End processes, all at once.

    Args:
        processes: they may have ended already.
        seconds: how long they may take before they are killed.
    """
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    _, left = psutil.wait_procs(processes, timeout=seconds)
    for each in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(left, timeout=seconds)


def runs_at(api: str) -> dict[UUID, list[psutil.Process]]:
    """Runs of a server whose processes workers have started on this machine. They may outlive a worker that was killed.

    Args:
        api: the address of the server's API, as its workers have it.

    Returns:
        Id of a run -> its processes.
    """
    runs: dict[UUID, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and (set_in := process.environ()).get("PREFECT_API_URL") == api:
                runs.setdefault(UUID(set_in[RUN]), []).append(process)
        except (KeyError, ValueError, psutil.Error):
            continue
    return runs
