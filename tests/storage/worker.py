"""Uses a store in a process of its own: `python -m tests.storage.worker COMMAND ROOT [FOLDER]`.

Says `ready` once everything is imported, waits for a line on stdin, works, and prints what it got.
"""

import sys
from pathlib import Path

from hubtune.storage import PublishedModel, Store, task_key
from tests.storage.content import PRODUCER, Facts, put


def main(command: str, root: str, folder: str = "") -> None:
    store = Store.open(root)
    store.backend.children("memo")  # opens the connection
    release = put(store, kind="release") if command == "publish" else None
    print("ready", flush=True)
    sys.stdin.readline()
    if command == "put":
        print(store.put("model", Path(folder), producer=PRODUCER, facts=Facts()).digest)
    elif command == "remember":
        store.remember(task_key("test.make", 1, {}, []), {"model": put(store)})
    elif command == "publish":
        assert release is not None
        print(PublishedModel(store, "questions").publish(release))
    elif command == "publish-own":
        own = put(store, {"saved_model.pb": folder.encode()}, kind="release")
        print(PublishedModel(store, "questions").publish(own))


if __name__ == "__main__":
    main(*sys.argv[1:])
