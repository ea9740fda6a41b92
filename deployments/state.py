"""What is up on this machine, as the process that keeps it up writes it down for others."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.parts import Part, Running, end, end_all, runs_at
from hubtune.errors import StackFailed

_FILE = "state.json"
_PART_SECONDS = 20.0
# Longer than all parts may take one after the other, twice each.
_END_SECONDS = 180.0


class StackState(BaseModel):
    """What is up: who keeps it up, where the server is, whether all parts are there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    ready: bool
    keeper: Running
    parts: dict[str, Running]


def write_state(folder: Path, url: str, parts: Sequence[Part], *, ready: bool) -> None:
    """Write down what is up.

    Args:
        folder: of the stack.
        url: of the server.
        parts: those that have been started are named.
        ready: whether all of it is there.
    """
    running = {part.name: part.running for part in parts if part.running is not None}
    state = StackState(
        url=url, ready=ready, keeper=Running(pid=os.getpid(), command=psutil.Process().cmdline()), parts=running
    )
    new = folder / f"{_FILE}.new"
    new.write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
    new.replace(folder / _FILE)


def forget(folder: Path) -> None:
    """Nothing is up any more."""
    (folder / _FILE).unlink(missing_ok=True)


def read_state(folder: Path) -> StackState | None:
    """What is up.

    Args:
        folder: of the stack.

    Returns:
        The state; None if nothing is up.
    """
    state = _read(folder)
    return state if state is not None and _is_kept(folder) else None


def end_leftovers(folder: Path) -> None:
    """End what the parts of a stack have become whose keeper was killed.

    Args:
        folder: of the stack.
    """
    state = _read(folder)
    if state is None:
        return
    # The server first: what the others would say of their end is not that of their runs, which are taken up again.
    for running in state.parts.values():
        if (process := running.process()) is not None:
            end(process, _PART_SECONDS)
    end_all([process for processes in runs_at(f"{state.url}/api").values() for process in processes], _PART_SECONDS)
    forget(folder)


def end_stack(folder: Path) -> bool:
    """End what is up, from another process.

    Args:
        folder: of the stack.

    Returns:
        False if nothing was up.

    Raises:
        StackFailed: it does not end.
    """
    state = read_state(folder)
    if state is None:
        end_leftovers(folder)
        return False
    keeper = state.keeper.process()
    if keeper is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            keeper.terminate()
        try:
            keeper.wait(timeout=_END_SECONDS)
        except psutil.TimeoutExpired:
            raise StackFailed(
                f"process {keeper.pid}, which keeps it up, has not ended after {_END_SECONDS:.0f} s",
                where=str(folder),
                remedy=f"see its log there; kill -9 {keeper.pid}, then hubtune down once more, ends it by force",
            ) from None
    return True


def _is_kept(folder: Path) -> bool:
    """Whether a process keeps a stack up: it holds the lock as long as it lives."""
    try:
        with FileLock(folder / "lock").acquire(timeout=0):
            return False
    except Timeout:
        return True


def _read(folder: Path) -> StackState | None:
    try:
        return StackState.model_validate_json((folder / _FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
