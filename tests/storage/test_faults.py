"""What a network does to a store in a bucket. Each fault happens for real, between a real server and gcsfs."""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage import Artifact, PublishedModel, Store, task_key
from tests.gcs_fake import FaultKind, GcsFake
from tests.storage.conftest import Place
from tests.storage.content import FILES, contents, put

KEY = task_key("test.make", 1, {}, [])
SOME = "large|memo|claims"  # each stall takes its time
DOWNLOADS = "alt=media"


def everything(store: Store) -> list[Any]:
    """Uses all of a store, and gives all that it answered."""
    large = {**FILES, "large": b"0123456789" * 1_000_000}  # goes up in a resumable upload of two parts
    release = put(store, large, kind="release")
    store.remember(KEY, {"release": release})
    store.append("all", release)
    model = PublishedModel(store, "questions")
    first, second = model.publish(release), model.publish(put(store, FILES, kind="release"))
    return [
        release,
        contents(store.checkout(release)) == large,
        store.recall(KEY),
        store.collection("all"),
        (first, second, model.versions(), model.find(release)),
        model.record(2).release,
        contents(model.checkout(2)) == FILES,
    ]


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("status", ".*"),
        ("reset", ".*"),
        ("stall", SOME),
        ("stall_body", SOME),
        ("deaf", "uploadType=resumable&upload_id"),
        ("truncated", ".*"),
        ("truncated_chunked", ".*"),
        ("lost_reply", ".*"),
        ("flipped", DOWNLOADS),  # on the way, TLS guards the rest
        ("flipped_upload", "upload(?!.*ifGenerationMatch)"),  # creations: see below
    ],
)
def test_every_request_fails_once(in_folder: Place, in_bucket: Place, kind: FaultKind, target: str) -> None:
    assert in_bucket.fake
    in_bucket.fake.fail(kind, target=target, each=True)
    disturbed = everything(in_bucket.open())
    requests = in_bucket.fake.requests
    assert len(requests) > len(set(requests))  # there were faults, and what failed was asked again
    assert without_uri(disturbed) == without_uri(everything(in_folder.open()))
    in_bucket.fake.heal()
    assert without_uri(everything(in_bucket.open())) == without_uri(disturbed)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that nobody takes what was sent")
def test_an_upload_that_nobody_reads_is_given_up(in_bucket: Place, gcs: GcsFake) -> None:
    gcs.fail("deaf", target="upload_id", times=10_000)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"could not write gs://bucket/some/prefix/.*/large: "):
        put(in_bucket.open(), {"large": b"0123456789" * 1_000_000})
    assert time.monotonic() - started < 20  # a fault lasts 30 s
    assert gcs.names("manifest.json") == []


@pytest.mark.parametrize("kind", ["status", "reset", "stall", "truncated", "truncated_chunked"])
def test_faults_that_stay_end_soon(in_bucket: Place, gcs: GcsFake, kind: FaultKind) -> None:
    store = in_bucket.open()
    artifact = put(store)
    store.remember(KEY, {"model": artifact})
    gcs.fail(kind, times=10_000)
    uses: list[Callable[[Artifact], object]] = [
        store.checkout,
        store.is_whole,
        lambda _: store.recall(KEY),
        lambda _: store.collection("all"),
    ]
    for use in uses[:1] if kind == "stall" else uses:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            use(artifact)
        assert time.monotonic() - started < 5
        assert "gs://bucket/some/prefix" in str(caught.value)
        assert "remedy: check the network" in str(caught.value)
        assert caught.value.__cause__ is not None
    with pytest.raises(StoreUnavailable):
        put(store, {"a": b"1"})
    gcs.heal()
    assert contents(store.checkout(artifact)) == FILES


def test_uploads_that_always_arrive_damaged(in_bucket: Place, gcs: GcsFake) -> None:
    gcs.fail("flipped_upload", target="upload.*multipart", times=10_000)
    with pytest.raises(StoreUnavailable, match="arrived damaged 4 times"):
        put(in_bucket.open())
    assert gcs.names("manifest.json") == []


def test_downloads_that_always_arrive_damaged(in_bucket: Place, gcs: GcsFake) -> None:
    store = in_bucket.open()
    artifact = put(store)
    gcs.fail("flipped", target="vocab.txt.*alt=media", times=10_000)
    with pytest.raises(CorruptArtifact, match=r"'vocab\.txt' has sha256"):
        store.checkout(artifact)
    assert store.is_whole(artifact)  # what is stored is not to blame
    gcs.heal()
    assert contents(store.checkout(artifact)) == FILES


def test_the_reply_to_a_claim_is_lost(in_bucket: Place, gcs: GcsFake) -> None:
    """The claim landed, the next attempt is refused with 412: reading the nonce back shows that it was ours."""
    store = in_bucket.open()
    release = put(store, kind="release")
    gcs.fail("lost_reply", target="ifGenerationMatch=0")
    assert PublishedModel(store, "questions").publish(release) == 1
    assert gcs.pending() == 0
    assert [name for name in gcs.names() if "/claims/" in name] == ["models/questions/claims/1.json"]


def test_what_is_created_arrives_damaged(in_bucket: Place, gcs: GcsFake) -> None:
    store = in_bucket.open()
    gcs.fail("flipped_upload", target="ifGenerationMatch=0")
    release = put(store, kind="release")  # its manifest is replaced
    assert gcs.pending() == 0
    assert contents(store.checkout(release)) == FILES
    gcs.fail("flipped_upload", target="ifGenerationMatch=0")
    assert PublishedModel(store, "questions").publish(release) == 2  # a damaged claim is nobody's
    gcs.fail("flipped_upload", target="ifGenerationMatch=0", times=10_000)
    with pytest.raises(StoreUnavailable, match="no version number of 'other' could be taken"):
        PublishedModel(store, "other").publish(release)


def test_a_claim_that_another_took_is_not_ours(in_bucket: Place) -> None:
    backend = in_bucket.open().backend
    assert backend.create("claims/1", b"mine")
    assert backend.create("claims/1", b"mine")  # as after a lost reply
    assert not backend.create("claims/1", b"yours")
    assert backend.read("claims/1") == b"mine"


@pytest.mark.parametrize(
    ("status", "remedy"), [(403, "Storage Object User"), (401, "gcloud auth application-default login")]
)
def test_a_refusal_is_not_repeated(in_bucket: Place, gcs: GcsFake, status: int, remedy: str) -> None:
    store = in_bucket.open()
    gcs.fail("status", status=status, times=10_000)
    with pytest.raises(StoreUnavailable, match=remedy):
        store.recall(KEY)
    assert len(gcs.requests) == 1


def test_a_bucket_that_does_not_exist(gcs: GcsFake) -> None:
    store = Store.open("gs://no-such-bucket/prefix")
    assert store.recall(KEY) is None
    with pytest.raises(StoreUnavailable, match="there is no bucket 'no-such-bucket'"):
        put(store)
    with pytest.raises(StoreUnavailable, match="there is no bucket 'no-such-bucket'"):
        store.remember(KEY, {})


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/key.json")
    with pytest.raises(StoreUnavailable, match="gcloud auth application-default login"):
        Store.open("gs://bucket/prefix").recall(KEY)


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch, gcs: GcsFake) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable, match="could not read gs://bucket/some/prefix/memo"):
        Store.open(gcs.root).recall(KEY)


def test_a_disk_that_cannot_be_written(in_folder: Place) -> None:
    in_folder.folder.joinpath("store").write_text("a file where the store should be")
    with pytest.raises(StoreUnavailable, match="check that the disk is mounted"):
        in_folder.open().remember(KEY, {})


def without_uri(answer: Any) -> Any:
    if isinstance(answer, Artifact):
        return answer.kind, answer.digest, answer.facts
    if isinstance(answer, dict):
        return {name: without_uri(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [without_uri(value) for value in answer]
    return answer
