"""The artifact store: what every block's result goes into, and comes out of verified."""

import contextlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hubtune.errors import CorruptArtifact, HubtuneError, InvalidRecipe
from hubtune.storage.artifact import (
    MAKE_AGAIN,
    Artifact,
    Manifest,
    Producer,
    TaskKey,
    content_digest,
    parse_record,
    seal,
)
from hubtune.storage.backend import Backend
from hubtune.storage.files import MANIFEST, check_paths, describe
from hubtune.storage.folder import Folder

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Store:
    """Artifacts under their content's address, and what tasks remember of them.

    Below the root: `artifacts/<kind>/<digest>/` (files, and `manifest.json`, which is written last),
    `memo/<task>/<key>.json` (a task's key -> its outputs), `collections/<name>/<digest>.json` (sets that grow),
    `models/<name>/<version>/` (see `PublishedModel`), `journal/` (see `hubtune.storage.journal`). Safe to use from many
    processes and machines at once.

    Args:
        backend: the place that it lies in; `Store.open` chooses it.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def root(self) -> str:
        """The store's address: an absolute folder, or gs://bucket/prefix."""
        return self.backend.address

    @classmethod
    def open(cls, root: str | None = None, cache: Path | None = None) -> "Store":
        """Open a store; nothing is written, and no network is used, before something is asked of it.

        Args:
            root: a folder or gs://bucket/prefix; default: HUBTUNE_STORE, else ~/.hubtune/store.
            cache: where a gs:// store mirrors what it reads; default: HUBTUNE_CACHE, else ~/.cache/hubtune.

        Returns:
            The store.

        Raises:
            InvalidRecipe: the root is an address of a kind that is not supported.
        """
        where = "the argument `root`" if root else "the environment variable HUBTUNE_STORE"
        root = root or os.environ.get("HUBTUNE_STORE") or "~/.hubtune/store"
        cache = cache or Path(os.environ.get("HUBTUNE_CACHE") or "~/.cache/hubtune")
        scheme, _, rest = root.partition("://")
        if not rest and "://" not in root:
            return cls(Folder(Path(root).expanduser().absolute()))
        if scheme != "gs" or not rest.strip("/"):
            raise InvalidRecipe(
                f"{root!r} is no address of a store", where=where, remedy="give a folder, or gs://bucket/prefix"
            )
        from hubtune.storage.bucket import Bucket

        return cls(Bucket(root.rstrip("/"), cache.expanduser().absolute()))

    def check(self) -> None:
        """See that the place is there: a disk that is not mounted otherwise looks like a store with nothing in it.

        Raises:
            StoreUnavailable: there is no such folder or bucket, or it does not answer.
        """
        self.backend.check()

    def put(
        self, kind: str, folder: Path, *, producer: Producer, inputs: Sequence[Artifact] = (), facts: BaseModel
    ) -> Artifact:
        """Store a folder as an artifact. If an equal one is there and whole, that one is kept and returned.

        Args:
            kind: the artifact's kind, e.g. "rows".
            folder: its content; symbolic links are refused, empty folders are left out.
            producer: which task made it, from which parameters.
            inputs: the artifacts that it was made from.
            facts: the few values that travel with it.

        Returns:
            The artifact, with the facts of the one that is kept.

        Raises:
            HubtuneError: the folder holds nothing, or something that cannot be stored.
            StoreUnavailable: the store could not be written to.
        """
        entries = describe(folder)
        digest = content_digest(kind, entries)
        manifest = Manifest(
            kind=kind,
            digest=digest,
            files=entries,
            facts=facts.model_dump(mode="json"),
            producer=producer,
            inputs=[f"{artifact.kind}/{artifact.digest}" for artifact in inputs],
        )
        self.backend.commit(_artifact_path(kind, digest), entries, seal(manifest.model_dump(mode="json")), folder)
        return self._artifact(self._manifest(kind, digest))

    def checkout(self, artifact: Artifact, *, only: Callable[[str], bool] | None = None) -> Path:
        """Give a local folder with the artifact's files, each verified by size and sha256.

        Args:
            artifact: what is wanted.
            only: which of its files are needed, by their paths; None: all of them.

        Returns:
            The folder. It is shared: read it, do not write to it.

        Raises:
            CorruptArtifact: the artifact is not in the store, or a file differs from what the manifest says.
            StoreUnavailable: the store did not answer.
        """
        manifest = self.manifest(artifact)
        path = _artifact_path(artifact.kind, artifact.digest)
        files = [file for file in manifest.files if only is None or only(file.path)]
        return self.backend.fetch(path, files, f"{artifact.kind}/{artifact.digest}", complete=only is None)

    def discard(self, artifact: Artifact) -> None:
        """Remove an artifact that nothing else was made from: a checkpoint, once a later one is there.

        Args:
            artifact: what is not needed any more; it may be gone already.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        self.backend.remove(_artifact_path(artifact.kind, artifact.digest))

    def is_whole(self, artifact: Artifact) -> bool:
        """Whether an artifact is in the store with every file as its manifest says.

        A folder's files are hashed; of a bucket's, the hashes that Cloud Storage keeps are compared.
        """
        return self.find(artifact.kind, artifact.digest) is not None

    def find(self, kind: str, digest: str, *, hashes: bool = True) -> Artifact | None:
        """Look up an artifact by its address.

        Args:
            kind: its kind.
            digest: its digest.
            hashes: whether its files are compared by hash; otherwise by name and size.

        Returns:
            The artifact with its facts; None if it is not whole in the store (see `is_whole`).
        """
        try:
            manifest = self._manifest(kind, digest)
        except CorruptArtifact:
            return None
        if not self.backend.whole(_artifact_path(kind, digest), manifest.files, hashes=hashes):
            return None
        return self._artifact(manifest)

    def manifest(self, artifact: Artifact) -> Manifest:
        """Read what an artifact consists of and where it came from.

        Args:
            artifact: what is asked about.

        Returns:
            Its manifest, whose listing hashes to the artifact's digest.

        Raises:
            CorruptArtifact: there is none, or it is damaged.
        """
        return self._manifest(artifact.kind, artifact.digest)

    def manifests(self, kind: str, digests: Sequence[str]) -> dict[str, Manifest | None]:
        """Read what several artifacts consist of at once.

        Args:
            kind: their kind.
            digests: their digests.

        Returns:
            Digest -> manifest; None for an artifact that is not in the store, or whose manifest is damaged.

        Raises:
            StoreUnavailable: the store did not answer.
        """
        distinct = list(dict.fromkeys(digests))
        contents = self.backend.read_all([f"{_artifact_path(kind, digest)}/{MANIFEST}" for digest in distinct])
        manifests: dict[str, Manifest | None] = {}
        for digest, content in zip(distinct, contents, strict=True):
            try:
                manifests[digest] = self._parsed(kind, digest, content)
            except CorruptArtifact:
                manifests[digest] = None
        return manifests

    def recall(self, key: TaskKey) -> dict[str, Artifact] | None:
        """Look up what a task gave when it last ran under this key.

        Args:
            key: the task's key.

        Returns:
            Its outputs by name, every one of them whole; None if the key is unknown or an output is not whole.
        """
        path = _memo_path(key)
        content = self.backend.read(path)
        if content is None:
            return None
        try:
            memo = parse_record(_Memo, content, f"{self.root}/{path}")
        except CorruptArtifact as error:
            _log.warning("%s: %s runs again", error, key.task)
            return None
        outputs: dict[str, Artifact] = {}
        for name, output in memo.outputs.items():
            artifact = self.find(output.kind, output.digest)
            if artifact is None:
                lost = f"{output.kind}/{output.digest}"
                _log.warning("artifact %s is missing or damaged in %s: %s runs again", lost, self.root, key.task)
                return None
            outputs[name] = artifact
        return outputs

    def remembers(self, key: TaskKey) -> bool:
        """Whether anything was recorded under a key, be it whole or not.

        Args:
            key: the task's key.

        Returns:
            False if `remember` was never called for it.
        """
        return self.backend.read(_memo_path(key)) is not None

    def remember(self, key: TaskKey, outputs: Mapping[str, Artifact]) -> None:
        """Record what a task gave under its key, replacing what was known before.

        Args:
            key: the task's key.
            outputs: artifacts of this store by name.
        """
        memo = _Memo(outputs={name: _address(artifact) for name, artifact in outputs.items()})
        self.backend.write(_memo_path(key), seal(memo.model_dump(mode="json")))

    def append(self, collection: str, artifact: Artifact) -> None:
        """Add an artifact to a collection: a set that only grows, and that many may add to at once.

        Args:
            collection: its name, e.g. "embeddings/<key>"; it exists from its first member on.
            artifact: an artifact of this store.
        """
        path = f"collections/{_name(collection)}/{_digest(artifact.digest)}.json"
        self.backend.write(path, seal(_address(artifact).model_dump(mode="json")))

    def collection(self, name: str) -> list[Artifact]:
        """The members of a collection, ordered by digest. Members that are not whole are left out.

        Args:
            name: the collection's name.

        Returns:
            The members; none if the collection does not exist. Their hashes are verified on checkout.
        """
        path = f"collections/{_name(name)}"
        files = [child for child in self.backend.children(path) if child.endswith(".json")]
        if not files:
            return []
        from concurrent.futures import ThreadPoolExecutor

        def look_up(file: str) -> Artifact | None:
            try:
                member = parse_record(_Address, self.backend.read(f"{path}/{file}"), f"{self.root}/{path}/{file}")
            except CorruptArtifact:
                return None
            return self.find(member.kind, member.digest, hashes=False)

        members = []
        with ThreadPoolExecutor(max_workers=8) as threads:  # a bucket takes three round trips for each
            found = list(threads.map(look_up, files))
        for file, member in zip(files, found, strict=True):
            if member is None:
                _log.warning("%s/%s/%s is damaged, or its artifact is, and is left out", self.root, path, file)
            else:
                members.append(member)
        return members

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on local disk to build an artifact in, removed at the end.

        What killed processes left is removed first: each folder's owner holds a lock, which dies with it.
        """
        from filelock import FileLock

        parent = self.backend.scratch
        parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(parent)
        folder = parent / secrets.token_hex(8)
        lock = folder.with_suffix(".lock")
        with FileLock(lock):
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
                lock.unlink(missing_ok=True)

    def _manifest(self, kind: str, digest: str) -> Manifest:
        return self._parsed(kind, digest, self.backend.read(f"{_artifact_path(kind, digest)}/{MANIFEST}"))

    def _parsed(self, kind: str, digest: str, content: bytes | None) -> Manifest:
        where = f"{self.root}/{_artifact_path(kind, digest)}"
        if content is None:
            raise CorruptArtifact(f"artifact {kind}/{digest} is not in the store", where=where, remedy=MAKE_AGAIN)
        manifest = parse_record(Manifest, content, f"{where}/{MANIFEST}")
        check_paths(manifest.files, where)
        if (manifest.kind, manifest.digest, content_digest(kind, manifest.files)) != (kind, digest, digest):
            raise CorruptArtifact(
                f"the manifest belongs to other content than {kind}/{digest}", where=where, remedy=MAKE_AGAIN
            )
        return manifest

    def _artifact(self, manifest: Manifest) -> Artifact:
        uri = f"{self.root}/{_artifact_path(manifest.kind, manifest.digest)}"
        return Artifact(kind=manifest.kind, digest=manifest.digest, uri=uri, facts=manifest.facts)


class _Address(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    kind: str
    digest: str


class _Memo(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    outputs: dict[str, _Address]


def _address(artifact: Artifact) -> _Address:
    return _Address(kind=artifact.kind, digest=artifact.digest)


def _remove_abandoned(parent: Path) -> None:
    from filelock import FileLock, Timeout

    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        lock = folder.with_suffix(".lock")
        with contextlib.suppress(Timeout), FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _artifact_path(kind: str, digest: str) -> str:
    return f"artifacts/{_name(kind)}/{_digest(digest)}"


def _memo_path(key: TaskKey) -> str:
    return f"memo/{_name(key.task)}/{_digest(key.digest)}.json"


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise HubtuneError(
            f"{name!r} cannot name anything in the store",
            remedy="use letters, digits, dots, hyphens and underscores, and / between parts",
        )
    return name


def _digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise CorruptArtifact(f"{digest!r} is no digest: 64 hexadecimal digits", remedy=MAKE_AGAIN)
    return digest
