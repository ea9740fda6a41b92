"""Processes that train, forked from one that has imported TensorFlow (on Linux), and with threads as in a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tasks.fork_server import ForkedProcess
from tasks.fresh_process import child_environment

Process = ForkedProcess | subprocess.Popen[str]
_ARGUMENTS = "HUBTUNE_TEST_ARGUMENTS"


def start(module: str, *arguments: str | int | Path, **environment: str) -> Process:
    """Start a module that takes its arguments from `arguments()`."""
    # But for the threads of tests that train in their own process.
    inherited = {name: value for name, value in child_environment().items() if name != "TF_NUM_INTRAOP_THREADS"}
    variables = inherited | environment | {_ARGUMENTS: json.dumps([str(each) for each in arguments])}
    if sys.platform == "linux":
        return ForkedProcess(module, variables, timeout_seconds=120)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", module], env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def arguments() -> list[str]:
    """In such a process: its arguments. What it says on stderr goes to stdout from here on."""
    os.dup2(1, 2)
    found: list[str] = json.loads(os.environ[_ARGUMENTS])
    return found


def said(process: Process) -> str:
    """Wait for the end of a process; what it had still to say."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdin, process.stdout, process.stderr:
        out = process.stdout.read()
        process.wait()
    return out


def end(*processes: Process) -> list[str]:
    """Wait for processes that end well; what they said."""
    outs = [said(process) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outs)
    return outs
