"""Source: a folder on this machine that holds a SavedModel."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from hubtune.errors import SourceNotFound

# A SavedModel is these; what else may lie beside them (fingerprint.pb, notes, caches) is not loaded.
_FILES = "saved_model.pb"
_FOLDERS = ("variables", "assets")
_MARKS = ("saved_model.pb", "saved_model.pbtxt", "tfhub_module.pb")


def model_root(folder: Path) -> Path:
    """The folder in which the model's files lie: the given one, or the only folder inside it.

    Args:
        folder: what the recipe names, or what an archive was unpacked to.

    Returns:
        The folder that holds `saved_model.pb`; the given one where none does, for the inspection to describe.
    """
    if any((folder / mark).exists() for mark in _MARKS):
        return folder
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(inside) == 1 and inside[0].is_dir() and any((inside[0] / mark).exists() for mark in _MARKS):
        return inside[0]
    return folder


def copy_saved_model(source: Path, target: Path) -> None:
    """Copy a SavedModel, and nothing that lies beside it.

    Args:
        source: the folder that holds it.
        target: the folder to make.
    """
    for file in _saved_model_files(source):
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def fingerprint(folder: Path) -> dict[str, Any]:
    """What identifies the SavedModel in a folder: a hash over the names and contents of its files.

    Args:
        folder: the folder that holds it.

    Returns:
        The hash.

    Raises:
        SourceNotFound: the folder is empty.
    """
    listing = hashlib.sha256()
    # A folder without a SavedModel is refused later, by what it holds: then all of that counts.
    files = _saved_model_files(folder) or sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise SourceNotFound(
            "the model's folder is empty", where=str(folder), remedy="give a folder that holds a SavedModel"
        )
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        listing.update(f"{digest}  {file.relative_to(folder).as_posix()}\n".encode())
    return {"sha256": listing.hexdigest()}


def _saved_model_files(folder: Path) -> list[Path]:
    inside = [path for name in _FOLDERS for path in (folder / name).rglob("*")]
    return sorted(path for path in [folder / _FILES, *inside] if path.is_file())
