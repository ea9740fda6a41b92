"""What the storage tests put into stores."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from hubtune.storage import Artifact, Producer, Store

PRODUCER = Producer(task="test.make", version=1, parameters={"size": 3})
FILES = {
    "saved_model.pb": b"graph",
    "variables/data-0": b"weights" * 100,
    "vocab.txt": "Äpfel\n".encode(),
    "empty": b"",
}


class Facts(BaseModel):
    rows: int = 3
    accuracy: float = 0.1


def fill(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def put(
    store: Store,
    files: Mapping[str, bytes] = FILES,
    kind: str = "model",
    facts: Facts | None = None,
    inputs: tuple[Artifact, ...] = (),
) -> Artifact:
    with store.scratch() as folder:
        return store.put(kind, fill(folder, files), producer=PRODUCER, inputs=inputs, facts=facts or Facts())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "manifest.json"
    }
