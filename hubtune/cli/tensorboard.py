"""`hubtune tensorboard`: the logs of one training, or of all versions of a model, from the store to a browser."""

import re
import signal
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from hubtune.errors import CorruptArtifact, HubtuneError, InvalidRecipe, ModelNotFound
from hubtune.storage import Artifact, PublishedModel, Store

_KIND = "tensorboard"
_ADDRESS = re.compile(r"(?:.*/)?(?P<kind>[a-z]+)/(?P<digest>[0-9a-f]{64})/?|(?P<bare>[0-9a-f]{64})")


def run_tensorboard(run: str, port: int) -> int:
    """Serve TensorBoard on this machine's loopback address until Ctrl-C.

    Args:
        run: a model's name (all its versions side by side), `name/version`, or a tensorboard artifact's address or
            digest.
        port: where to listen; 0 takes a free one.

    Returns:
        The exit status 0, once it was ended.

    Raises:
        HubtuneError: TensorBoard is not installed.
        ModelNotFound: no such model or version, or no logs of it.
        CorruptArtifact: the logs are not in the store, or damaged.
        InvalidRecipe: the port is taken.
    """
    if find_spec("tensorboard") is None:
        raise HubtuneError(
            "TensorBoard is not installed here",
            where="hubtune tensorboard",
            remedy="install it (pip install tensorboard), or run this in a checkout of hubtune, after `make setup`",
        )
    store = Store.open()
    logs = _logs(store, run)
    # TensorBoard shows every folder below one as a run.
    with tempfile.TemporaryDirectory(prefix="hubtune-tensorboard-") as folder:
        for name, artifact in logs.items():
            link = Path(folder) / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(store.checkout(artifact), target_is_directory=True)
        # `kill` ends it as cleanly as Ctrl-C; and a shell that starts it in the background has turned SIGINT off.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        try:
            print(
                f"TensorBoard shows {', '.join(logs)} at {_start(folder, port)}",
                "Ctrl-C ends it.",
                sep="\n",
                flush=True,
            )
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return 0


def _logs(store: Store, run: str) -> dict[str, Artifact]:
    """The tensorboard artifacts that are meant, by the name under which they are shown."""
    address = _ADDRESS.fullmatch(run)
    if address:
        if address["kind"] not in (None, _KIND):
            raise _not_found(store, f"{run!r} is the address of a {address['kind']}")
        digest = address["digest"] or address["bare"]
        return {f"{_KIND}/{digest[:12]}": _artifact(digest)}
    name, slash, number = run.partition("/")
    published = PublishedModel(store, name)
    published.latest()  # raises where there is none, naming the models that exist
    if slash:
        if not number.isdecimal():
            raise _not_found(store, f"{run!r} is neither a model, nor NAME/VERSION, nor the address of an artifact")
        return {f"{name}/{int(number)}": _of_version(published, int(number))}
    logs: dict[str, Artifact] = {}
    for version in published.versions():
        try:
            logs[f"{name}/{version}"] = _of_version(published, version)
        except (ModelNotFound, CorruptArtifact) as error:
            print(f"left out: {error.what}", file=sys.stderr)
    if not logs:
        raise _not_found(store, f"no version of {name!r} has TensorBoard logs")
    return logs


def _of_version(published: PublishedModel, version: int) -> Artifact:
    # Publishing names the logs among what the release came from.
    for origin in published.record(version).lineage:
        kind, _, digest = origin.partition("/")
        if kind == _KIND:
            return _artifact(digest)
    raise _not_found(published.store, f"version {version} of {published.name!r} has no TensorBoard logs")


def _artifact(digest: str) -> Artifact:
    return Artifact(kind=_KIND, digest=digest, uri="")


def _not_found(store: Store, what: str) -> ModelNotFound:
    remedy = (
        "give NAME, NAME/VERSION (see hubtune models), or the address of a tensorboard artifact, which `hubtune "
        "retrain` prints; versions that were published before logs were kept have none"
    )
    return ModelNotFound(what, where=store.root, remedy=remedy)


def _start(folder: str, port: int) -> str:
    """Start the server in a thread of this process.

    Returns:
        Its address.
    """
    # TensorBoard's own way to say that it shall not import TensorFlow: that takes 5 s, and local files need none.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    from tensorboard.program import TensorBoard, TensorBoardServerException

    board = TensorBoard()
    # The logs do not change, so they are read once; in this process, which then leaves nothing behind when it ends.
    board.configure(logdir=folder, host="127.0.0.1", port=port, reload_interval=0, load_fast="false")
    try:
        url: str = board.launch()
    except TensorBoardServerException as error:
        raise InvalidRecipe(
            f"TensorBoard cannot listen on port {port}: {error.msg.strip()}",
            where="--port",
            remedy="end what listens there, or name another port; 0 takes a free one",
        ) from None
    return url
