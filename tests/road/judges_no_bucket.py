"""A Dask worker that preloads this file is killed as soon as it has to judge a bucket of rows."""

import os
import signal
from typing import Any

from tasks.preprocess import buckets


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


buckets.read_bucket = _die  # type: ignore[assignment]
