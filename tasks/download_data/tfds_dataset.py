"""Data in a data set of TensorFlow Datasets that lies prepared in a folder, or is prepared there first."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtune.errors import InvalidData
from hubtune.progress import Say
from schemas.data_recipe import TFDS
from tasks.fresh_process import run_in_fresh_process

# Less than the task's own limit, so that the process is ended too.
_SECONDS = 3500
_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9_.-]+)?(:[0-9]+\.[0-9]+\.[0-9]+)?")
_INFO = "dataset_info.json"
# Data sets that a message names.
_LISTED = 20


@dataclass(frozen=True)
class TfdsSplit:
    """A split of a prepared data set; see `Place`.

    Args:
        folder: of the data set's version, which holds `dataset_info.json`.
        split: of the data set, or a part of one or several: "train", "train[:10%]", "train+validation".
        where: the field of the recipe and the handle, for messages.
    """

    folder: Path
    split: str
    where: str

    @property
    def address(self) -> str:
        """The folder and the split."""
        return f"{self.folder} ({self.split})"

    def fingerprint(self, say: Say) -> dict[str, Any]:
        """Its description, and size and time of change of each file; the files themselves may be large."""
        del say
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        listing = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
        digest = hashlib.sha256((self.folder / _INFO).read_bytes() + "\n".join(listing).encode())
        return {"sha256": digest.hexdigest(), "of": self.split}

    def fetch(self, folder: Path, say: Say) -> Path:
        """Convert it to a Parquet file, once: classes become their names."""
        file = folder / "tfds.parquet"
        request = {"folder": str(self.folder), "split": self.split, "file": str(file), "where": self.where}
        run_in_fresh_process("tasks.download_data.convert_tfds", request, say, timeout_seconds=_SECONDS)
        return file


def check(handle: str, data_dir: str | None, download: bool, where: str) -> None:
    """Find the mistakes that show without downloading anything.

    Args:
        handle: tfds:name[/configuration][:version].
        data_dir: as for `find`.
        download: as for `find`.
        where: the field of the recipe and the handle, for the message.

    Raises:
        InvalidData: the handle is none; or the data set is not there, and not to be downloaded.
    """
    name = handle.removeprefix(TFDS)
    if not _NAME.fullmatch(name):
        raise InvalidData(
            f"{handle!r} names no data set.",
            where=where,
            remedy="Write tfds:name, tfds:name/configuration or tfds:name/configuration:1.0.0.",
        )
    root = _root(data_dir)
    if not download and _prepared(root, name) is None:
        infos = [info for depth in ("*/*", "*/*/*") for info in root.glob(f"{depth}/{_INFO}")]
        there = sorted({info.parent.parent.relative_to(root).as_posix() for info in infos})[:_LISTED]
        raise InvalidData(
            f"The data set {name} is not prepared in {root}; there: {', '.join(there) or 'none'}.",
            where=where,
            remedy="Set data.data_dir to the folder where it is, or data.download to true.",
        )


def find(handle: str, split: str, data_dir: str | None, download: bool, where: str, say: Say) -> TfdsSplit:
    """The split that a handle names.

    Args:
        handle: tfds:name[/configuration][:version].
        split: of the data set.
        data_dir: where data sets lie; None: TFDS_DATA_DIR, else ~/tensorflow_datasets, as TensorFlow Datasets has it.
        download: whether one that is not there is downloaded and prepared.
        where: the field of the recipe and the handle, for messages.
        say: takes lines of progress.

    Returns:
        The split.

    Raises:
        InvalidData: it is not there, and not to be downloaded, or cannot be.
        SourceUnavailable: it could not be downloaded.
    """
    check(handle, data_dir, download, where)
    root, name = _root(data_dir), handle.removeprefix(TFDS)
    folder = _prepared(root, name)
    if folder is None:
        request = {"name": name, "root": str(root), "where": where}
        run_in_fresh_process("tasks.download_data.prepare_tfds", request, say, timeout_seconds=_SECONDS)
        folder = _prepared(root, name)
        assert folder is not None, f"{name} was prepared, and is not in {root}"
    return TfdsSplit(folder, split, where)


def _root(data_dir: str | None) -> Path:
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _prepared(root: Path, name: str) -> Path | None:
    """The folder of a data set's version, the newest unless one is named: name/[configuration/]version."""
    path, _, version = name.partition(":")
    versions = [
        (tuple(map(int, info.parent.name.split("."))), info.parent)
        for info in (root / path).glob(f"{version or '*'}/{_INFO}")
        if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", info.parent.name)
    ]
    return max(versions)[1] if versions else None
