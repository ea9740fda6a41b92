"""Work in a process of its own: for what must not share a process with the flow.

Three reasons. Foreign SavedModels are loaded where a crash ends only the child. TensorFlow numbers the functions that
it traces within a process, and the numbers get into a SavedModel: only a process that does nothing else writes the
same bytes every time. And memory is given back at the end.

Parent and child speak JSON, one object on each line: the request on the child's stdin, progress (a line, with the share
of the work that is done where the line knows it) and the answer on its stdout. The child's stdin stays open for as long
as the parent lives; when it closes, the child ends itself, so that a killed flow leaves nothing behind.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hubtune.errors import HubtuneError, UnexpectedFailure, WorkerDied, disk_full, from_json
from hubtune.progress import ProgressLine, Say
from tasks.fork_server import ForkedProcess, ForkServerEnded, end_if_idle

Work = Callable[[dict[str, Any], Say], dict[str, Any]]

# PYTHONHASHSEED: the order of sets must not reach a file. TF_CPP_MIN_LOG_LEVEL: no notes on CPU features.
# TF_USE_LEGACY_KERAS: TensorFlow then leaves out Keras 3, and some seconds of imports; no Keras is used.
_CHILD_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "2", "TF_USE_LEGACY_KERAS": "1"}
# Whoever sets one of these keeps the last word. oneDNN's kernels gained up to a factor of 1.27 in the training step and
# are not the default on every CPU; it is read once, at import.
_PREFERRED = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # glibc keeps ever larger freed blocks for itself, unless these are set (bytes): gradients and activations then go
    # back to the system, and a training's peak is 7 % lower at the same speed (docs/benchmarks.md).
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    "MALLOC_TRIM_THRESHOLD_": "67108864",
}


def run_in_fresh_process(
    module: str, request: dict[str, Any], say: Say, *, timeout_seconds: float, alone: bool = False
) -> dict[str, Any]:
    """Run `python -m module` in a new process, give it the request and wait for its answer.

    Args:
        module: a module that ends with `serve(work)`.
        request: JSON values, paths as strings.
        say: takes the child's progress lines.
        timeout_seconds: the child is killed after this time.
        alone: whether the memory that forked processes start from (`tasks.fork_server`) is given back first, unless
            others of its processes still run. It costs this process, and the next one that is forked, the seconds that
            it takes to import TensorFlow.

    Returns:
        What the child's `work` returned.

    Raises:
        HubtuneError: of the same class as raised in the child.
        WorkerDied: the child was killed or crashed.
        UnexpectedFailure: the child did not end in time, or failed with an error that is not of hubtune's family.
    """
    # It ends without clearing up, or is killed: what it leaves in the folder for temporary files goes with the folder.
    with tempfile.TemporaryDirectory(prefix="hubtune-", ignore_cleanup_errors=True) as temporary:
        return _run(module, request, say, timeout_seconds, alone, temporary)


def child_environment() -> dict[str, str]:
    """The environment variables of such a process, however it is started: some decide what TensorFlow computes."""
    return _PREFERRED | os.environ | _CHILD_ENVIRONMENT


def _run(
    module: str, request: dict[str, Any], say: Say, timeout_seconds: float, alone: bool, temporary: str
) -> dict[str, Any]:
    try:
        child = _start(module, timeout_seconds, alone, temporary)
    except ForkServerEnded as error:
        raise _ended("tasks.fork_server", error.status, False, timeout_seconds, error.last_words) from None
    except TimeoutError:
        raise _ended("tasks.fork_server", 0, True, timeout_seconds, "") from None
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    last_words: deque[str] = deque(maxlen=30)
    listener = threading.Thread(target=last_words.extend, args=(child.stderr,), daemon=True)
    listener.start()
    timer = threading.Timer(timeout_seconds, child.kill)
    timer.start()
    answer: dict[str, Any] | None = None
    try:
        child.stdin.write(json.dumps(request) + "\n")
        child.stdin.flush()
        for text in child.stdout:
            message = json.loads(text)
            if "say" in message:
                line = message["say"]
                say(ProgressLine(line, message["share"]) if "share" in message else line)
            else:
                answer = message
        child.wait()
    except BrokenPipeError:
        child.wait()
    finally:
        timed_out = not timer.is_alive()
        timer.cancel()
        child.kill()
        status = child.wait()
        listener.join(timeout=5)
        with suppress(BrokenPipeError):  # what the child has not read of its request is written once more
            child.stdin.close()
        child.stdout.close()
        child.stderr.close()
    if answer is None:
        raise _ended(module, status, timed_out, timeout_seconds, "".join(last_words).strip())
    if "error" in answer:
        raise from_json(answer["error"])
    result: dict[str, Any] = answer["result"]
    return result


def _start(module: str, timeout_seconds: float, alone: bool, temporary: str) -> "ForkedProcess | subprocess.Popen[str]":
    environment = child_environment() | {"TMPDIR": temporary}
    if alone:
        end_if_idle()
    elif sys.platform == "linux":
        return ForkedProcess(module, environment, timeout_seconds)
    return subprocess.Popen(
        # -P: what lies in the working directory must not stand in for a module.
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",  # TensorFlow's own log lines may be cut within a character
        env=environment,
    )


def serve(work: Work) -> None:
    """The child's side: read the request, do the work, answer.

    Args:
        work: takes the request and a function for progress lines, returns JSON values.
    """
    # Libraries print to stdout as they please: it becomes stderr, and the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        answer = {"result": work(request, lambda line: send(_said(line)))}
    except HubtuneError as error:
        answer = {"error": error.to_json()}
    except Exception as error:
        full = disk_full(error)
        if full is None:
            traceback.print_exc()
            sys.exit(1)
        answer = {"error": full.to_json()}
    send(answer)
    sys.stderr.flush()
    # Python would take TensorFlow apart for another 1.2 s; all that matters has been written and answered.
    os._exit(0)


def _said(line: str) -> dict[str, Any]:
    return {"say": line, "share": line.share} if isinstance(line, ProgressLine) else {"say": line}


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _ended(
    module: str, status: int, timed_out: bool, timeout_seconds: float, last_words: str
) -> WorkerDied | UnexpectedFailure:
    where = f"python -m {module}"
    if timed_out:
        what = f"the process for {module} did not end within {timeout_seconds:.0f} s"
        return UnexpectedFailure(what, where=where, remedy="see why it hung, or raise the task's timeout")
    if status == -signal.SIGKILL:
        remedy = "most often memory ran out: give the worker more, or lower train.batch_size; then run again"
        return WorkerDied(f"the process for {module} was killed", where=where, remedy=remedy)
    if status < 0:
        what = f"the process for {module} crashed: {signal.Signals(-status).name}"
        return WorkerDied(f"{what}\n{last_words}".strip(), where=where, remedy="run again; see its last words above")
    # The cause first: the last line of a traceback. Trying again would end the same way.
    cause = (last_words.splitlines() or ["it said nothing"])[-1]
    what = f"the process for {module} failed: {cause}\n{last_words}"
    return UnexpectedFailure(what, where=where, remedy="this is a bug, or the environment is broken: try `make setup`")
