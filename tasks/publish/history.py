"""The versions of a model that are published, with their main figures: read from the store alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from hubtune.errors import CorruptArtifact, ModelNotFound
from hubtune.storage import Manifest, PublishedModel, VersionRecord
from schemas.handoff import SPLITS, Metrics, ReleaseFacts, Split

MOST = 30
"""As many of the latest versions are read, so that a run costs the same after years."""


@dataclass(frozen=True)
class Past:
    """A version that was published.

    `created` is the moment (UTC, ISO 8601), `test_rows` the hash of the rows that it was tested on; None where the
    store does not hold them any more.
    """

    version: int
    created: str
    labels: list[str]
    metrics: dict[Split, Metrics]
    test_rows: str | None

    @property
    def test(self) -> Metrics:
        """How good it is on its test split."""
        return self.metrics["test"]

    def tested_as(self, other: "Past") -> bool | None:
        """Whether it was tested on the same rows as another version; None where the store cannot tell any more."""
        if self.test_rows is None or other.test_rows is None:
            return None
        return self.test_rows == other.test_rows


@dataclass(frozen=True)
class History:
    """Versions, rising; the numbers of those whose figures cannot be read; the latest one; and how many there are."""

    versions: list[Past]
    left_out: list[int]
    latest: int
    published: int

    def of(self, version: int) -> Past | None:
        """A version; None if its figures cannot be read."""
        return next((past for past in self.versions if past.version == version), None)

    def before(self, version: int) -> Past | None:
        """The version before another one; None if there is none whose figures can be read."""
        return next((past for past in reversed(self.versions) if past.version < version), None)


def read_history(model: PublishedModel, version: int) -> History:
    """Read the figures of the latest versions, and of one that may be older, together with the one before it.

    In a bucket it takes the time of three requests, and of some more for each release that was removed from the store.

    Args:
        model: the model.
        version: the number of the one that may be older; it is published.

    Returns:
        Its history.

    Raises:
        StoreUnavailable: the store did not answer.
    """
    numbers = model.versions()
    wanted = sorted({*numbers[-MOST:], *[number for number in numbers if number <= version][-2:]})
    records = model.records(wanted)
    whole = [record for record in records.values() if record is not None]
    releases = model.store.manifests("release", [record.release for record in whole])
    rows = model.store.manifests("rows", [digest for record in whole if (digest := _rows(record))])
    versions = list(_read(model, whole, releases, rows))
    read = {past.version for past in versions}
    return History(versions, [number for number in wanted if number not in read], numbers[-1], len(numbers))


def _read(
    model: PublishedModel,
    records: list[VersionRecord],
    releases: dict[str, Manifest | None],
    rows: dict[str, Manifest | None],
) -> Iterator[Past]:
    for record in records:
        try:
            release = releases[record.release]
            facts = _facts(model, record) if release is None else ReleaseFacts.model_validate(release.facts)
        except (CorruptArtifact, ModelNotFound, ValidationError):
            continue
        if "test" in facts.metrics:
            tested_on = _file(rows.get(_rows(record) or ""), "test.parquet")
            yield Past(record.version, record.created, facts.labels, facts.metrics, tested_on)


def _facts(model: PublishedModel, record: VersionRecord) -> ReleaseFacts:
    """The facts of a release that was removed, from the version's own files."""
    folder = model.checkout(record.version, only=lambda path: path in ("metrics.json", "classifier.json"))
    try:
        evaluation = json.loads((folder / "metrics.json").read_bytes())["evaluation"]
        description = json.loads((folder / "classifier.json").read_bytes())
        metrics = {
            split: {name: evaluation[split][name] for name in Metrics.model_fields}
            for split in SPLITS
            if split in evaluation
        }
        facts = {name: description[name] for name in ("labels", "engine")}
    except (FileNotFoundError, ValueError, LookupError, TypeError) as error:
        raise CorruptArtifact(
            "the version does not say how good it is", where=str(folder), remedy="publish it again: hubtune retrain"
        ) from error
    return ReleaseFacts.model_validate(facts | {"name": model.name, "metrics": metrics})


def _rows(record: VersionRecord) -> str | None:
    found = (address.partition("/") for address in record.lineage)
    return next((digest for kind, _, digest in found if kind == "rows"), None)


def _file(manifest: Manifest | None, path: str) -> str | None:
    files = manifest.files if manifest is not None else []
    return next((file.sha256 for file in files if file.path == path), None)
