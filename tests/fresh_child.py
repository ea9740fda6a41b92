"""What a child does that tests of `tasks.fresh_process` start."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hubtune.errors import UnsupportedModel
from hubtune.progress import ProgressLine, Say
from tasks.fresh_process import serve


def work(request: dict[str, Any], say: Say) -> dict[str, Any]:
    print("a library prints to stdout")
    say("began")
    say(ProgressLine("a quarter: 25 %", 0.25))
    match request["do"]:
        case "answer":
            return {"sum": sum(request["numbers"]), "pid": os.getpid(), "tensorflow": "tensorflow" in sys.modules}
        case "refuse":
            raise UnsupportedModel("a cat", where="here", remedy="bring a dog")
        case "crash":
            raise ValueError("a bug")
        case "die":
            os.close(tempfile.mkstemp()[0])
            os.kill(os.getpid(), signal.SIGKILL)
        case "look":
            return {"value": os.environ[request["variable"]]}
        case "hang":
            written = Path(request["pid_file"]).with_suffix(".part")
            written.write_text(f"{os.getpid()} {os.getppid()}", encoding="utf-8")
            written.rename(request["pid_file"])
            time.sleep(600)
    raise AssertionError(request)


if __name__ == "__main__":
    serve(work)
