import pytest

from hubtune.errors import CorruptArtifact, StoreUnavailable
from hubtune.storage import Producer, Store, task_key
from hubtune.storage.journal import (
    Publication,
    Success,
    Training,
    last_success,
    note_publication,
    note_success,
    note_training,
    publications,
    training_of,
)
from tests.storage.conftest import Place
from tests.storage.content import Facts, fill, put


def success(run: str) -> Success:
    return Success(run=run, ended="2026-07-01T02:03:04+00:00", version=3, rows="a" * 64, quarantine="b" * 64)


def test_the_last_success_of_each_model(place: Place) -> None:
    assert last_success(place.open(), "questions") is None
    for run in ("first", "second"):
        note_success(place.open(), "questions", success(run))
    note_success(place.open(), "tickets", success("other"))
    assert last_success(place.open(), "questions") == success("second")
    assert last_success(place.open(), "tickets") == success("other")
    place.overwrite("journal/runs/questions.json", b"{}")
    with pytest.raises(CorruptArtifact, match="truncated or changed"):
        last_success(place.open(), "questions")


def test_which_run_published_what(place: Place) -> None:
    assert publications(place.open(), "questions", [1, 2]) == {}
    for version in (1, 2, 3):
        note_publication(place.open(), "questions", version, Publication(run=f"run {version}"))
    note_publication(place.open(), "tickets", 4, Publication(run="other"))
    place.overwrite("journal/versions/questions/2.json", b"{}")
    found = publications(place.open(), "questions", [1, 2, 3, 4])
    assert found == {number: Publication(run=f"run {number}") for number in (1, 3)}


def test_a_training_is_found_by_the_classifier_that_came_of_it(place: Place) -> None:
    store = place.open()
    inputs = (put(store, kind="model"), put(store, {"r": b""}, kind="rows"))
    parameters = {"epochs": 3, "learning_rate": 1e-3, "hidden": [], "rest": None, "weights": {"ja": 2.0}}
    producer = Producer(task="retrain.train", version=5, parameters=parameters)
    with store.scratch() as folder:
        facts = Facts()
        artifact = store.put("classifier", fill(folder), producer=producer, inputs=inputs, facts=facts)
    classifier = store.manifest(artifact)
    assert training_of(store, classifier) is None
    key = task_key("retrain.train", 5, parameters, inputs)
    note_training(store, task_key("retrain.train", 5, parameters, inputs[:1]), Training(rows=7, seconds=7.0))
    note_training(store, key, Training(rows=120, seconds=1.5))
    assert training_of(place.open(), classifier) == Training(rows=120, seconds=1.5)
    place.overwrite(f"journal/trainings/{key.digest}.json", b"")
    with pytest.raises(CorruptArtifact, match="truncated or changed"):
        training_of(place.open(), classifier)


def test_a_store_in_which_nothing_lies_is_there(in_folder: Place, in_bucket: Place) -> None:
    in_bucket.open().check()
    with pytest.raises(StoreUnavailable, match="No such file"):
        in_folder.open().check()
    put(in_folder.open())
    in_folder.open().check()


def test_a_bucket_that_is_not_there(in_bucket: Place) -> None:
    with pytest.raises(StoreUnavailable, match="no bucket 'nowhere'"):
        Store.open("gs://nowhere/hubtune").check()
