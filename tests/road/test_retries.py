"""What Prefect does with each kind of failure, on a real server."""

import json
import os
import subprocess
import sys

import pytest

TRIES = {
    "SourceUnavailable": 4,
    "StoreUnavailable": 4,
    "CorruptArtifact": 4,
    "InvalidData": 1,
    "QuarantineLimitExceeded": 1,
    "UnsupportedModel": 1,
    "ConnectionResetError": 4,
    "ValueError": 1,
}

PROGRAM = """
import builtins, collections, json
from prefect import flow, task
from hubtune import errors
from tasks.execution import RETRY

tries = collections.Counter()

@task(**(RETRY | {"retry_delay_seconds": 0.01}))
def block(name):
    tries[name] += 1
    raise (getattr(errors, name, None) or getattr(builtins, name))("it went wrong")

@flow
def road(names: list[str]):
    for name in names:
        block(name, return_state=True)
    return 0

road(%r)
print(json.dumps(tries))
"""


@pytest.mark.slow
def test_only_what_another_try_can_mend_is_tried_again(prefect_server: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM % list(TRIES)],
        env=os.environ | prefect_server,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout.splitlines()[-1]) == TRIES
