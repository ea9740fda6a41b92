import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubtune.errors import CorruptArtifact
from hubtune.storage import Artifact, PublishedModel, Store, task_key
from hubtune.storage.artifact import FileEntry, Manifest, content_digest, seal, unseal
from tests.storage.conftest import Place
from tests.storage.content import FILES, PRODUCER, contents, put

KEY = task_key("test.make", 1, {}, [])
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "truncated": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "lengthened": lambda content: content + b"x",
}


def path_of(artifact: Artifact, file: str) -> str:
    return f"artifacts/{artifact.kind}/{artifact.digest}/{file}"


@pytest.mark.parametrize("damage", [*DAMAGES, "removed"])
@pytest.mark.parametrize("file", ["saved_model.pb", "variables/data-0", "manifest.json"])
def test_damage_in_the_store_is_never_used(place: Place, file: str, damage: str) -> None:
    store = place.open()
    artifact = put(store)
    store.remember(KEY, {"model": artifact})
    store.append("all", artifact)
    name = path_of(artifact, file)
    if damage == "removed":
        place.remove(name)
    else:
        place.overwrite(name, DAMAGES[damage](place.read(name)))

    again = place.open()
    assert not again.is_whole(artifact)
    assert again.recall(KEY) is None
    with pytest.raises(CorruptArtifact) as caught:
        again.checkout(artifact)
    assert file in str(caught.value) or "is not in the store" in str(caught.value)

    assert put(again) == artifact  # made again, it takes the damaged one's place
    assert again.is_whole(artifact)
    assert again.recall(KEY) == {"model": artifact}
    assert again.collection("all") == [artifact]
    assert contents(again.checkout(artifact)) == FILES


def test_the_error_names_file_expected_and_found(in_folder: Place) -> None:
    store = in_folder.open()
    artifact = put(store)
    in_folder.overwrite(path_of(artifact, "saved_model.pb"), b"grapH")
    with pytest.raises(CorruptArtifact, match=r"'saved_model.pb' has sha256 [0-9a-f]{64}, expected sha256 "):
        store.checkout(artifact)
    in_folder.overwrite(path_of(artifact, "saved_model.pb"), b"gra")
    with pytest.raises(CorruptArtifact, match=r"'saved_model.pb' has 3 bytes, expected 5 bytes"):
        store.checkout(artifact)


def test_a_file_that_does_not_belong_there(in_folder: Place) -> None:
    store = in_folder.open()
    artifact = put(store)
    folder = store.checkout(artifact)
    (folder / ".DS_Store").write_bytes(b"")
    assert store.checkout(artifact) == folder
    (folder / "extra.parquet").write_bytes(b"")
    assert not store.is_whole(artifact)
    with pytest.raises(CorruptArtifact, match=r"'extra.parquet' is not in the manifest"):
        store.checkout(artifact)
    put(store)
    assert contents(store.checkout(artifact)) == FILES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_a_record_passes(in_folder: Place, data: st.DataObject) -> None:
    """Whatever one byte of a manifest or memo becomes, what is read is what was written, or nothing."""
    store = in_folder.open()
    artifact = put(store)
    store.remember(KEY, {"model": artifact})
    name = data.draw(st.sampled_from([name for name in in_folder.names() if name.endswith(".json")]))
    content = in_folder.read(name)
    position = data.draw(st.integers(0, len(content) - 1))
    changed = content[:position] + bytes([data.draw(st.integers(0, 255))]) + content[position + 1 :]
    in_folder.overwrite(name, changed)
    try:
        assert in_folder.open().recall(KEY) in (None, {"model": artifact})
    finally:
        in_folder.overwrite(name, content)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_record(content: bytes) -> None:
    assert unseal(content) is None


def test_a_damaged_memo_is_unknown(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    store = place.open()
    store.remember(KEY, {"model": put(store)})
    [memo] = [name for name in place.names() if name.startswith("memo/")]
    for content in (b"", b"{", b"[1]", b"null", b'{"outputs": {}}', place.read(memo)[:-9], b"\xff"):
        place.overwrite(memo, content)
        assert place.open().recall(KEY) is None
    assert "the record is truncated or changed" in caplog.text
    assert "test.make runs again" in caplog.text


@pytest.mark.parametrize("damage", [*DAMAGES, "removed", "replaced by a folder"])
def test_damage_in_the_mirror_is_fetched_again(in_bucket: Place, damage: str) -> None:
    assert in_bucket.fake
    store = in_bucket.open()
    artifact = put(store)
    folder = store.checkout(artifact)
    assert folder == Path(os.environ["HUBTUNE_CACHE"]) / "model" / artifact.digest
    file = folder / "variables/data-0"
    if damage in DAMAGES:
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    else:
        file.unlink()
    if damage == "replaced by a folder":
        file.mkdir()
    (folder / "extra.parquet").write_bytes(b"")
    in_bucket.fake.requests.clear()
    assert contents(in_bucket.open().checkout(artifact)) == FILES
    fetched = [request for request in in_bucket.fake.requests if "alt=media" in request and "manifest" not in request]
    assert len(fetched) == 1


def test_what_is_in_the_mirror_is_not_fetched_again(in_bucket: Place) -> None:
    assert in_bucket.fake
    artifact = put(in_bucket.open())
    in_bucket.open().checkout(artifact)
    in_bucket.fake.requests.clear()
    in_bucket.open().checkout(artifact)
    assert len(in_bucket.fake.requests) == 1  # the manifest


def test_content_that_is_always_wrong_is_given_up(in_bucket: Place) -> None:
    assert in_bucket.fake
    store = in_bucket.open()
    artifact = put(store)
    name = path_of(artifact, "saved_model.pb")
    in_bucket.fake.overwrite(name, b"grapH", md5="old")  # the listing says that all is well
    with pytest.raises(CorruptArtifact, match=r"saved_model\.pb"):
        store.checkout(artifact)
    downloads = [request for request in in_bucket.fake.requests if "saved_model.pb?alt=media" in request]
    assert len(downloads) == 3
    assert store.is_whole(artifact)  # Cloud Storage vouches for it: the fault is on the way
    in_bucket.fake.overwrite(name, b"graph")
    assert contents(store.checkout(artifact)) == FILES


def test_a_composite_object_with_wrong_content_is_made_again(in_bucket: Place) -> None:
    assert in_bucket.fake
    store = in_bucket.open()
    artifact = put(store)
    store.remember(KEY, {"model": artifact})
    name = path_of(artifact, "saved_model.pb")
    in_bucket.fake.overwrite(name, b"graph", md5="none")
    assert store.is_whole(artifact)  # by its size: composite objects have no MD5
    in_bucket.fake.overwrite(name, b"grapH", md5="none")
    with pytest.raises(CorruptArtifact, match=r"saved_model\.pb"):
        store.checkout(artifact)
    assert store.recall(KEY) is None
    put(store)
    assert contents(store.checkout(artifact)) == FILES


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../outside", "a//b", "./a", "a\\..\\b", "", "a\0b"])
def test_a_manifest_cannot_point_outside(place: Place, path: str) -> None:
    store = place.open()
    entries = [FileEntry(path=path, size=4, sha256="0" * 64, md5="0" * 32)]
    digest = content_digest("model", entries)
    manifest = Manifest(kind="model", digest=digest, files=entries, facts={}, producer=PRODUCER, inputs=[])
    store.backend.write(f"artifacts/model/{digest}/manifest.json", seal(manifest.model_dump(mode="json")))
    forged = Artifact(kind="model", digest=digest, uri="")
    with pytest.raises(CorruptArtifact, match="no plain path"):
        store.checkout(forged)
    assert not store.is_whole(forged)
    version = {"version": 1, "release": content_digest("release", entries), "created": "", "lineage": []}
    files = [entry.model_dump() for entry in entries]
    store.backend.write("models/questions/1/manifest.json", seal({**version, "files": files}))
    with pytest.raises(CorruptArtifact, match="no plain path"):
        PublishedModel(store, "questions").checkout(1)


def test_a_manifest_of_other_content(place: Place) -> None:
    store = place.open()
    one, other = put(store, {"a": b"1"}), put(store, {"a": b"2"})
    place.overwrite(path_of(one, "manifest.json"), place.read(path_of(other, "manifest.json")))
    place.overwrite(path_of(one, "a"), b"2")
    with pytest.raises(CorruptArtifact, match="belongs to other content"):
        store.checkout(one)


def test_records_are_json(place: Place) -> None:
    store = place.open()
    release = put(store, kind="release")
    store.remember(KEY, {"release": release})
    store.append("all", release)
    PublishedModel(store, "questions").publish(release)
    records = [name for name in place.names() if name.endswith(".json")]
    assert len(records) == 5  # artifact, memo, collection, claim, version
    for name in records:
        assert isinstance(json.loads(place.read(name)), dict)


def test_symbolic_links_in_the_store_are_not_followed(in_folder: Place) -> None:
    store = in_folder.open()
    artifact = put(store)
    file = Path(in_folder.root) / path_of(artifact, "saved_model.pb")
    elsewhere = in_folder.folder / "elsewhere"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)
    with pytest.raises(CorruptArtifact, match="no file"):
        Store.open(in_folder.root).checkout(artifact)
