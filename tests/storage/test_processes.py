"""Several processes on one store, and processes that are killed in the middle."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from hubtune.storage import Artifact, PublishedModel
from tests.storage.conftest import Place
from tests.storage.content import FILES, PRODUCER, Facts, contents, fill, put
from tests.storage.processes import Worker, check_out, publish, put_folder, start, together

# Many small files, so that a process can be killed between any two of them.
MANY = {f"shard-{number:03}": bytes([number]) * 20_000 for number in range(60)}


def test_two_processes_put_the_same(place: Place) -> None:
    folder = fill(place.folder / "content", MANY)
    first, second = together(*[start(put_folder, place.root, str(folder)) for _ in range(2)])
    assert first == second
    assert [name for name in place.names() if name.endswith("manifest.json")] == [
        f"artifacts/model/{first}/manifest.json"
    ]
    assert contents(place.open().checkout(Artifact(kind="model", digest=first, uri=""))) == MANY
    assert hidden(place) == []


def test_two_processes_publish_the_same(place: Place) -> None:
    assert together(*[start(publish, place.root, "graph") for _ in range(2)]) == ["1", "1"]
    assert PublishedModel(place.open(), "questions").versions() == [1]
    assert contents(PublishedModel(place.open(), "questions").checkout(1)) == FILES


def test_processes_that_publish_different_releases_get_different_numbers(place: Place) -> None:
    workers = [start(publish, place.root, text) for text in "abc"]
    assert sorted(together(*workers)) == ["1", "2", "3"]
    model = PublishedModel(place.open(), "questions")
    assert model.versions() == [1, 2, 3]
    assert {contents(model.checkout(version))["saved_model.pb"] for version in (1, 2, 3)} == {b"a", b"b", b"c"}


def test_two_processes_repair_the_same(place: Place) -> None:
    folder = fill(place.folder / "content", MANY)
    artifact = place.open().put("model", folder, producer=PRODUCER, facts=Facts())
    place.overwrite(f"artifacts/model/{artifact.digest}/shard-007", b"damaged")
    together(*[start(put_folder, place.root, str(folder)) for _ in range(2)])
    assert contents(place.open().checkout(artifact)) == MANY


def test_two_processes_fetch_the_same_once(in_bucket: Place) -> None:
    assert in_bucket.fake
    artifact = put(in_bucket.open())
    together(*[start(check_out, in_bucket.root, artifact.digest) for _ in range(3)])
    downloads = [request for request in in_bucket.fake.requests if "alt=media" in request and "manifest" not in request]
    assert len(downloads) == len(FILES)


def test_threads_put_and_read_at_once(place: Place) -> None:
    store = place.open()
    results: list[dict[str, bytes]] = []

    def work() -> None:
        results.append(contents(store.checkout(put(store, FILES))))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [FILES] * 6


def test_a_process_killed_while_it_puts_into_a_folder(in_folder: Place) -> None:
    folder = fill(in_folder.folder / "content", MANY)
    started = time.monotonic()
    digest = in_folder.open().put("elsewhere", folder, producer=PRODUCER, facts=Facts()).digest
    duration = time.monotonic() - started
    chance = random.Random(7)
    for _ in range(8):
        worker = start(put_folder, in_folder.root, str(folder))
        worker.begin()
        time.sleep(chance.uniform(0, 1.2 * duration))
        worker.kill()
        for path in (Path(in_folder.root) / "artifacts/model").glob("[!.]*"):
            assert in_folder.open().is_whole(Artifact(kind="model", digest=path.name, uri=""))
    artifact = in_folder.open().put("model", folder, producer=PRODUCER, facts=Facts())
    assert artifact.digest != digest  # the kind is part of the address
    assert contents(in_folder.open().checkout(artifact)) == MANY


@pytest.mark.parametrize("writes", [0, 1, 4, 5])
def test_a_process_killed_while_it_puts_into_a_bucket(in_bucket: Place, writes: int) -> None:
    """Killed when its n-th write arrives; 4 files and the manifest are written."""
    store = in_bucket.open()
    with store.scratch() as folder:
        fill(folder)
        worker = start(put_folder, in_bucket.root, str(folder))
        kill_at(in_bucket, worker, "POST /upload", writes)
    assert store.collection("all") == []
    manifests = [name for name in in_bucket.names() if name.endswith("manifest.json")]
    assert len(manifests) == (1 if writes == 5 else 0)
    assert put(store) == put(store)
    assert contents(store.checkout(put(store))) == FILES


@pytest.mark.parametrize("writes", [0, 1, 2, 4, 5])
def test_a_publisher_killed_in_a_bucket(in_bucket: Place, writes: int) -> None:
    """Killed when its n-th write arrives: the claim, 4 copies, the manifest."""
    put(in_bucket.open(), kind="release")
    worker = start(publish, in_bucket.root, "graph")
    kill_at(in_bucket, worker, "POST", writes)
    store = in_bucket.open()
    model = PublishedModel(store, "questions")
    assert model.versions() == []
    # When the claim was cut off, the first number is still free; else it belongs to the release whose claim it is.
    assert model.publish(put(store, {"saved_model.pb": b"other"}, kind="release")) == (1 if writes == 0 else 2)
    assert model.publish(put(store, kind="release")) == (2 if writes == 0 else 1)
    assert model.versions() == [1, 2]


def test_a_publisher_killed_in_a_folder(in_folder: Place) -> None:
    store = in_folder.open()
    own = put(store, kind="release")
    chance = random.Random(3)
    for _ in range(6):
        worker = start(publish, in_folder.root, "graph")
        worker.begin()
        time.sleep(chance.uniform(0, 0.02))
        worker.kill()
        for version in PublishedModel(store, "questions").versions():
            assert contents(PublishedModel(store, "questions").checkout(version)) == FILES
    assert PublishedModel(store, "questions").publish(own) == 1
    assert PublishedModel(store, "questions").versions() == [1]


@pytest.mark.parametrize("reads", [0, 1, 3])
def test_a_process_killed_while_it_fetches(in_bucket: Place, reads: int) -> None:
    """Killed when its n-th read arrives: the manifest, then 4 files."""
    artifact = put(in_bucket.open())
    worker = start(check_out, in_bucket.root, artifact.digest)
    kill_at(in_bucket, worker, "GET /download/storage/v1/b/bucket/o/some/prefix/artifacts/model", reads)
    assert contents(in_bucket.open().checkout(artifact)) == FILES


def test_leftovers_of_killed_processes_are_removed(in_folder: Place) -> None:
    store = in_folder.open()
    put(store, {"a": b"1"})
    parent = Path(in_folder.root) / "artifacts/model"
    for name, age in ((".put-old", 2), (".broken-old", 2), (".put-young", 0)):
        fill(parent / name)
        moment = time.time() - age * 24 * 3600
        os.utime(parent / name, (moment, moment))
    put(store, {"a": b"2"})
    assert hidden(in_folder) == [".put-young"]


def hidden(place: Place) -> list[str]:
    if place.fake:
        return []
    return sorted(path.name for path in Path(place.root).rglob(".*") if not path.name.startswith(".lock-"))


def kill_at(place: Place, worker: Worker, request: str, count: int) -> None:
    """Let a worker begin, and kill it when it sends the request for the (count + 1)-th time, before it is served."""
    assert place.fake is not None
    lock, seen = threading.Lock(), 0

    def before(arrived: str) -> None:
        nonlocal seen
        if arrived.startswith(request):
            with lock:
                seen += 1
                if seen == count + 1:
                    worker.process.kill()
                if seen > count:
                    raise ConnectionError  # what arrives while the process dies is not served

    place.fake.before = before
    worker.begin()
    worker.process.join(60)
    place.fake.before = lambda arrived: None
    assert worker.process.exitcode is not None
