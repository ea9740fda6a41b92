"""Everything that hubtune needs to run unattended, on this machine: server, pools, deployments, metrics, workers.

Started in this order, and stopped in the reverse one. What is at work when it is stopped is taken up again by the
workers of the next start; what was finished by then is in the store.
"""

import signal
import socket
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import yaml
from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH
from prefect.settings import PREFECT_LOGGING_SETTINGS_PATH, get_current_settings

from deployments.alerts import NAMES, alerts
from deployments.automations import ensure_automations, remove_automations, zombies
from deployments.content_policy import keep_to_themselves
from deployments.database import is_shared
from deployments.interrupted import announce_stop, at_work, left_behind, take_up
from deployments.parts import Part, Say, end_all, program, runs_at
from deployments.register import CHECKOUT, register
from deployments.state import end_leftovers, forget, write_state
from deployments.watch import Watch, answers, beats, tend
from hubtune.errors import InvalidRecipe, StackFailed

# How many runs at once: one training, since an accelerator is not shared.
POOLS: dict[str, int | None] = {"default": None, "accelerator": 1}

# A first start makes the database, which took half a minute on a slow machine.
_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.5


def run_stack(
    folder: Path,
    port: int,
    metrics_port: int,
    environment: dict[str, str],
    of_workers: dict[str, str],
    say: Say,
    ready: Callable[[], None],
) -> None:
    """Start everything, and keep it running until KeyboardInterrupt.

    Args:
        folder: of logs, and of what tells other processes that all this is up.
        port: where the server listens, on the loopback address.
        metrics_port: where Prometheus is answered, on the loopback address.
        environment: of the server; Prefect's settings in it are those of this process too.
        of_workers: the environment of the workers, and so of all runs; and of what answers Prometheus.
        say: takes a line for each part when it is there, and whatever happens to it later.
        ready: called when all of it is there.

    Raises:
        StackFailed: something did not start, or all this is up already.
        InvalidRecipe: something else listens on a port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # Whoever only looks whether it is up holds the lock for a moment.
        lock = FileLock(folder / "lock").acquire(timeout=2)
    except Timeout:
        raise StackFailed("it is up already", where=str(folder), remedy="hubtune down ends it") from None
    with lock:
        end_leftovers(folder)
        _check_port(port, "--port")
        _check_port(metrics_port, "--metrics-port")
        url = f"http://127.0.0.1:{port}"
        listening = ["--host", "127.0.0.1", "--port", str(port)]
        ui, pages = get_current_settings().server.ui, folder / "pages"
        of_server = environment | {
            "PREFECT_LOGGING_SETTINGS_PATH": str(write_logging(folder)),
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(pages),
        }
        server = Part("server", program("prefect", "server", "start", *listening), of_server, CHECKOUT, folder)
        serving = program("hubtune", "metrics", "--port", str(metrics_port))
        metrics = Part("metrics", serving, of_workers, CHECKOUT, folder)
        workers = {
            pool: Part(
                f"worker {pool}",
                program("prefect", "worker", "start", "--pool", pool, "--name", _worker_name(pool)),
                of_workers,
                CHECKOUT,
                folder,
            )
            for pool in POOLS
        }
        parts = [server, metrics, *workers.values()]
        shared = is_shared(CHECKOUT)
        with get_client(sync_client=True) as client:
            try:
                server.start()
                write_state(folder, url, parts, ready=False)
                _wait_for(lambda: client.api_healthcheck() is None, server)
                if ui.enabled:
                    keep_to_themselves(pages, ui.api_url or url)
                say("server", f"answers at {url}")
                # Whoever kept all this up before may have been killed, with all that was at work.
                interrupted = left_behind(client, POOLS, shared=shared) | (set() if shared else at_work(client, POOLS))
                take_up(client, interrupted, say, _STOP_SECONDS)
                make_pools(client)
                say("work pools", ", ".join(POOLS))
                say("deployments", ", ".join(register(client, folder, environment)))
                say("automations", ", ".join(automate(client, environment.get("HUBTUNE_ALERTS"), shared=shared)))
                metrics.start()
                write_state(folder, url, parts, ready=False)
                _wait_for(partial(_is_answered, metrics_port), metrics)
                say("metrics", f"for Prometheus at http://127.0.0.1:{metrics_port}/metrics and {url}/api/metrics")
                for worker in workers.values():
                    worker.start()
                    write_state(folder, url, parts, ready=False)
                for pool, worker in workers.items():
                    _wait_for(partial(_is_online, client, pool, worker.since), worker)
                    say(worker.name, "waits for runs")
                write_state(folder, url, parts, ready=True)
                ready()
                api, authorization = f"{url}/api", environment.get("HUBTUNE_AUTH")
                watches = [
                    Watch(server, partial(answers, f"{api}/health"), _START_SECONDS),
                    # It reads the store for any other address.
                    Watch(metrics, partial(answers, f"http://127.0.0.1:{metrics_port}/favicon.ico"), _START_SECONDS),
                    *(
                        Watch(worker, partial(beats, api, pool, _worker_name(pool), authorization), _START_SECONDS)
                        for pool, worker in workers.items()
                    ),
                ]
                tend(watches, lambda: write_state(folder, url, parts, ready=True), say)
            finally:
                for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(ending, signal.SIG_IGN)
                stop_all(client, url, server, metrics, list(workers.values()), say, shared=shared)
                forget(folder)


def write_logging(folder: Path) -> Path:
    """Write down Prefect's settings of logging, or those of this machine, and that no secret is logged.

    Args:
        folder: where the file will lie.

    Returns:
        The file.

    Raises:
        StackFailed: those of this machine cannot be read.
    """
    theirs = PREFECT_LOGGING_SETTINGS_PATH.value()
    read = theirs if theirs.exists() else DEFAULT_LOGGING_SETTINGS_PATH
    try:
        settings = yaml.safe_load(read.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _bad_logging(read, f"cannot be read: {error}") from None
    if not isinstance(settings, dict):
        raise _bad_logging(read, "hold no keys")
    settings["filters"] = (settings.get("filters") or {}) | {"hubtune": {"()": "deployments.redact.Redact"}}
    for handler in (settings.get("handlers") or {}).values():
        handler["filters"] = [*(handler.get("filters") or ()), "hubtune"]
    written = folder / "logging.yml"
    written.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return written


def _bad_logging(path: Path, what: str) -> StackFailed:
    return StackFailed(
        f"Prefect's settings of logging {what}",
        where=str(path),
        remedy="mend the file, or unset PREFECT_LOGGING_SETTINGS_PATH",
    )


def _check_port(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidRecipe(
                f"port {port} cannot be listened on: {error.strerror}",
                where=option,
                remedy="end what listens there, or name another port",
            ) from None


def _is_answered(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _worker_name(pool: str) -> str:
    return f"hubtune {pool} on {socket.gethostname()}"


def _wait_for(there: Callable[[], bool], part: Part) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not there():
        if not part.runs or time.monotonic() > deadline:
            how = "ended" if not part.runs else f"was not ready after {_START_SECONDS:.0f} s"
            raise StackFailed(
                f"{part.name} {how}; the end of its log:\n{part.last_lines()}",
                where=str(part.log),
                remedy="mend what the log says, then run hubtune up again",
            )
        time.sleep(_POLL_SECONDS)


def make_pools(client: SyncPrefectClient) -> None:
    """Make the work pools that are not there; the others are left as somebody may have changed them.

    Args:
        client: of the server.
    """
    for name, limit in POOLS.items():
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type="process", concurrency_limit=limit))


def automate(client: SyncPrefectClient, target: str | None, *, shared: bool) -> list[str]:
    """Make the automations, or make them what they should be.

    Args:
        client: of the server.
        target: where messages go; None for none.
        shared: whether others use the database: their messages stay.

    Returns:
        Names of those that are there now.
    """
    if not target and not shared:
        remove_automations(client, NAMES)
    return ensure_automations(client, [zombies(), *(alerts(client, target) if target else ())])


def _is_online(client: SyncPrefectClient, pool: str, since: datetime) -> bool:
    ours = [each for each in client.read_workers_for_work_pool(pool) if each.name == _worker_name(pool)]
    # The worker of the last start had the same name.
    return any(each.last_heartbeat_time is not None and each.last_heartbeat_time > since for each in ours)


def stop_all(
    client: SyncPrefectClient, url: str, server: Part, metrics: Part, workers: list[Part], say: Say, *, shared: bool
) -> None:
    """Stop everything: a server that does not answer is no reason to leave its workers running.

    Args:
        client: of the server.
        url: of the server.
        server: it is stopped last.
        metrics: what answers Prometheus.
        workers: whether they run or not; the runs of one that was killed are ended too.
        say: takes a line for each part, and for each run that goes on later.
        shared: whether others use the database: then only runs with a process on this machine go on.
    """
    api = f"{url}/api"
    interrupted = set(runs_at(api))

    def there() -> bool:
        # Prefect's client would ask for minutes.
        return server.runs and answers(f"{api}/health") is not None

    try:
        if there():
            # Of runs that have no process yet the server alone knows.
            interrupted |= set() if shared else at_work(client, POOLS)
            announce_stop(client, interrupted)
    except Exception as error:
        say("server", f"does not answer: {error}")
    for part in (*workers, metrics):
        # Since it was asked, a worker may have taken another one.
        interrupted |= set(runs_at(api))
        part.stop(_STOP_SECONDS)
        say(part.name, "is stopped")
    # A worker that was killed has left its runs behind.
    end_all([process for processes in runs_at(api).values() for process in processes], _STOP_SECONDS)
    try:
        if there():
            interrupted |= set() if shared else at_work(client, POOLS)
            take_up(client, interrupted, say, _STOP_SECONDS)
        elif interrupted:
            say("server", "does not answer, and could not be told which runs go on")
    except Exception as error:
        say("server", f"could not be told which runs go on: {error}")
    server.stop(_STOP_SECONDS)
    say("server", "is stopped")
