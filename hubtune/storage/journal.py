"""When runs ended well, how fast trainings were, and which run published what, for those who watch.

It lies beside the artifacts, which may hold no times: equal inputs give equal bytes. No result depends on it.
"""

import contextlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from hubtune.errors import CorruptArtifact
from hubtune.storage.artifact import Artifact, Manifest, TaskKey, parse_record, seal, task_key
from hubtune.storage.store import Store


class Success(BaseModel):
    """The last run of a model that ended well, whether it published a version or found everything there already.

    `run` is the flow run's id, `ended` the moment (UTC, ISO 8601), `version` what it published or found; `rows` and
    `quarantine` are the digests of what became of its data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    run: str
    ended: str
    version: int
    rows: str
    quarantine: str


class Training(BaseModel):
    """How long a training took: `rows` that went through its steps, and the `seconds` of these steps.

    A row counts once for each epoch. Validation is left out; the time in which TensorFlow traces the first step is left
    out on one device, where it comes before. Of a training that went on from a checkpoint it is the part since then.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    rows: int
    seconds: float


class Publication(BaseModel):
    """Which flow run published a version. The server that knew the run may be gone."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    run: str


def note_success(store: Store, model: str, success: Success) -> None:
    """Write down that a run ended well, in place of the one before.

    Args:
        store: the artifact store.
        model: the model's name.
        success: the run.

    Raises:
        StoreUnavailable: the store could not be written to.
    """
    store.backend.write(_success_path(model), seal(success.model_dump(mode="json")))


def last_success(store: Store, model: str) -> Success | None:
    """The last run that ended well.

    Args:
        store: the artifact store.
        model: the model's name.

    Returns:
        The run; None if none was ever noted.

    Raises:
        CorruptArtifact: the record is damaged.
    """
    path = _success_path(model)
    content = store.backend.read(path)
    return None if content is None else parse_record(Success, content, f"{store.root}/{path}")


def note_training(store: Store, key: TaskKey, training: Training) -> None:
    """Write down how long a training took.

    Args:
        store: the artifact store.
        key: of the training: all that its result depends on.
        training: rows and seconds.

    Raises:
        StoreUnavailable: the store could not be written to.
    """
    store.backend.write(_training_path(key), seal(training.model_dump(mode="json")))


def training_of(store: Store, classifier: Manifest) -> Training | None:
    """How long the training of a classifier took.

    Args:
        store: the artifact store.
        classifier: the manifest of a `classifier` artifact.

    Returns:
        Rows and seconds; None if they were never noted.

    Raises:
        CorruptArtifact: the record is damaged.
    """
    inputs = []
    for address in classifier.inputs:
        kind, _, digest = address.partition("/")
        inputs.append(Artifact(kind=kind, digest=digest, uri=""))
    made = classifier.producer
    path = _training_path(task_key(made.task, made.version, made.parameters, inputs))
    content = store.backend.read(path)
    return None if content is None else parse_record(Training, content, f"{store.root}/{path}")


def note_publication(store: Store, model: str, version: int, publication: Publication) -> None:
    """Write down which run published a version.

    Args:
        store: the artifact store.
        model: the model's name.
        version: its number.
        publication: the run.

    Raises:
        StoreUnavailable: the store could not be written to.
    """
    store.backend.write(_publication_path(model, version), seal(publication.model_dump(mode="json")))


def publications(store: Store, model: str, versions: Sequence[int]) -> dict[int, Publication]:
    """Which runs published versions.

    Args:
        store: the artifact store.
        model: the model's name.
        versions: their numbers.

    Returns:
        Number -> run; without those of which nothing was noted, or whose record is damaged.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    paths = [_publication_path(model, version) for version in versions]
    found: dict[int, Publication] = {}
    for version, path, content in zip(versions, paths, store.backend.read_all(paths), strict=True):
        with contextlib.suppress(CorruptArtifact):
            found[version] = parse_record(Publication, content, f"{store.root}/{path}")
    return found


def _success_path(model: str) -> str:
    return f"journal/runs/{model}.json"


def _publication_path(model: str, version: int) -> str:
    return f"journal/versions/{model}/{version}.json"


def _training_path(key: TaskKey) -> str:
    return f"journal/trainings/{key.digest}.json"
