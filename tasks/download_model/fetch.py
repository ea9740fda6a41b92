"""Fetches a pretrained model: from its handle to a `model` artifact's content."""

import tempfile
from pathlib import Path
from typing import Any

from hubtune.errors import SourceNotFound
from hubtune.progress import Say
from schemas.handoff import ModelFacts
from schemas.recipe import ModelRecipe
from tasks.download_model import archive, http, starter
from tasks.download_model import folder as local_folder
from tasks.download_model.known_preprocessors import preprocessor_of
from tasks.fresh_process import run_in_fresh_process

# Loading and probing takes seconds; a model of some GB on a slow disk takes minutes.
_INSPECTION_SECONDS = 900


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
        UnsafeArchive: an archive is damaged or would write where it must not.
        UnsupportedModel: what arrived cannot be retrained here.
    """
    if recipe.source == starter.HANDLE:
        return starter.provide(folder, say)
    preprocessor = recipe.preprocessor or preprocessor_of(recipe.source)
    with tempfile.TemporaryDirectory(prefix=".arriving-", dir=folder) as scratch:
        arrived = {"model": _obtain(recipe.source, "model.source", Path(scratch, "model"), say)}
        if preprocessor:
            arrived["preprocessor"] = _obtain(preprocessor, "model.preprocessor", Path(scratch, "preprocessor"), say)
        say(f"Inspecting what arrived from {recipe.source}")
        facts = _inspect(arrived, recipe.source, preprocessor, folder / "tokenizer", say)
        if facts.interface == "text_embedding":
            local_folder.copy_saved_model(arrived["model"], folder / "module")
        else:
            local_folder.copy_saved_model(arrived["model"], folder / "encoder")
            local_folder.copy_saved_model(arrived["preprocessor"], folder / "preprocessor")
    return facts


def source_fingerprint(recipe: ModelRecipe) -> dict[str, Any]:
    """Find out which content is at the recipe's handles, without fetching it.

    Args:
        recipe: as for `fetch`.

    Returns:
        JSON values that change when the content changes: a hash of local files, what a server says of its file.
        A server that says nothing, or does not answer, gives None: then the handle alone identifies the model.

    Raises:
        SourceNotFound: a local source does not exist.
    """
    if recipe.source == starter.HANDLE:
        return {"model": starter.fingerprint()}
    preprocessor = recipe.preprocessor or preprocessor_of(recipe.source)
    return {
        "model": _fingerprint(recipe.source, "model.source"),
        "preprocessor": _fingerprint(preprocessor, "model.preprocessor") if preprocessor else None,
    }


def _obtain(handle: str, field: str, folder: Path, say: Say) -> Path:
    """The handle's content as a folder on disk."""
    if http.is_address(handle):
        file = folder.with_suffix(".download")
        http.download(handle, file, say)
        archive.unpack(file, folder, handle)
        file.unlink()
        return local_folder.model_root(folder)
    path = _local_path(handle, field)
    if path.is_dir():
        return local_folder.model_root(path)
    archive.unpack(path, folder, handle)
    return local_folder.model_root(folder)


def _fingerprint(handle: str, field: str) -> dict[str, Any] | None:
    if http.is_address(handle):
        return http.fingerprint(handle)
    path = _local_path(handle, field)
    return local_folder.fingerprint(local_folder.model_root(path)) if path.is_dir() else archive.fingerprint(path)


def _local_path(handle: str, field: str) -> Path:
    kinds = "`starter`, an http(s) address, a folder or a tar.gz file"
    if "://" in handle:
        scheme = handle.split("://")[0]
        raise SourceNotFound(
            f"models cannot be fetched over {scheme}://", where=f"{field}: {handle}", remedy=f"give {kinds}"
        )
    path = Path(handle).expanduser()
    if not path.exists():
        raise SourceNotFound(
            f"there is no file or folder {handle!r}",
            where=f"{field}, looked up in {Path.cwd()}",
            remedy=f"give {kinds}",
        )
    return path


def _inspect(arrived: dict[str, Path], source: str, preprocessor: str | None, tokenizer: Path, say: Say) -> ModelFacts:
    request = {
        "model": str(arrived["model"]),
        "source": source,
        "preprocessor": str(arrived["preprocessor"]) if preprocessor else None,
        "preprocessor_source": preprocessor,
        "tokenizer": str(tokenizer),
    }
    module = "tasks.download_model.inspect_model"
    return ModelFacts.model_validate(run_in_fresh_process(module, request, say, timeout_seconds=_INSPECTION_SECONDS))
