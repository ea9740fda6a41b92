"""Processes of their own that use a store, for tests of what happens between processes, and to killed ones.

They are forked from a server that has imported everything already, so that one starts in milliseconds.
"""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from hubtune.storage import Artifact, PublishedModel, Store, task_key
from tests.storage.content import FILES, PRODUCER, Facts, put

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["gcsfs.core", "tenacity", "filelock", "hubtune.storage.bucket", __name__])


@dataclass
class Worker:
    """A process that is ready to begin."""

    process: ForkServerProcess
    pipe: Connection

    def begin(self) -> None:
        self.pipe.send("begin")

    def answer(self) -> str:
        assert self.pipe.poll(60)
        answer = str(self.pipe.recv())
        self.process.join()
        return answer

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def start(command: Callable[[Store, str], object], root: str, argument: str = "") -> Worker:
    """Start a process that will call `command` with the store and the argument, once told to begin."""
    ours, theirs = _context.Pipe()
    environment = {name: os.environ[name] for name in ("STORAGE_EMULATOR_HOST", "HUBTUNE_CACHE") if name in os.environ}
    process = _context.Process(target=_work, args=(theirs, environment, command, root, argument), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == "ready"
    return Worker(process, ours)


def together(*workers: Worker) -> list[str]:
    """Let them work, all at once; what each answered."""
    for worker in workers:
        worker.begin()
    return [worker.answer() for worker in workers]


def put_folder(store: Store, folder: str) -> str:
    return store.put("model", Path(folder), producer=PRODUCER, facts=Facts()).digest


def remember(store: Store, task: str) -> None:
    store.remember(task_key(task, 1, {}, []), {"model": put(store)})


def publish(store: Store, graph: str) -> int:
    return PublishedModel(store, "questions").publish(
        put(store, {**FILES, "saved_model.pb": graph.encode()}, "release")
    )


def check_out(store: Store, digest: str) -> Path:
    return store.checkout(Artifact(kind="model", digest=digest, uri=""))


def _work(
    pipe: Connection, environment: dict[str, str], command: Callable[[Store, str], object], root: str, argument: str
) -> None:
    os.environ.update(environment)
    store = Store.open(root)
    store.backend.children("memo")  # opens the connection
    pipe.send("ready")
    pipe.recv()
    pipe.send(str(command(store, argument)))
