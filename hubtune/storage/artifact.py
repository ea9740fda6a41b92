"""What an artifact is: a folder in the store, described by the manifest that is written last."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hubtune.errors import CorruptArtifact

MAKE_AGAIN = "run again: what is missing or damaged is made again"

Record = TypeVar("Record", bound=BaseModel)


class _Record(BaseModel):
    # Built at first use: that leaves 20 ms of import time to commands that only look something up.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FileEntry(_Record):
    """One file of an artifact.

    `md5` is what Cloud Storage keeps of each object, so that a bucket can be checked without reading it; `sha256` is
    what readers verify.
    """

    path: str
    size: int
    sha256: str
    md5: str


class Artifact(_Record):
    """What one block hands to the next: an address in the store and a few small facts, as JSON."""

    kind: str
    digest: str
    uri: str
    facts: dict[str, Any] = {}


class Producer(_Record):
    """Which task made an artifact, from which parameters, with which versions. The first maker is kept."""

    task: str
    version: int
    parameters: dict[str, Any]
    software: dict[str, str] = {}


class Manifest(_Record):
    """The commit mark of an artifact: a folder without one does not exist for any reader."""

    kind: str
    digest: str
    files: list[FileEntry]
    facts: dict[str, Any]
    producer: Producer
    inputs: list[str]


class TaskKey(_Record):
    """Identifies one execution of a task by all that its result depends on."""

    task: str
    digest: str


def content_digest(kind: str, files: Sequence[FileEntry]) -> str:
    """The address of content: sha256 over the kind and the listing of path, size and sha256 of each file.

    Args:
        kind: the artifact's kind.
        files: its files, in any order.

    Returns:
        64 hexadecimal digits.
    """
    listing = sorted((file.path, file.size, file.sha256) for file in files)
    return _sha256_of_json([kind, listing])


def task_key(task: str, version: int, parameters: Mapping[str, Any], inputs: Sequence[Artifact]) -> TaskKey:
    """The key under which a task's result is remembered.

    Args:
        task: the task's name, e.g. "retrain.embed".
        version: raised by hand whenever the task's code begins to give other results.
        parameters: the parameters that the result depends on, and no others; JSON values.
        inputs: the artifacts that it reads, in the task's own order.

    Returns:
        The key.
    """
    digests = [f"{artifact.kind}/{artifact.digest}" for artifact in inputs]
    return TaskKey(task=task, digest=_sha256_of_json([task, version, dict(parameters), digests]))


def seal(record: Mapping[str, Any]) -> bytes:
    """Write a record of the store as JSON that carries its own hash.

    The address of an artifact vouches for its files, but not for the record that lists them (its facts, its producer),
    nor for the small records that point to artifacts: those vouch for themselves.

    Args:
        record: JSON values.

    Returns:
        The text of the file.
    """
    sealed = {**record, "seal": _sha256_of_json(dict(record))}
    return (json.dumps(sealed, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def unseal(content: bytes | None) -> dict[str, Any] | None:
    """Read what `seal` wrote.

    Args:
        content: the text of the file; None for a file that does not exist.

    Returns:
        The record, or None if it is missing, truncated or changed.
    """
    try:
        record = json.loads(content or b"")
        whole = record.pop("seal") == _sha256_of_json(record)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return record if whole else None


def parse_record(model: type[Record], content: bytes | None, where: str) -> Record:
    """Read a sealed record: a manifest, a memo, a member of a collection.

    Args:
        model: the kind of record.
        content: the content of its file; None if there is no file.
        where: its address, for the message.

    Returns:
        The record.

    Raises:
        CorruptArtifact: the file is missing, truncated or changed.
    """
    try:
        return model.model_validate(unseal(content))
    except ValidationError:
        raise CorruptArtifact("the record is truncated or changed", where=where, remedy=MAKE_AGAIN) from None


def _sha256_of_json(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
