"""Block x fault x (Retry, a fresh run): a run fails, says where and why, and what follows does only what is missing.

Each run is started on a real server and executed by a real worker. Every way has a store of its own: a copy of one in
which an undisturbed run has ended, without what the block under test gave. Afterwards both hold the same again.
"""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from tests import http_server
from tests.download_model.conftest import write_small_model
from tests.gcs_fake import GcsFake
from tests.gcs_objects import Stored
from tests.operate.conftest import CHECKOUT, OVER, Json, Stage, prepare_pools
from tests.prefect_server import PREFECT, running

pytestmark = pytest.mark.slow

DEPLOYMENT = "Retrain/on-demand"
TASKS = (
    "Download model",
    "Download data",
    "Preprocess rows",
    "Tokenise texts",
    "Train classifier",
    "Evaluate classifier",
    "Publish model",
)
# Task -> where the store keeps what it gave.
KEPT = {
    "Download model": ("memo/download_model", "artifacts/model"),
    "Download data": ("memo/download_data", "artifacts/raw"),
    "Preprocess rows": ("memo/preprocess", "artifacts/rows", "artifacts/quarantine"),
    "Train classifier": ("memo/retrain", "memo/retrain.train", "artifacts/classifier"),
    "Evaluate classifier": ("memo/evaluate", "artifacts/evaluation", "artifacts/tensorboard"),
    "Publish model": ("memo/publish", "artifacts/release", "models"),
}
ROWS = "text,label\n" + "".join(f"the {'good' if row % 2 else 'bad'} cat {row},{row % 2}\n" for row in range(300))
# One row in ten without a label.
DIRTY = ROWS + "".join(f"the new cat {row},\n" for row in range(30))


@dataclass
class Way:
    """One way back: a store, and the run that fails on it."""

    name: str
    folder: Path
    run: Json

    @property
    def store(self) -> Path:
        return self.folder / "store"


@dataclass(frozen=True)
class Place:
    """Where the runs work: server and worker, model and data by the network, and an undisturbed run's store."""

    stage: Stage
    hub: http_server.HttpServer
    bucket: GcsFake
    rows: Stored
    model: dict[str, bytes]
    undisturbed: Path

    def recipe(self) -> Json:
        return {
            "name": "cats",
            "model": {part: self.hub.address(f"/{part}/1.tar.gz") for part in ("source", "preprocessor")},
            "data": {"source": "gs://data/rows.csv"},
            "train": {"mode": "fine_tuning", "max_length": 16, "epochs": 3},
        }

    def serve(self) -> None:
        """Hub and bucket as they should be."""
        for part, content in self.model.items():
            self.hub.answers[f"/{part}/1.tar.gz"] = [http_server.body(content, ETag='"1"')]
        self.bucket.heal()
        # The object itself: another upload would be another generation, and be read again.
        self.bucket.buckets["data"]["rows.csv"] = self.rows

    def start(self, folder: Path) -> Json:
        """Press Run, on a store of the run's own."""
        (folder / "temporary").mkdir(parents=True, exist_ok=True)
        environment = {
            "HUBTUNE_STORE": str(folder / "store"),
            "HUBTUNE_CACHE": str(folder / "cache"),
            "TMPDIR": str(folder / "temporary"),
            "STORAGE_EMULATOR_HOST": self.bucket.url,
        }
        found: Json = self.stage.get(f"/deployments/name/{DEPLOYMENT}")
        body = {"parameters": {"recipe": self.recipe()}, "job_variables": {"env": environment}}
        run: Json = self.stage.post(f"/deployments/{found['id']}/create_flow_run", body)
        return run

    def kill(self, run: Json, line: str) -> None:
        """Kill a run's process when the run has said something."""
        deadline = time.monotonic() + 120
        while not any(line in said for said in self.stage.said_by(run)):
            state = self.stage.read(run)["state"]
            assert time.monotonic() < deadline, (line, state, self.stage.said_by(run))
            assert state["type"] not in OVER, (line, state)
            time.sleep(0.4)
        self.stage.process_of(run).kill()


@pytest.fixture(scope="session")
def place(prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("faults")
    settings = prefect_server | {
        "HOME": str(folder),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HUBTUNE_"))}
    environment |= settings
    prepare_pools(prefect_server)
    deploy = [PREFECT, "--no-prompt", "deploy", "--name", DEPLOYMENT.rpartition("/")[2]]
    deployed = subprocess.run(deploy, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    (folder / "temporary").mkdir()
    paths = write_small_model(folder / "temporary")
    model = {part: _packed(Path(path)) for part, path in paths.items()}
    worker = running([PREFECT, "worker", "start", "--pool", "default"], environment, folder / "default.log")
    with worker as process, http_server.running() as hub, GcsFake() as bucket:
        bucket.create_bucket("data")
        bucket.upload("data", "rows.csv", ROWS.encode())
        rows = bucket.buckets["data"]["rows.csv"]
        stage = Stage(folder, settings, {}, {"default": process})
        place = Place(stage, hub, bucket, rows, model, folder / "undisturbed")
        place.serve()
        run = place.stage.ended(place.start(place.undisturbed))
        assert run["state"]["type"] == "COMPLETED", run["state"]
        yield place


def _packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, ".")
    return content.getvalue()


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a block.

    Args:
        block: name of the task.
        what: for the test report.
        inject: makes it so for the runs that have just been started, or are about to be.
        told: what the failed run's message says, beside the name of the task.
        again: further tasks that are missing then.
        first: tasks that the failed run does itself before it fails.
        state: of the failed run.
        left: where something of the failed run stays, which is whole and right.
    """

    block: str
    what: str
    inject: Callable[[Place, list[Way]], None]
    told: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    state: str = "FAILED"
    left: str = "nothing"


def _hub_is_down(place: Place, ways: list[Way]) -> None:
    del ways
    for part in place.model:
        place.hub.answers[f"/{part}/1.tar.gz"] = [http_server.status(503)]


def _bucket_refuses(place: Place, ways: list[Way]) -> None:
    del ways
    place.bucket.fail("status", status=403, target="rows.csv", times=10_000)


def _data_is_bad(place: Place, ways: list[Way]) -> None:
    del ways
    place.bucket.upload("data", "rows.csv", DIRTY.encode())


def _training_is_killed(place: Place, ways: list[Way]) -> None:
    """As the kernel does it when memory runs out; and once more, since the task is tried again."""
    deadline = time.monotonic() + 150
    waiting = {way.run["id"] for way in ways}
    while waiting:
        assert time.monotonic() < deadline, [place.stage.said_by(way.run) for way in ways]
        for process in psutil.process_iter(["cmdline"]):
            with suppress(psutil.Error):  # it has ended meanwhile
                trains = (process.info["cmdline"] or [""])[-1] == "tasks.retrain.worker"
                if trains and any(_run_of(parent) in waiting for parent in process.parents()):
                    process.kill()
        waiting = {way.run["id"] for way in ways if place.stage.read(way.run)["state"]["type"] not in OVER}
        time.sleep(0.3)


def _rows_are_damaged(place: Place, ways: list[Way]) -> None:
    _training_is_killed(place, ways)
    for way in ways:
        (rows,) = (way.store / "artifacts" / "rows").glob("*/train.parquet")
        content = bytearray(rows.read_bytes())
        content[len(content) // 2] ^= 1
        rows.chmod(0o644)
        rows.write_bytes(content)


def _run_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID", "")
    except psutil.Error:
        return ""


def _process_is_killed(line: str) -> Callable[[Place, list[Way]], None]:
    def inject(place: Place, ways: list[Way]) -> None:
        for way in ways:
            place.kill(way.run, line)

    return inject


def _disk_is_full(place: Place, ways: list[Way]) -> None:
    del place
    for way in ways:
        free = shutil.disk_usage(way.store).free
        (way.store / "filler").write_bytes(b"\0" * max(0, free - 200_000))


KILLED = {"told": ("Process exited due to a SIGKILL signal",), "state": "CRASHED"}
FAULTS = [
    Fault("Download model", "hub unreachable", _hub_is_down, ("503", "remedy: ")),
    Fault("Download data", "bucket refuses", _bucket_refuses, ("Forbidden", "remedy: ")),
    Fault(
        "Preprocess rows",
        "too much bad data",
        _data_is_bad,
        ("quarantine", "remedy: "),
        first=("Download data",),
        left="artifacts/raw",
    ),
    Fault("Train classifier", "training killed", _training_is_killed, ("was killed", "memory", "remedy: ")),
    Fault(
        "Train classifier",
        "its rows damaged",
        _rows_are_damaged,
        ("was killed", "remedy: "),
        again=("Preprocess rows",),
    ),
    Fault("Evaluate classifier", "disk full", _disk_is_full, ("a disk is full", "remedy: free space")),
    Fault("Publish model", "disk full", _disk_is_full, ("a disk is full", "remedy: free space")),
    *(
        Fault(block, "process killed", _process_is_killed(line), **KILLED)  # type: ignore[arg-type]
        for block, line in (
            ("Download model", "Inspecting what arrived"),
            ("Download data", "the store holds no result"),
            ("Preprocess rows", "the store holds no result"),
            ("Train classifier", "training on one device"),
            ("Evaluate classifier", "the store holds no result"),
            ("Publish model", "SavedModel written"),
        )
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.block}, {fault.what}".replace(" ", "_"))
def test_what_follows_does_only_what_is_missing(fault: Fault, place: Place, tmp_path: Path) -> None:
    stage = place.stage
    with _stores(fault, place, tmp_path) as ways:
        before = fault.inject in (_hub_is_down, _bucket_refuses, _data_is_bad, _disk_is_full)
        if before:
            fault.inject(place, ways)
        with _held(fault, place, ways):
            for way in ways:
                way.run = place.start(way.folder)
            if not before:
                fault.inject(place, ways)
        for way in ways:
            failed = stage.ended(way.run)
            assert failed["state"]["type"] == fault.state, failed["state"]
            first, *rest = failed["state"]["message"].splitlines()
            if fault.state == "FAILED":
                assert first.startswith(f"{fault.block}: "), first
                assert f"RunFailed: {first}" in _last_words(stage, way.run)
            assert all(part in "\n".join([first, *rest]) for part in fault.told), failed["state"]["message"]
            if fault.block == "Publish model" and fault.state == "FAILED":
                # What was judged is to be seen all the same.
                assert _reports(stage, way.run) == ["# cats, not published"]

        place.serve()
        for way in ways:
            (way.store / "filler").unlink(missing_ok=True)
            if way.name == "retry":
                stage.retry(way.run)
            else:
                way.run = place.start(way.folder)
        for way in ways:
            ended = stage.ended(way.run)
            if way.name == "retry" and fault.state == ended["state"]["type"] == "CRASHED":
                # Prefect reports a crash twice, and the second time, some seconds later, ends what was retried by then.
                stage.retry(way.run)
                ended = stage.ended(way.run)
            assert ended["state"]["type"] == "COMPLETED", (way.name, ended["state"])
            assert _reports(stage, way.run)[0] == "# cats, version 1"
            last = stage.tasks_of(way.run)
            assert set(last) == set(TASKS), way.name
            assert set(last.values()) <= {"Completed", "Cached"}, (way.name, last)
            first = set(fault.first) if way.name == "retry" else set()
            assert stage.completed_in(way.run) == {fault.block, *fault.again} | first, way.name
            expected = content_of(place.undisturbed / "store")
            found = content_of(way.store)
            more = {path for path in set(found) - set(expected) if not path.startswith(fault.left)}
            assert not more, (way.name, more)
            assert {path: found.get(path) for path in expected} == expected, way.name


def _last_words(stage: Stage, run: Json) -> str:
    """What the log of a run ends with, which Prefect writes when the state is known already."""
    deadline = time.monotonic() + 30
    while "exited with unexpected exception" not in (last := stage.said_by(run)[-1]):
        assert time.monotonic() < deadline, last
        time.sleep(0.2)
    return last


def _reports(stage: Stage, run: Json) -> list[str]:
    """First lines of the reports on a run, the latest first."""
    wanted = {"artifacts": {"key": {"any_": ["evaluation-cats"]}}, "flow_runs": {"id": {"any_": [run["id"]]}}}
    return [each["data"].splitlines()[0] for each in stage.post("/artifacts/filter", wanted | {"sort": "CREATED_DESC"})]


@contextmanager
def _stores(fault: Fault, place: Place, folder: Path) -> Iterator[list[Way]]:
    """A store for each way. Where its disk is to be full, it lies on a small one."""
    ways = [Way(name, folder / name, {}) for name in ("retry", "fresh")]
    mounted: list[Path] = []
    try:
        for way in ways:
            way.store.mkdir(parents=True)
            if fault.inject is _disk_is_full:
                mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(way.store)]
                if subprocess.run(mount, capture_output=True, check=False).returncode:
                    pytest.skip("a small disk needs the right to mount one")
                mounted.append(way.store)
            shutil.copytree(place.undisturbed / "store", way.store, dirs_exist_ok=True)
            for kept in KEPT[fault.block]:
                shutil.rmtree(way.store / kept)
        yield ways
    finally:
        place.serve()
        for store in mounted:
            subprocess.run(["umount", str(store)], check=True)


@contextmanager
def _held(fault: Fault, place: Place, ways: list[Way]) -> Iterator[None]:
    """Where a process is to be killed in a block that takes no time: it does not get to the end of it before."""
    with ExitStack() as stack:
        for way in ways if fault.state == "CRASHED" else []:
            for kept in KEPT[fault.block]:
                for made in (place.undisturbed / "store" / kept).glob("*/manifest.json"):
                    in_the_way = way.store / kept / made.parent.name
                    in_the_way.mkdir(parents=True)
                    (in_the_way / "half").write_bytes(b"of an artifact")
                    # It is cleared away by one process at a time, before the artifact itself takes its place.
                    stack.enter_context(FileLock(in_the_way.with_name(f".lock-{in_the_way.name}")))
        yield


def content_of(store: Path) -> dict[str, str]:
    """Path -> hash of every artifact's and version's files; what says when and by whom they were made is left out."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("artifacts", "models")
        for path in sorted((store / part).rglob("*"))
        if path.is_file()
        and path.name not in ("manifest.json", "record.json")
        # Locks, and what was found damaged and put aside.
        and not any(part.startswith(".") or part == "claims" for part in path.relative_to(store).parts)
    }
