"""Work in a process of its own: what crosses the border, and what happens when either side dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubtune.errors import UnexpectedFailure, UnsupportedModel, WorkerDied
from hubtune.progress import ProgressLine
from tasks.fresh_process import run_in_fresh_process

CHILD = """
import os, signal, sys, time
from hubtune.errors import UnsupportedModel
from hubtune.progress import ProgressLine
from tasks.fresh_process import serve

def work(request, say):
    print("a library prints to stdout")
    say("began")
    say(ProgressLine("a quarter: 25 %", 0.25))
    match request["do"]:
        case "answer": return {"sum": sum(request["numbers"]), "pid": os.getpid()}
        case "refuse": raise UnsupportedModel("a cat", where="here", remedy="bring a dog")
        case "crash": raise ValueError("a bug")
        case "die": os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            open(request["pid_file"], "w").write(str(os.getpid()))
            time.sleep(600)

serve(work)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_child.py").write_text(CHILD, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "a_child"


def test_request_progress_and_answer_cross(child: str) -> None:
    lines: list[str] = []
    request = {"do": "answer", "numbers": [1, 2, 3]}
    answer = run_in_fresh_process(child, request, lines.append, timeout_seconds=60)
    assert answer["sum"] == 6
    assert answer["pid"] != os.getpid()
    assert lines == ["began", "a quarter: 25 %"]
    # A line that knows its share still does on the other side; one that does not is plain text.
    assert [line.share if isinstance(line, ProgressLine) else None for line in lines] == [None, 0.25]


def test_an_error_of_the_family_keeps_its_class(child: str) -> None:
    with pytest.raises(UnsupportedModel, match="a cat\n  where:  here\n  remedy: bring a dog"):
        run_in_fresh_process(child, {"do": "refuse"}, lambda _: None, timeout_seconds=60)


def test_a_bug_shows_its_traceback(child: str) -> None:
    with pytest.raises(UnexpectedFailure, match=r"a_child failed: ValueError: a bug\n(?s:.*)Traceback"):
        run_in_fresh_process(child, {"do": "crash"}, lambda _: None, timeout_seconds=60)


def test_a_killed_child_is_told(child: str) -> None:
    with pytest.raises(WorkerDied, match="was killed"):
        run_in_fresh_process(child, {"do": "die"}, lambda _: None, timeout_seconds=60)


def test_a_child_that_hangs_is_ended(child: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(UnexpectedFailure, match="did not end within 3 s"):
        run_in_fresh_process(child, {"do": "hang", "pid_file": str(pid_file)}, lambda _: None, timeout_seconds=3)
    assert not _lives(int(pid_file.read_text(encoding="utf-8")))


def test_a_killed_parent_leaves_no_child_behind(child: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    request = {"do": "hang", "pid_file": str(pid_file)}
    program = (
        "from tasks.fresh_process import run_in_fresh_process\n"
        f"run_in_fresh_process({child!r}, {request!r}, lambda _: None, timeout_seconds=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    _wait_until(lambda: pid_file.exists() and pid_file.read_text(encoding="utf-8") != "")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    pid = int(pid_file.read_text(encoding="utf-8"))
    _wait_until(lambda: not _lives(pid))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _wait_until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
