"""Published models: releases under a name and a number, in the layout that TensorFlow Serving polls."""

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hubtune.errors import CorruptArtifact, ModelNotFound, StoreUnavailable
from hubtune.storage.artifact import (
    MAKE_AGAIN,
    Artifact,
    FileEntry,
    Manifest,
    content_digest,
    parse_record,
    seal,
    unseal,
)
from hubtune.storage.files import MANIFEST, check_paths
from hubtune.storage.store import Store

KIND = "release"

# How many numbers others may take between our look at them and our own claim; more would be no coincidence.
_RIVALS = 100

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class VersionRecord(BaseModel):
    """What a published version is.

    `release` is the digest of the release artifact, `created` the moment (UTC, ISO 8601) at which the number was
    taken, `lineage` all artifacts (kind/digest) that the release was made from, nearest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    version: int
    release: str
    created: str
    lineage: list[str]


class _VersionManifest(VersionRecord):
    files: list[FileEntry]


class PublishedModel:
    """The versions of one model: `models/<name>/1/`, `models/<name>/2/`, ...

    A number is taken by creating `models/<name>/claims/<number>.json`, which only one publisher can do; the files are
    copied next, and the version's manifest, without which it is not visible, comes last. A publisher that was killed
    in between has left its claim: the next one with the same release completes that number, others pass over it.
    (TensorFlow Serving looks at folders with numeric names only, so the claims do not disturb it.)

    Args:
        store: the store that holds releases and models.
        name: the model's name.

    Raises:
        ModelNotFound: the name is none that a model can have.
    """

    def __init__(self, store: Store, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ModelNotFound(
                f"{name!r} cannot be the name of a model",
                where=store.root,
                remedy="names consist of small letters, digits and hyphens (at most 63)",
            )
        self.store, self.name = store, name
        self._backend = store.backend
        self._path = f"models/{name}"

    def versions(self) -> list[int]:
        """The numbers of the versions that are published, rising."""
        return sorted(int(child) for child in self._backend.committed(self._path) if _is_number(child))

    def latest(self) -> int:
        """The highest version.

        Returns:
            Its number.

        Raises:
            ModelNotFound: there is none; names the models that exist.
        """
        versions = self.versions()
        if not versions:
            raise self._not_found(f"no model {self.name!r} is published")
        return versions[-1]

    def find(self, release: Artifact, *, hashes: bool = True) -> int | None:
        """The version that holds a release.

        Args:
            release: a release artifact.
            hashes: hash the version's files, and not only compare their sizes.

        Returns:
            The number of the highest whole version with this content; None if there is none.
        """
        return self._find(release.digest, self.versions(), hashes=hashes)

    def publish(self, release: Artifact) -> int:
        """Make a release a version, unless it is one already.

        Args:
            release: a release artifact of this store.

        Returns:
            The number: of the version that holds this release already, else the next free one.

        Raises:
            CorruptArtifact: the release is not in the store, or damaged.
            StoreUnavailable: the store could not be written to.
        """
        assert release.kind == KIND, release.kind
        versions = self.versions()
        known = self._find(release.digest, versions)
        if known is not None:
            return known
        manifest = self.store.manifest(release)
        if not self.store.is_whole(release):
            raise CorruptArtifact("the release is damaged", where=release.uri, remedy=MAKE_AGAIN)
        claims = self._claims()
        for number, claim in claims.items():
            if claim and claim["release"] == release.digest:
                return self._complete(number, claim, manifest)
        first = max([0, *versions, *claims]) + 1
        for number in range(first, first + _RIVALS):
            claim = {
                "release": release.digest,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "nonce": secrets.token_hex(16),
            }
            path = self._claim_path(number)
            if self._backend.create(path, seal(claim)):
                return self._complete(number, claim, manifest)
            taken = unseal(self._backend.read(path))
            if taken is not None and taken["release"] == release.digest:
                return self._complete(number, taken, manifest)
        raise StoreUnavailable(
            f"no version number of {self.name!r} could be taken: {first} to {number} were taken meanwhile",
            where=f"{self.store.root}/{self._path}/claims",
            remedy="see who else publishes under this name, then run again",
        )

    def record(self, version: int) -> VersionRecord:
        """What a version is and where it came from.

        Args:
            version: its number.

        Returns:
            Its record.

        Raises:
            ModelNotFound: there is no such version; names those that exist.
            CorruptArtifact: its manifest is damaged.
        """
        return _record(self._manifest(version))

    def records(self, versions: Sequence[int]) -> dict[int, VersionRecord | None]:
        """What several versions are, read at once.

        Args:
            versions: their numbers.

        Returns:
            Number -> record, in their order; None for a version whose manifest is damaged or gone.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        paths = [f"{self._path}/{version}" for version in versions]
        contents = self._backend.read_all([f"{path}/{MANIFEST}" for path in paths])
        records: dict[int, VersionRecord | None] = {}
        for version, path, content in zip(versions, paths, contents, strict=True):
            try:
                records[version] = _record(self._parse(content, path))
            except CorruptArtifact:
                records[version] = None
        return records

    def was_made_from(self, version: int, artifact: Artifact) -> bool:
        """Whether a version's lineage names an artifact.

        Args:
            version: its number.
            artifact: what it may have been made from.

        Returns:
            Whether it does; False also if the version's manifest is damaged.

        Raises:
            ModelNotFound: there is no such version.
        """
        try:
            return f"{artifact.kind}/{artifact.digest}" in self.record(version).lineage
        except CorruptArtifact:
            return False

    def ancestor(self, version: int, kind: str) -> Artifact | None:
        """The nearest artifact of a kind that a version was made from.

        Args:
            version: its number.
            kind: the artifact's kind, e.g. "rows".

        Returns:
            The artifact; None if the lineage names none of this kind, if the nearest one is not whole in the store any
            more, or if the version's manifest is damaged (its next publication mends that).

        Raises:
            ModelNotFound: there is no such version.
        """
        try:
            lineage = self.record(version).lineage
        except CorruptArtifact:
            return None
        digests = [address.partition("/")[2] for address in lineage if address.partition("/")[0] == kind]
        return self.store.find(kind, digests[0]) if digests else None

    def checkout(self, version: int, only: Callable[[str], bool] | None = None) -> Path:
        """Give a local folder with a version's files, each verified by size and sha256.

        Args:
            version: its number.
            only: says for a path whether the file is needed; others are neither fetched nor verified. Default: all.

        Returns:
            The folder. It is shared: read it, do not write to it.

        Raises:
            ModelNotFound: there is no such version.
            CorruptArtifact: a file differs from what the version's manifest says.
            StoreUnavailable: the store did not answer.
        """
        manifest = self._manifest(version)
        files = [entry for entry in manifest.files if only is None or only(entry.path)]
        address = f"{KIND}/{manifest.release}"
        return self._backend.fetch(f"{self._path}/{version}", files, address, complete=only is None)

    def _find(self, digest: str, versions: list[int], *, hashes: bool = True) -> int | None:
        paths = [f"{self._path}/{version}" for version in reversed(versions)]
        for path, content in zip(paths, self._backend.read_all([f"{path}/{MANIFEST}" for path in paths]), strict=True):
            try:
                manifest = self._parse(content, path)
            except CorruptArtifact:
                continue
            if manifest.release == digest and self._backend.whole(path, manifest.files, hashes=hashes):
                return manifest.version
        return None

    def _claims(self) -> dict[int, dict[str, str] | None]:
        """Every number that was ever taken, rising; None for a claim that is damaged."""
        names = [child.removesuffix(".json") for child in self._backend.children(f"{self._path}/claims")]
        numbers = sorted(int(name) for name in names if _is_number(name))
        contents = self._backend.read_all([self._claim_path(number) for number in numbers])
        return {number: unseal(content) for number, content in zip(numbers, contents, strict=True)}

    def _complete(self, number: int, claim: dict[str, str], release: Manifest) -> int:
        manifest = _VersionManifest(
            version=number,
            release=release.digest,
            created=claim["created"],
            lineage=self._lineage(release),
            files=release.files,
        )
        source = f"artifacts/{release.kind}/{release.digest}"
        self._backend.copy(f"{self._path}/{number}", release.files, seal(manifest.model_dump(mode="json")), source)
        return number

    def _lineage(self, release: Manifest) -> list[str]:
        lineage = list(dict.fromkeys(release.inputs))
        for ancestor in lineage:  # grows while it is walked
            kind, _, digest = ancestor.partition("/")
            try:
                parents = self.store.manifest(Artifact(kind=kind, digest=digest, uri="")).inputs
            except CorruptArtifact:
                continue  # it was removed since; its address still says what it was
            lineage += [parent for parent in dict.fromkeys(parents) if parent not in lineage]
        return lineage

    def _manifest(self, version: int) -> _VersionManifest:
        path = f"{self._path}/{version}"
        content = self._backend.read(f"{path}/{MANIFEST}")
        if content is None:
            raise self._not_found(f"model {self.name!r} has no version {version}")
        return self._parse(content, path)

    def _parse(self, content: bytes | None, path: str) -> _VersionManifest:
        where = f"{self.store.root}/{path}"
        manifest = parse_record(_VersionManifest, content, f"{where}/{MANIFEST}")
        check_paths(manifest.files, where)
        if content_digest(KIND, manifest.files) != manifest.release:
            raise CorruptArtifact(
                f"the manifest lists other files than release {manifest.release}", where=where, remedy=MAKE_AGAIN
            )
        return manifest

    def _claim_path(self, number: int) -> str:
        return f"{self._path}/claims/{number}.json"

    def _not_found(self, what: str) -> ModelNotFound:
        versions = ", ".join(map(str, self.versions()))
        names = ", ".join(published_names(self.store)) or "none"
        found = f"versions of {self.name!r}: {versions}" if versions else f"published models: {names}"
        return ModelNotFound(
            f"{what}; {found}",
            where=self.store.root,
            remedy="name one that exists, set HUBTUNE_STORE to the store that has it, or publish one: hubtune retrain",
        )


def _record(manifest: _VersionManifest) -> VersionRecord:
    return VersionRecord(**manifest.model_dump(exclude={"files"}))


def published_names(store: Store) -> list[str]:
    """Names of the models that have at least one version, sorted.

    Args:
        store: the store to look in.

    Returns:
        The names.
    """
    return list(latest_versions(store))


def latest_versions(store: Store) -> dict[str, int]:
    """The highest version of each model that has at least one, sorted by name.

    Args:
        store: the store to look in.

    Returns:
        Name -> number.
    """
    names = [name for name in store.backend.children("models") if _NAME.fullmatch(name)]
    versions = {name: PublishedModel(store, name).versions() for name in names}
    return {name: numbers[-1] for name, numbers in versions.items() if numbers}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and not name.startswith("0")
