"""Figures of published models for Prometheus, read from the store whenever it asks.

What a version is never changes, and neither do artifacts: what was read of them once is kept as long as the store
answers. When it does not, `hubtune_store_up` is 0 and nothing else is said, so that nobody takes old figures for new.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from hubtune.errors import CorruptArtifact, HubtuneError, InvalidRecipe, ModelNotFound
from hubtune.progress import Say
from hubtune.storage import Artifact, Manifest, PublishedModel, Store, VersionRecord, latest_versions
from hubtune.storage.journal import last_success, training_of
from schemas.handoff import SPLITS, QuarantineFacts, RowsFacts

T = TypeVar("T")

# Prometheus waits 10 s for an answer, unless it is told otherwise.
_PATIENCE_SECONDS = 8.0


class Gauge(NamedTuple):
    """What a gauge says, and its labels."""

    text: str
    labels: tuple[str, ...] = ("model",)


GAUGES = {
    "hubtune_store_up": Gauge("Whether the store could be read; if not, there are no other figures.", ()),
    "hubtune_last_success_timestamp_seconds": Gauge("When the last run ended that ended well; age: time() - this."),
    "hubtune_model_version": Gauge("Number of the latest version."),
    "hubtune_model_published_timestamp_seconds": Gauge("When the latest version was published."),
    "hubtune_model_metric": Gauge("How good the latest version is on a split.", ("model", "split", "metric")),
    "hubtune_model_unreadable": Gauge("How many sources of the figures of a model are damaged or gone."),
    "hubtune_rows": Gauge("What became of the rows that came in, in the last run that ended well.", ("model", "fate")),
    "hubtune_rows_kept": Gauge("Clean rows of the last run that ended well.", ("model", "split")),
    "hubtune_rows_quarantined": Gauge("Rows that the same run turned away; zeros are left out.", ("model", "reason")),
    "hubtune_training_rows": Gauge("Rows that went through the training steps of the latest version, in all epochs."),
    "hubtune_training_seconds": Gauge("Seconds that these steps took."),
    "hubtune_training_rows_per_second": Gauge("Throughput of the training of the latest version."),
}


class Sample(NamedTuple):
    """A value of a gauge, and its labels' values."""

    gauge: str
    labels: tuple[str, ...]
    value: float


class StoreMetrics(Collector):
    """Reads the store at each scrape.

    Args:
        store: what is read.
        say: takes a line when the store is lost or found again, and for what in it is damaged.
        patience: seconds after which a store that does not answer counts as lost.
    """

    def __init__(self, store: Store, say: Say, patience: float = _PATIENCE_SECONDS) -> None:
        self._store, self._say, self._patience = store, say, patience
        self._lock = threading.Lock()
        self._reading: Future[list[Sample]] | None = None
        self._given_up = False
        self._known: dict[tuple[str, ...], Any] = {}
        self._used: dict[tuple[str, ...], Any] = {}
        self._problems: set[str] = set()
        self._lost = ""

    def collect(self) -> Iterable[Metric]:
        """All gauges, as they are now."""
        samples = self._ask()
        up = Sample("hubtune_store_up", (), float(samples is not None))
        families = {name: GaugeMetricFamily(name, gauge.text, labels=gauge.labels) for name, gauge in GAUGES.items()}
        for sample in [up, *(samples or [])]:
            families[sample.gauge].add_metric(sample.labels, sample.value)
        return families.values()

    def _ask(self) -> list[Sample] | None:
        with self._lock:
            # One reading at a time. What an earlier scrape gave up on says nothing of now, whenever it ends.
            if self._reading is None or self._reading.done():
                self._reading, self._given_up = _in_thread(self._read), False
            reading, given_up = self._reading, self._given_up
        try:
            if given_up:
                raise TimeoutError
            samples = reading.result(self._patience)
        except TimeoutError:
            self._given_up = True
            samples, lost = None, f"no answer for {self._patience:g} s"
        except (HubtuneError, OSError) as error:
            samples, lost = None, getattr(error, "what", str(error))
        else:
            lost = ""
        if lost != self._lost:
            self._say(f"the store is lost: {lost}" if lost else "the store answers again")
        self._lost = lost
        if lost:
            self._known = {}  # it may be another one that comes back
        return samples

    def _read(self) -> list[Sample]:
        self._used, problems = {}, set[str]()
        samples: list[Sample] = []
        for name, number in latest_versions(self._store).items():
            samples.append(Sample("hubtune_model_version", (name,), number))
            model, unreadable = PublishedModel(self._store, name), 0
            for part in (self._version, self._run, self._training):
                try:
                    samples += part(model, number)
                except (CorruptArtifact, ModelNotFound, ValidationError) as error:
                    unreadable += 1
                    problems.add(f"{name}, version {number}: {getattr(error, 'what', error)}")
            samples.append(Sample("hubtune_model_unreadable", (name,), unreadable))
        # Last: a folder that was moved away meanwhile has looked empty.
        self._store.check()
        for problem in sorted(problems - self._problems):
            self._say(problem)
        self._known, self._problems = self._used, problems
        return samples

    def _version(self, model: PublishedModel, number: int) -> Iterator[Sample]:
        yield Sample("hubtune_model_published_timestamp_seconds", (model.name,), self._published(model, number))
        yield from self._once((model.name, str(number), "metrics"), lambda: _metrics(model, number))

    def _run(self, model: PublishedModel, number: int) -> Iterator[Sample]:
        success = last_success(self._store, model.name)
        ended = _seconds(success.ended) if success is not None else self._published(model, number)
        yield Sample("hubtune_last_success_timestamp_seconds", (model.name,), ended)
        if success is None:  # it was published before runs were noted
            return
        rows = RowsFacts.model_validate(self._manifest("rows", success.rows).facts)
        for split in SPLITS:
            yield Sample("hubtune_rows_kept", (model.name, split), getattr(rows, split))
        found = QuarantineFacts.model_validate(self._manifest("quarantine", success.quarantine).facts)
        fates = {
            "kept": found.rows_out,
            "quarantined": found.quarantined,
            "duplicate": found.duplicates,
            "near_duplicate": found.near_duplicates,
            "dropped": found.dropped,
        }
        for fate, count in fates.items():
            yield Sample("hubtune_rows", (model.name, fate), count)
        for reason, count in found.reasons.items():
            yield Sample("hubtune_rows_quarantined", (model.name, reason), count)

    def _training(self, model: PublishedModel, number: int) -> Iterator[Sample]:
        for address in self._record(model, number).lineage:
            kind, _, digest = address.partition("/")
            if kind != "classifier":
                continue
            training = training_of(self._store, self._manifest(kind, digest))
            if training is not None:
                yield Sample("hubtune_training_rows", (model.name,), training.rows)
                yield Sample("hubtune_training_seconds", (model.name,), training.seconds)
                if training.seconds:
                    speed = training.rows / training.seconds
                    yield Sample("hubtune_training_rows_per_second", (model.name,), speed)
            return

    def _published(self, model: PublishedModel, number: int) -> float:
        return _seconds(self._record(model, number).created)

    def _record(self, model: PublishedModel, number: int) -> VersionRecord:
        return self._once((model.name, str(number)), lambda: model.record(number))

    def _manifest(self, kind: str, digest: str) -> Manifest:
        artifact = Artifact(kind=kind, digest=digest, uri="")
        return self._once((kind, digest), lambda: self._store.manifest(artifact))

    def _once(self, key: tuple[str, ...], read: Callable[[], T]) -> T:
        """What does not change is read once, and forgotten when nothing asks for it any more."""
        known: T | None = self._known.get(key)
        value = self._used[key] = read() if known is None else known
        return value


def serve(store: Store, host: str, port: int, say: Say) -> str:
    """Answer Prometheus, in threads that end with the process.

    Args:
        store: what is read.
        host: the address to listen on.
        port: where to listen; 0 takes a free one.
        say: takes a line for whatever goes wrong, once.

    Returns:
        The address that Prometheus is to be given.

    Raises:
        InvalidRecipe: it cannot be listened there.
    """
    registry = CollectorRegistry()
    registry.register(StoreMetrics(store, say))
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise InvalidRecipe(
            f"port {port} of {host} cannot be listened on: {error.strerror or error}",
            where="--host, --port",
            remedy="end what listens there, or name another port; 0 takes a free one",
        ) from None
    return f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"


def _metrics(model: PublishedModel, number: int) -> list[Sample]:
    folder = model.checkout(number, only=lambda path: path == "metrics.json")
    try:
        evaluation = json.loads((folder / "metrics.json").read_bytes())["evaluation"]
        return [
            Sample("hubtune_model_metric", (model.name, split, name), float(value))
            for split, figures in evaluation.items()
            for name, value in figures.items()
            # A figure that is not defined, such as the area under a curve of one class, is null; `rows` is no metric.
            if isinstance(value, int | float) and name != "rows"
        ]
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CorruptArtifact(
            "metrics.json holds no evaluation", where=str(folder), remedy="publish the model again: hubtune retrain"
        ) from error


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Begin something that may hang: unlike those of a pool, the thread does not keep the process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
