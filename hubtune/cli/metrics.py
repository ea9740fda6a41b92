"""`hubtune metrics`: what the store says of published models, for Prometheus."""

import signal
import sys
import threading

from hubtune.errors import HubtuneError
from hubtune.storage import Store


def run_metrics(root: str | None, host: str, port: int) -> int:
    """Answer Prometheus until Ctrl-C.

    Args:
        root: of the store; None: the one that HUBTUNE_STORE names, or else the default.
        host: the address to listen on.
        port: where to listen; 0 takes a free one.

    Returns:
        The exit status 0, once it was ended.

    Raises:
        HubtuneError: the pipeline is not installed.
        InvalidRecipe: the port is taken, or the store's address is none.
    """
    try:
        from deployments.metrics import serve
    except ModuleNotFoundError as error:
        raise HubtuneError(
            f"the pipeline is not installed here: {error}",
            where="hubtune metrics",
            remedy="run it in a checkout of hubtune, after `make setup`; the wheel alone only predicts",
        ) from None
    store = Store.open(root)
    # `kill` ends it as cleanly as Ctrl-C; and a shell that starts it in the background has turned SIGINT off.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        url = serve(store, host, port, lambda line: print(line, file=sys.stderr, flush=True))
        print(f"Figures of {store.root} are at {url}", "Ctrl-C ends it.", sep="\n", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
    return 0
