"""The fake answers Google's own client as Cloud Storage does."""

import importlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed

from tests.gcs_fake import GcsFake

# Neither has types.
storage: Any = importlib.import_module("google.cloud.storage")
credentials: Any = importlib.import_module("google.auth.credentials")


@pytest.fixture
def client(gcs: GcsFake) -> Iterator[Any]:
    with storage.Client("project", credentials.AnonymousCredentials()) as client:
        yield client


def test_objects_in_one_request(client: Any) -> None:
    blob = client.bucket("bucket").blob("folder/ä name#?%2F")
    blob.upload_from_string(b"hello", checksum="md5")
    assert (blob.size, blob.md5_hash, blob.crc32c) == (5, "XUFAKrxLKna5cZ2REBfFkg==", "mnG7TA==")
    assert blob.download_as_bytes() == b"hello"
    assert blob.download_as_bytes(start=1, end=2) == b"el"
    assert [found.name for found in client.list_blobs("bucket")] == [blob.name]
    blob.delete()
    with pytest.raises(NotFound):
        blob.download_as_bytes()


def test_resumable_uploads(client: Any) -> None:
    blob = client.bucket("bucket").blob("large", chunk_size=256 * 1024)
    content = bytes(range(256)) * 3000
    blob.upload_from_file(io.BytesIO(content), checksum="crc32c")
    assert blob.download_as_bytes() == content


def test_generations_and_preconditions(client: Any) -> None:
    blob = client.bucket("bucket").blob("pointer")
    blob.upload_from_string(b"1", if_generation_match=0)
    first = blob.generation
    with pytest.raises(PreconditionFailed):
        client.bucket("bucket").blob("pointer").upload_from_string(b"2", if_generation_match=0)
    blob.upload_from_string(b"2", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(PreconditionFailed):
        client.bucket("bucket").blob("pointer").upload_from_string(b"3", if_generation_match=first)
    with pytest.raises(NotFound):
        client.bucket("bucket").blob("pointer", generation=first).download_as_bytes()
    blob.metadata = {"a": "b"}
    blob.patch()
    assert blob.metageneration == 2
    with pytest.raises(PreconditionFailed):
        blob.delete(if_metageneration_match=1)


def test_listings_have_pages_and_folders(client: Any, gcs: GcsFake) -> None:
    gcs.page = 2
    for name in ("a", "b/1", "b/2", "c/1", "d", "e"):
        client.bucket("bucket").blob(name).upload_from_string(b"")
    assert [blob.name for blob in client.list_blobs("bucket")] == ["a", "b/1", "b/2", "c/1", "d", "e"]
    listing = client.list_blobs("bucket", delimiter="/")
    assert [blob.name for blob in listing] == ["a", "d", "e"]
    assert listing.prefixes == {"b/", "c/"}
    assert [blob.name for blob in client.list_blobs("bucket", prefix="b/")] == ["b/1", "b/2"]


def test_copies_compositions_and_batches(client: Any) -> None:
    bucket = client.bucket("bucket")
    one, two, both = bucket.blob("1"), bucket.blob("2"), bucket.blob("both")
    one.upload_from_string(b"one")
    assert bucket.copy_blob(one, bucket, "2").md5_hash == one.md5_hash
    both.compose([one, two])
    assert both.download_as_bytes() == b"oneone"
    assert both.md5_hash is None
    assert both.rewrite(one) == (None, 3, 3)
    with client.batch():
        bucket.delete_blob("1")
        bucket.delete_blob("2")
    assert [blob.name for blob in client.list_blobs("bucket")] == ["both"]


def test_buckets(client: Any) -> None:
    assert not client.bucket("new").exists()
    bucket = client.create_bucket("new")
    bucket.blob("a").upload_from_string(b"")
    bucket.delete(force=True)
    assert not client.bucket("new").exists()
