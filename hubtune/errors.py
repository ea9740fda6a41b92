"""The one family of errors.

Each error says what was wrong, where it came from and what to do about it. The class decides two things for whoever
catches it: whether trying the same work again can help (`retryable`), and with which status the command line ends
(`exit_status`: 1, a run failed; 2, the input was wrong and nothing was started).
"""

import errno
import os
from typing import ClassVar


class HubtuneError(Exception):
    """Base of every error that hubtune raises on purpose.

    Args:
        what: one sentence: what is wrong, with the value that is wrong.
        where: where that value came from: a recipe path, a file and row, an address, an artifact.
        remedy: what the reader can do now.
    """

    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        lines = [what]
        if where:
            lines.append(f"  where:  {where}")
        if remedy:
            lines.append(f"  remedy: {remedy}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost by Exception's own reduction; errors cross processes whole.
        return (_rebuild, (type(self), self.what, self.where, self.remedy))

    def to_json(self) -> dict[str, str]:
        """The error as plain JSON values, for crossing a process border without pickle."""
        return {"type": type(self).__name__, "what": self.what, "where": self.where, "remedy": self.remedy}


def _rebuild(kind: type[HubtuneError], what: str, where: str, remedy: str) -> HubtuneError:
    return kind(what, where=where, remedy=remedy)


class InvalidRecipe(HubtuneError):
    """A recipe holds an unknown field, a value out of range or an impossible combination. Nothing was started."""

    exit_status = 2


class ModelNotFound(HubtuneError):
    """No published model, or no such version of it, under the name that was asked for. Nothing was started."""

    exit_status = 2


class SourceNotFound(HubtuneError):
    """A file, folder or address that should hold a model or data does not exist."""


class SourceUnavailable(HubtuneError):
    """A hub, server or bucket did not answer, or broke off. Trying again can help."""

    retryable = True


class UnsafeDownload(HubtuneError):
    """A download is damaged, too large or could have been changed on its way, or would write where it must not."""


class UnsupportedModel(HubtuneError):
    """What arrived is a model of a kind that cannot be retrained here; the message says what was found."""


class InvalidData(HubtuneError):
    """The data as a whole cannot be used: a missing column, an unreadable file, a class without rows."""


class QuarantineLimitExceeded(InvalidData):
    """More rows went to quarantine than the recipe allows; the message holds the table of reasons."""


class DriftLimitExceeded(InvalidData):
    """The rows are further from those of the published version than the recipe allows; the message says how far."""


class TrainingFailed(HubtuneError):
    """Training could not produce a usable model, for instance because the loss is not a number."""


class ExportFailed(HubtuneError):
    """An exported file does not load, or answers differently from the model that was evaluated."""


class WorkerDied(HubtuneError):
    """A process that worked for a block ended without an answer (killed, out of memory). Trying again can help."""

    retryable = True


class ClusterUnavailable(HubtuneError):
    """The Dask cluster that HUBTUNE_DASK names did not answer. Trying again can help."""

    retryable = True


class CorruptArtifact(HubtuneError):
    """A stored file has another size or hash than its manifest says. It is never used."""

    retryable = True


class StoreUnavailable(HubtuneError):
    """The artifact store did not answer or refused. Trying again can help."""

    retryable = True


class DiskFull(HubtuneError):
    """A disk has no space left. What is in the store is whole: nothing that was half written is ever used."""


class ServerUnavailable(HubtuneError):
    """The Prefect server did not answer. Trying again can help."""

    retryable = True


class StackFailed(HubtuneError):
    """Server, workers or deployments on this machine do not start or do not end; the message holds what they said."""


class UnexpectedFailure(HubtuneError):
    """A block failed with an error that is not one of this family: a bug, a timeout."""


class NeedsTensorFlow(HubtuneError):
    """The published model is a SavedModel alone, and TensorFlow is not installed here."""


def disk_full(error: BaseException) -> DiskFull | None:
    """What an error of another family comes down to when a disk is full. Not every library keeps the system's number.

    Args:
        error: the error.

    Returns:
        The error to raise in its place; None where it is something else.
    """
    said = os.strerror(errno.ENOSPC)
    if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and said not in str(error):
        return None
    return DiskFull(
        f"a disk is full: {said}",
        where=str(getattr(error, "filename", None) or f"{type(error).__name__}: {str(error)[:300]}"),
        remedy="free space where the store, HUBTUNE_CACHE and TMPDIR lie, then press Retry or run again: what was "
        "finished before is kept",
    )


def from_json(error: dict[str, str]) -> HubtuneError:
    """Rebuild an error from `HubtuneError.to_json`.

    Args:
        error: the object that `to_json` gave.

    Returns:
        The error, of its own class; of `HubtuneError` where this version does not know the class.
    """
    kinds = {kind.__name__: kind for kind in _family(HubtuneError)}
    return kinds.get(error["type"], HubtuneError)(error["what"], where=error["where"], remedy=error["remedy"])


def _family(kind: type[HubtuneError]) -> list[type[HubtuneError]]:
    return [kind, *(relative for child in kind.__subclasses__() for relative in _family(child))]
