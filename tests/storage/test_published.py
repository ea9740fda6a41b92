from pathlib import Path

import pytest

from hubtune.errors import CorruptArtifact, ModelNotFound
from hubtune.storage import Artifact, PublishedModel, published_names
from hubtune.storage.artifact import seal
from tests.storage.conftest import Place
from tests.storage.content import FILES, contents, put


def release_of(place: Place, text: str, inputs: tuple[Artifact, ...] = ()) -> Artifact:
    files = {"saved_model.pb": text.encode(), "a/variables": b"weights", "labels.json": b"[]"}
    return put(place.open(), files, kind="release", inputs=inputs)


def test_versions_count_up_and_releases_are_published_once(place: Place) -> None:
    model = PublishedModel(place.open(), "questions")
    assert model.versions() == []
    first, second = release_of(place, "first"), release_of(place, "second")
    assert model.find(first) is None
    assert model.publish(first) == 1
    assert model.publish(second) == 2
    assert model.publish(first) == 1
    again = PublishedModel(place.open(), "questions")
    assert again.publish(second) == 2
    assert again.versions() == [1, 2]
    assert again.latest() == 2
    assert (again.find(first), again.find(second)) == (1, 2)
    assert PublishedModel(place.open(), "other").publish(first) == 1
    assert published_names(place.open()) == ["other", "questions"]


def test_a_version_is_a_folder_as_tensorflow_serving_polls_it(place: Place) -> None:
    store = place.open()
    PublishedModel(store, "questions").publish(put(store, kind="release"))
    names = [name for name in place.names() if name.startswith("models/questions/")]
    prefix = "models/questions/1/"
    assert {name.removeprefix(prefix) for name in names if name.startswith(prefix)} == {*FILES, "manifest.json"}
    assert [name for name in names if not name.startswith(prefix)] == ["models/questions/claims/1.json"]


def test_record_and_lineage(place: Place) -> None:
    store = place.open()
    raw = put(store, {"r": b""}, kind="raw")
    rows = put(store, {"r": b""}, kind="rows", inputs=(raw,))
    pretrained = put(store, {"m": b""}, kind="model")
    release = release_of(place, "x", inputs=(pretrained, rows))
    record = PublishedModel(store, "questions").record(PublishedModel(store, "questions").publish(release))
    assert (record.version, record.release) == (1, release.digest)
    assert record.created.endswith("+00:00")
    assert record.lineage == [f"model/{pretrained.digest}", f"rows/{rows.digest}", f"raw/{raw.digest}"]


def test_records_are_read_at_once(place: Place) -> None:
    model = PublishedModel(place.open(), "questions")
    for text in ("first", "second", "third"):
        model.publish(release_of(place, text))
    place.overwrite("models/questions/2/manifest.json", b"other")
    assert model.records([3, 2, 1, 7]) == {3: model.record(3), 2: None, 1: model.record(1), 7: None}
    assert model.records([]) == {}


def test_ancestors_are_found_while_they_are_whole(place: Place) -> None:
    store = place.open()
    old = put(store, {"r": b"old"}, kind="rows")
    new = put(store, {"r": b"new"}, kind="rows", inputs=(old,))
    model = PublishedModel(store, "questions")
    version = model.publish(release_of(place, "x", inputs=(new,)))
    assert model.ancestor(version, "rows") == new  # the nearest one
    assert model.was_made_from(version, new)
    assert not model.was_made_from(version, put(store, {"r": b"never used"}, kind="rows"))
    assert model.ancestor(version, "raw") is None
    with pytest.raises(ModelNotFound, match="has no version 7"):
        model.ancestor(7, "rows")

    place.overwrite(f"artifacts/rows/{new.digest}/r", b"other")
    assert model.ancestor(version, "rows") is None
    store.discard(new)
    assert model.ancestor(version, "rows") is None
    assert put(store, {"r": b"new"}, kind="rows") == model.ancestor(version, "rows")
    place.overwrite(f"models/questions/{version}/manifest.json", b"other")
    assert model.ancestor(version, "rows") is None


def test_checkout_verifies_the_files_that_are_asked_for(place: Place) -> None:
    store = place.open()
    model = PublishedModel(store, "questions")
    version = model.publish(put(store, kind="release"))
    wanted = model.checkout(version, only=lambda path: path != "saved_model.pb")
    assert {path for path in contents(wanted) if path != "saved_model.pb"} == {*FILES} - {"saved_model.pb"}
    if place.fake:
        assert not (wanted / "saved_model.pb").exists()  # was not fetched
        assert not any("saved_model.pb?alt=media" in request for request in place.fake.requests)
    assert contents(model.checkout(version)) == FILES

    place.forget_mirror()
    place.overwrite(f"models/questions/{version}/saved_model.pb", b"other")
    model.checkout(version, only=lambda path: path == "vocab.txt")
    with pytest.raises(CorruptArtifact, match=r"saved_model\.pb"):
        model.checkout(version)


def test_a_damaged_version_is_completed_again(place: Place) -> None:
    store = place.open()
    model = PublishedModel(store, "questions")
    release = put(store, kind="release")
    for file in ("saved_model.pb", "vocab.txt", "manifest.json"):
        assert model.publish(release) == 1
        place.overwrite(f"models/questions/1/{file}", b"other")
        place.forget_mirror()
        assert model.find(release) is None
    assert model.publish(release) == 1
    assert contents(model.checkout(1)) == FILES


def test_what_is_not_published(place: Place) -> None:
    store = place.open()
    with pytest.raises(ModelNotFound, match="no model 'questions' is published; published models: none"):
        PublishedModel(store, "questions").latest()
    PublishedModel(store, "other-questions").publish(put(store, kind="release"))
    with pytest.raises(ModelNotFound, match="published models: other-questions"):
        PublishedModel(store, "questions").latest()
    with pytest.raises(ModelNotFound, match="has no version 7; versions of 'other-questions': 1"):
        PublishedModel(store, "other-questions").checkout(7)
    with pytest.raises(ModelNotFound, match="cannot be the name of a model"):
        PublishedModel(store, "../artifacts")


def test_a_release_that_is_not_whole_takes_no_number(place: Place) -> None:
    store = place.open()
    model = PublishedModel(store, "questions")
    release = put(store, kind="release")
    place.overwrite(f"artifacts/release/{release.digest}/vocab.txt", b"other")
    with pytest.raises(CorruptArtifact, match="damaged"):
        model.publish(release)
    with pytest.raises(CorruptArtifact, match="not in the store"):
        model.publish(Artifact(kind="release", digest="0" * 64, uri=""))
    assert not [name for name in place.names() if name.startswith("models/")]


def test_claims_of_the_dead(place: Place) -> None:
    """A claim without a version: completed by the same release, passed over by others, and so is a damaged one."""
    store = place.open()
    model = PublishedModel(store, "questions")
    first, second = release_of(place, "first"), release_of(place, "second")
    claim = {"release": first.digest, "created": "2026-01-01T00:00:00+00:00", "nonce": "0" * 32}
    assert store.backend.create("models/questions/claims/1.json", seal(claim))
    store.backend.write("models/questions/claims/2.json", b"{")
    assert model.versions() == []
    assert model.publish(second) == 3
    assert model.publish(first) == 1
    assert model.record(1).created == claim["created"]
    assert model.versions() == [1, 3]
    assert model.latest() == 3


def test_other_folders_are_no_versions(in_folder: Place) -> None:
    store = in_folder.open()
    model = PublishedModel(store, "questions")
    model.publish(put(store, kind="release"))
    root = Path(in_folder.root) / "models"
    for name in ("questions/2", "questions/best", "questions/007", "half", ".hidden", "Not-A-Name"):
        (root / name).mkdir()
    for name in ("questions/best", "questions/007"):
        (root / name / "manifest.json").write_bytes(b"{}")
    assert model.versions() == [1]
    assert published_names(store) == ["questions"]


def test_the_graph_is_the_last_file_before_the_manifest(in_bucket: Place) -> None:
    assert in_bucket.fake
    store = in_bucket.open()
    release = put(store, kind="release")
    in_bucket.fake.requests.clear()
    PublishedModel(store, "questions").publish(release)
    writes = [request for request in in_bucket.fake.requests if request.startswith("POST")]
    assert "ifGenerationMatch=0" in writes[0]  # the claim
    assert "models/questions/1/saved_model.pb" in writes[-2]
    assert "ifGenerationMatch=0" in writes[-1]  # the version's manifest
    assert len(writes) == len(FILES) + 2
