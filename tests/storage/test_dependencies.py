import re
import subprocess
import sys
import time
from pathlib import Path

import hubtune.storage


def test_importing_is_light() -> None:
    program = "import hubtune.storage, sys; print(' '.join(sys.modules))"
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0  # 0.25 s on an idle machine; tests may share theirs
    for module in ("gcsfs", "fsspec", "aiohttp", "tenacity", "filelock", "google", "numpy", "polars", "asyncio"):
        assert module not in loaded.split()


def test_nothing_is_pickled() -> None:
    for file in Path(hubtune.storage.__file__).parent.glob("*.py"):
        assert not re.search(r"\b(pickle|marshal|shelve|joblib|eval|exec)\b", file.read_text()), file
