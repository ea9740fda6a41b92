"""Starts `tests.storage.worker`."""

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def start(command: str, root: str, folder: str = "") -> subprocess.Popen[str]:
    """A worker that is about to begin: it is started by a line on its stdin."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.storage.worker", command, root, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
    )


def await_ready(*workers: subprocess.Popen[str]) -> None:
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"


def release(*workers: subprocess.Popen[str]) -> list[str]:
    """Let them work, all at once; what each printed."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    answers = [worker.communicate(timeout=60)[0].strip() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * len(workers)
    return answers
