"""Work in a process of its own: what crosses the border, and what happens when either side dies."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hubtune.errors import UnexpectedFailure, UnsupportedModel, WorkerDied
from hubtune.progress import ProgressLine
from tasks import fresh_process
from tasks.fresh_process import run_in_fresh_process

pytestmark = pytest.mark.slow
CHILD = "tests.fresh_child"


def test_request_progress_and_answer_cross() -> None:
    lines: list[str] = []
    request = {"do": "answer", "numbers": [1, 2, 3]}
    answer = run_in_fresh_process(CHILD, request, lines.append, timeout_seconds=60)
    assert answer["sum"] == 6
    assert answer["pid"] != os.getpid()
    assert lines == ["began", "a quarter: 25 %"]
    # A line that knows its share still does on the other side; one that does not is plain text.
    assert [line.share if isinstance(line, ProgressLine) else None for line in lines] == [None, 0.25]


def test_an_error_of_the_family_keeps_its_class() -> None:
    with pytest.raises(UnsupportedModel, match="a cat\n  where:  here\n  remedy: bring a dog"):
        run_in_fresh_process(CHILD, {"do": "refuse"}, lambda _: None, timeout_seconds=60)


def test_a_bug_shows_its_traceback() -> None:
    with pytest.raises(UnexpectedFailure, match=r"tests.fresh_child failed: ValueError: a bug\n(?s:.*)Traceback"):
        run_in_fresh_process(CHILD, {"do": "crash"}, lambda _: None, timeout_seconds=60)


def test_a_killed_child_is_told_and_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(WorkerDied, match="was killed"):
        run_in_fresh_process(CHILD, {"do": "die"}, lambda _: None, timeout_seconds=60)
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_hangs_is_ended(tmp_path: Path) -> None:
    run_in_fresh_process(CHILD, {"do": "answer", "numbers": []}, lambda _: None, timeout_seconds=60)
    pid_file = tmp_path / "pid"
    with pytest.raises(UnexpectedFailure, match="did not end within 3 s"):
        run_in_fresh_process(CHILD, {"do": "hang", "pid_file": str(pid_file)}, lambda _: None, timeout_seconds=3)
    child, _ = _pids(pid_file)
    assert not _lives(child)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_processes_come_from_one_that_has_imported_tensorflow(tmp_path: Path) -> None:
    request = {"do": "answer", "numbers": []}
    with ThreadPoolExecutor(2) as threads:
        hanging = tmp_path / "pid"
        other = threads.submit(
            run_in_fresh_process, CHILD, {"do": "hang", "pid_file": str(hanging)}, lambda _: None, timeout_seconds=600
        )
        _wait_until(hanging.exists)
        answers = [run_in_fresh_process(CHILD, request, lambda _: None, timeout_seconds=60) for _ in range(2)]
        assert [answer["tensorflow"] for answer in answers] == [True, True]
        # Read when TensorFlow is imported, so that it must have been set before that.
        assert "TF_ENABLE_ONEDNN_OPTS=1" in Path(f"/proc/{_pids(hanging)[1]}/environ").read_text().split("\0")
        assert answers[0]["pid"] != answers[1]["pid"]
        # With the server its processes lose nothing but what they would say at their end.
        child, server = _pids(hanging)
        os.kill(server, signal.SIGKILL)
        _wait_until(lambda: not _lives(server))
        os.kill(child, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="was killed"):
            other.result(timeout=30)
    # The next one that is asked for comes from another server.
    assert run_in_fresh_process(CHILD, request, lambda _: None, timeout_seconds=60)["tensorflow"] is True


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_alone_a_process_has_the_memory_of_the_server_too(tmp_path: Path) -> None:
    request = {"do": "answer", "numbers": []}

    def tensorflow_was_there(*, alone: bool) -> bool:
        answer = run_in_fresh_process(CHILD, request, lambda _: None, timeout_seconds=60, alone=alone)
        return bool(answer["tensorflow"])

    with ThreadPoolExecutor(1) as thread:
        hanging = tmp_path / "pid"
        other = thread.submit(
            run_in_fresh_process, CHILD, {"do": "hang", "pid_file": str(hanging)}, lambda _: None, timeout_seconds=600
        )
        _wait_until(hanging.exists)
        child, server = _pids(hanging)
        try:
            assert not tensorflow_was_there(alone=True)
            assert _lives(server), "it has still to tell how the other one ends"
        finally:
            os.kill(child, signal.SIGKILL)
        with pytest.raises(WorkerDied, match="was killed"):
            other.result(timeout=30)
    assert not tensorflow_was_there(alone=True)
    assert not _lives(server)
    assert tensorflow_was_there(alone=False)


def test_the_environment_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("one", "two", "large" * 100_000):
        monkeypatch.setenv("HUBTUNE_SOMETHING", value)
        request = {"do": "look", "variable": "HUBTUNE_SOMETHING"}
        assert run_in_fresh_process(CHILD, request, lambda _: None, timeout_seconds=60) == {"value": value}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.parametrize(
    ("tensorflow", "told"),
    [
        ("raise ImportError('libcudart is of another version')", "failed: ImportError: libcudart"),
        ("import time; time.sleep(600)", "did not end within 3 s"),
    ],
)
def test_a_broken_tensorflow_is_told_to_all_who_wait(tmp_path: Path, tensorflow: str, told: str) -> None:
    (tmp_path / "tensorflow.py").write_text(tensorflow, encoding="utf-8")
    program = f"""
from concurrent.futures import ThreadPoolExecutor
from tasks.fresh_process import run_in_fresh_process as run
with ThreadPoolExecutor(2) as threads:
    asked = [threads.submit(run, {CHILD!r}, {{}}, print, timeout_seconds=3) for _ in range(2)]
for each in asked:
    print(type(each.exception()).__name__, each.exception())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    start = f"UnexpectedFailure the process for tasks.fork_server {told}"
    assert sum(line.startswith(start) for line in ended.stdout.splitlines()) == 2, ended.stdout + ended.stderr


def test_a_killed_parent_leaves_no_child_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    request = {"do": "hang", "pid_file": str(pid_file)}
    program = (
        "from tasks.fresh_process import run_in_fresh_process\n"
        f"run_in_fresh_process({CHILD!r}, {request!r}, lambda _: None, timeout_seconds=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    _wait_until(pid_file.exists)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in _pids(pid_file):
        _wait_until(lambda pid=pid: not _lives(pid))


def _pids(file: Path) -> tuple[int, int]:
    """Of a child that hangs, and of the process that forked it."""
    child, parent = map(int, file.read_text(encoding="utf-8").split())
    return child, parent


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


@pytest.mark.parametrize("characters", [10, 2**20])
def test_a_process_that_dies_before_it_has_read_its_request_was_killed(
    characters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dies_at_once.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    start = fresh_process._start

    def start_and_wait(*arguments: Any) -> Any:
        child = start(*arguments)
        child.wait()
        return child

    monkeypatch.setattr(fresh_process, "_start", start_and_wait)
    with pytest.raises(WorkerDied, match="the process for dies_at_once was killed"):
        run_in_fresh_process("dies_at_once", {"x": "x" * characters}, print, timeout_seconds=60, alone=True)
