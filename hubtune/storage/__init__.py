"""The artifact store: content-addressed, verified on reading, on a disk or in a bucket."""

from hubtune.storage.artifact import Artifact, Manifest, Producer, TaskKey, task_key
from hubtune.storage.published import PublishedModel, VersionRecord, latest_versions, published_names
from hubtune.storage.store import Store

__all__ = [
    "Artifact",
    "Manifest",
    "Producer",
    "PublishedModel",
    "Store",
    "TaskKey",
    "VersionRecord",
    "latest_versions",
    "published_names",
    "task_key",
]
