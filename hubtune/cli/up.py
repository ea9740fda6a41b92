"""`hubtune up` and `hubtune down`: all that unattended retraining needs, on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from hubtune.errors import HubtuneError, InvalidRecipe, StackFailed

# Nothing is reported to anyone. The newer UI asks a host for analytics when it is opened; the older one does not.
SERVER_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_METRICS_ENABLED": "true",
    # In memory they are lost when the server is started anew, which ends all runs of deployments with a limit.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}
_DETACHED_SECONDS = 600.0


def run_up(port: int, metrics_port: int, detach: bool) -> int:
    """Start everything, and keep it running until Ctrl-C.

    Args:
        port: where the server listens.
        metrics_port: where Prometheus is answered.
        detach: leave it running in the background, and come back when all of it is there.

    Returns:
        The exit status 0, once it was ended, or was up already.

    Raises:
        StackFailed: something did not start.
        InvalidRecipe: a port is taken, or HUBTUNE_AUTH is not `user:password`.
    """
    folder, environment = _folder(), _environment(port)
    _check_pipeline()
    from deployments.state import read_state

    if (state := read_state(folder)) is not None:
        print(f"It is up already: {state.url}. hubtune down ends it.")
        return 0
    if detach:
        return _detach(port, metrics_port, folder)
    # Before Prefect is imported, which reads them then.
    os.environ.update(environment)
    import httpx

    from deployments.stack import run_stack

    end_on_signals()
    console = Console()

    def show(line: str, markup: bool = True) -> None:
        # A terminal that is gone; into a pipe that is gone, Rich would end the program, and leave the parts running.
        with contextlib.suppress(OSError, SystemExit):
            console.print(line, markup=markup, highlight=markup, soft_wrap=True)

    def say(part: str, line: str) -> None:
        show(f"{part:<20} {line}", markup=False)

    def ready() -> None:
        show(f"[bold]All of it is up.[/bold] Open http://127.0.0.1:{port} in a browser; Ctrl-C stops it.")
        show(f"Runs of the command line show up there too with PREFECT_API_URL={environment['PREFECT_API_URL']}")

    try:
        run_stack(folder, port, metrics_port, environment, of_workers(environment), say, ready)
    except (httpx.HTTPError, OSError) as error:
        raise StackFailed(
            f"{type(error).__name__}: {error}", where=str(folder), remedy="see the logs there, then try again"
        ) from error
    except KeyboardInterrupt:
        show("All of it is stopped.")
    return 0


def run_down() -> int:
    """End what `run_up` started, from wherever that was.

    Returns:
        The exit status 0.

    Raises:
        StackFailed: it does not end.
    """
    _check_pipeline()
    from deployments.state import end_stack

    print("All of it is stopped." if end_stack(_folder()) else "Nothing was up.")
    return 0


def end_on_signals() -> None:
    """Let `kill`, and the end of the terminal, end this process as cleanly as Ctrl-C."""
    # A shell that starts it in the background has turned SIGINT off.
    endings = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        # Otherwise it is `nohup` that has turned it off, and means it.
        endings.append(signal.SIGHUP)
    for ending in endings:
        signal.signal(ending, signal.default_int_handler)


def _folder() -> Path:
    return Path.home() / ".hubtune" / "up"


def _environment(port: int) -> dict[str, str]:
    """What all parts run with."""
    environment = os.environ | SERVER_SETTINGS | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    store = environment.get("HUBTUNE_STORE")
    if store and "://" not in store:
        # Runs have a working directory of their own.
        environment["HUBTUNE_STORE"] = str(Path(store).expanduser().absolute())
    authorization = os.environ.get("HUBTUNE_AUTH")
    if authorization:
        if ":" not in authorization.strip(":") or not authorization.isascii():
            raise InvalidRecipe(
                "it is not of the form user:password, or not in ASCII",
                where="the environment variable HUBTUNE_AUTH",
                remedy="set it to user:password, or unset it",
            )
        # Prefect's names for it.
        environment |= {"PREFECT_SERVER_API_AUTH_STRING": authorization, "PREFECT_API_AUTH_STRING": authorization}
    return environment


def of_workers(environment: dict[str, str]) -> dict[str, str]:
    """What runs need of it. Prefect writes their environment to files: passwords of the server are no part of it.

    Args:
        environment: of the server.

    Returns:
        That of the workers.
    """
    not_theirs = ("PREFECT_SERVER_", "PREFECT_API_DATABASE_", "HUBTUNE_AUTH", "HUBTUNE_ALERTS")
    return {name: value for name, value in environment.items() if not name.upper().startswith(not_theirs)}


def _check_pipeline() -> None:
    try:
        import deployments.parts  # noqa: F401
    except ModuleNotFoundError as error:
        raise HubtuneError(
            f"the pipeline is not installed here: {error}",
            where="hubtune up",
            remedy="run it in a checkout of hubtune, after `make setup`; the wheel alone only predicts",
        ) from None


def _detach(port: int, metrics_port: int, folder: Path) -> int:
    from deployments.parts import program
    from deployments.state import read_state

    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    with log.open("w", encoding="utf-8") as file:
        keeper = subprocess.Popen(
            program("hubtune", "up", "--port", str(port), "--metrics-port", str(metrics_port)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _DETACHED_SECONDS
    try:
        while (state := read_state(folder)) is None or not state.ready:
            if keeper.poll() is not None or time.monotonic() > deadline:
                print(log.read_text(encoding="utf-8"), file=sys.stderr, end="")
                raise StackFailed("it does not come up", where=str(log), remedy="mend what the lines above say")
            time.sleep(0.3)
    except BaseException:
        # It ends all that it has started by then.
        keeper.terminate()
        raise
    print(log.read_text(encoding="utf-8"), end="")
    print("It runs in the background: hubtune down stops it.")
    return 0
