"""Fetches a pretrained model: from its handle to a `model` artifact's content."""

import tempfile
from pathlib import Path
from typing import Any

from hubtune.errors import SourceNotFound, UnsupportedModel
from hubtune.progress import Say
from schemas.handoff import ModelFacts
from schemas.recipe import ModelRecipe
from tasks import http
from tasks.download_model import archive, starter
from tasks.download_model import folder as local_folder
from tasks.download_model.hub import MODEL, archive_address
from tasks.download_model.known_preprocessors import preprocessor_of
from tasks.fresh_process import run_in_fresh_process
from tasks.http import shown

# Loading and probing takes seconds; a model of some GB on a slow disk takes minutes.
_INSPECTION_SECONDS = 900
_KINDS = "`starter`, an http(s) address, a folder or a tar.gz file"


def fetch(recipe: ModelRecipe, folder: Path, say: Say) -> ModelFacts:
    """Fetch the model, inspect what arrived, and lay it out as schemas/handoff.py says.

    Args:
        recipe: the handle of the model, and of the preprocessor where the recipe names one.
        folder: an empty folder that becomes the artifact's content.
        say: takes progress lines.

    Returns:
        What was found out about the model.

    Raises:
        SourceNotFound: nothing is at the handle.
        SourceUnavailable: a server did not answer, or broke off.
        UnsafeDownload: an archive is damaged or would write where it must not, or a server leads from https to http.
        UnsupportedModel: what arrived cannot be retrained here.
    """
    if recipe.source == starter.HANDLE:
        return starter.provide(folder, say)
    preprocessor = recipe.preprocessor or preprocessor_of(recipe.source)
    with tempfile.TemporaryDirectory(prefix=".arriving-", dir=folder) as scratch:
        arrived = {"model": _obtain(recipe.source, "model.source", Path(scratch, "model"), say)}
        if preprocessor:
            arrived["preprocessor"] = _obtain(preprocessor, "model.preprocessor", Path(scratch, "preprocessor"), say)
        say(f"Inspecting what arrived from {shown(recipe.source)}")
        facts = _inspect(arrived, recipe.source, preprocessor, folder / "tokenizer", say)
        if facts.interface == "text_embedding":
            local_folder.copy_saved_model(arrived["model"], folder / "module")
        else:
            local_folder.copy_saved_model(arrived["model"], folder / "encoder")
            local_folder.copy_saved_model(arrived["preprocessor"], folder / "preprocessor")
    return facts


def check_handles(recipe: ModelRecipe) -> None:
    """Find the mistakes in a recipe's handles that show without asking a server or reading a whole file.

    Args:
        recipe: as for `fetch`.

    Raises:
        SourceNotFound: there is no such file or folder, or it is neither.
        UnsafeDownload: a file is no tar archive.
        UnsupportedModel: a handle, or a file, is of a kind that is not known here.
    """
    for handle, field in ((recipe.source, "model.source"), (recipe.preprocessor, "model.preprocessor")):
        path = _local_path(handle, field) if handle and handle != starter.HANDLE else None
        if path and path.is_file():
            archive.check(path, f"{field}: {handle}")


def source_fingerprint(recipe: ModelRecipe, say: Say = lambda line: None) -> dict[str, Any]:
    """Find out which content is at the recipe's handles, without fetching it.

    Args:
        recipe: as for `fetch`.
        say: takes a line whenever a server has to be asked again.

    Returns:
        JSON values that change when the content changes: a hash of local files, what a server says of its file.
        A server that answers without saying anything gives None: then the handle alone identifies the model.

    Raises:
        SourceNotFound: nothing is at a handle.
        SourceUnavailable: a server did not answer.
        UnsafeDownload: a server leads from https to http.
        UnsupportedModel: a handle is of a kind that is not known here. No server is asked then.
    """
    if recipe.source == starter.HANDLE:
        return {"model": starter.fingerprint()}
    preprocessor = recipe.preprocessor or preprocessor_of(recipe.source)
    model_path = _local_path(recipe.source, "model.source")
    preprocessor_path = _local_path(preprocessor, "model.preprocessor") if preprocessor else None
    return {
        "model": _fingerprint(recipe.source, model_path, say),
        "preprocessor": _fingerprint(preprocessor, preprocessor_path, say) if preprocessor else None,
    }


def _obtain(handle: str, field: str, folder: Path, say: Say) -> Path:
    """The handle's content as a folder on disk."""
    path = _local_path(handle, field)
    if path is None:
        file = folder.with_suffix(".download")
        http.download(archive_address(handle), file, MODEL, say)
        archive.unpack(file, folder, shown(handle))
        file.unlink()
        return local_folder.model_root(folder)
    if path.is_dir():
        return local_folder.model_root(path)
    archive.unpack(path, folder, handle)
    return local_folder.model_root(folder)


def _fingerprint(handle: str, path: Path | None, say: Say) -> dict[str, Any] | None:
    if path is None:
        return http.fingerprint(archive_address(handle), MODEL, say)
    return local_folder.fingerprint(local_folder.model_root(path)) if path.is_dir() else archive.fingerprint(path)


def _local_path(handle: str, field: str) -> Path | None:
    """The file or folder that a handle names; None where it is an address."""
    if http.is_address(handle):
        return None
    if "://" in handle:
        scheme = handle.split("://")[0]
        raise UnsupportedModel(
            f"models cannot be fetched over {scheme}://", where=f"{field}: {shown(handle)}", remedy=f"give {_KINDS}"
        )
    try:
        path = Path(handle).expanduser()
        found = path.is_dir() or path.is_file()
        problem = "is neither a file nor a folder" if path.exists() and not found else "does not exist"
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that is closed, a user who is unknown
        found, problem = False, f"cannot be looked up ({getattr(error, 'strerror', None) or error})"
    if not found:
        raise SourceNotFound(
            f"{shown(handle)!r} {problem}", where=f"{field}, looked up in {Path.cwd()}", remedy=f"give {_KINDS}"
        )
    return path


def _inspect(arrived: dict[str, Path], source: str, preprocessor: str | None, tokenizer: Path, say: Say) -> ModelFacts:
    request = {
        "model": str(arrived["model"]),
        "source": shown(source),
        "preprocessor": str(arrived["preprocessor"]) if preprocessor else None,
        "preprocessor_source": shown(preprocessor) if preprocessor else None,
        "tokenizer": str(tokenizer),
    }
    module = "tasks.download_model.inspect_model"
    return ModelFacts.model_validate(run_in_fresh_process(module, request, say, timeout_seconds=_INSPECTION_SECONDS))
