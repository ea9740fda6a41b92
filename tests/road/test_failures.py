"""What goes wrong, done for real: wrong input, bad data, killed runs, damaged files, two runs at once."""

import json
import shutil
from pathlib import Path

import pytest

from hubtune.storage import PublishedModel, Store
from hubtune.storage.artifact import Producer
from schemas.handoff import ReleaseFacts
from tests.road.conftest import ALL_CACHED, TASKS, Finished, Road, digests, states

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["train.epochs=0"], "train.epochs: 0 is not allowed"),
        (["train.nodes=4"], "train.nodes: unknown field"),
        (["name=mine", "data.source=nowhere.csv"], "nowhere.csv"),
        (["name=mine", "data.train=nowhere.csv", "data.test=there.csv"], "nowhere.csv"),
        (["name=mine", "data.source=rows.xlsx"], "rows.xlsx"),
        (["model.source=/no/such/model"], "/no/such/model"),
    ],
)
def test_wrong_input_is_told_before_anything_runs(tmp_path: Path, settings: list[str], told: str) -> None:
    # No Prefect server is reachable here: had anything been started, it would fail in another way.
    road = Road(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    result = road.run("retrain", *arguments)
    assert result.returncode == 2, result.stderr
    assert told in result.stderr
    assert "remedy:" in result.stderr
    assert "Traceback" not in result.stderr
    assert not road.store_folder.exists()

    as_json = road.run("retrain", "--json", *arguments)
    assert as_json.returncode == 2
    assert told in json.loads(as_json.stdout)["error"]["what"]


def test_too_much_bad_data_fails_the_block_with_a_table(finished: Finished, tmp_path: Path) -> None:
    road = finished[0].copy(tmp_path)
    report = road.report("--set", "preprocess.max_quarantine=0.001", status=1)
    assert report["state"] == "Failed"
    assert states(report)["Preprocess rows"] == "Failed"
    assert "Tokenise texts" not in states(report)
    assert report["error"]["type"] == "QuarantineLimitExceeded"
    assert "questions.csv" in report["error"]["what"]
    result = road.run("retrain", "--set", "preprocess.max_quarantine=0.001")
    assert result.returncode == 1
    assert "Preprocess rows failed" in result.stdout
    assert result.stderr.count("retry") == 0  # invalid data is never retried


def test_what_was_finished_before_a_run_was_killed_is_not_done_again(finished: Finished) -> None:
    # That it ends as a run that was not killed is seen beside the runs in a bucket.
    _, completed = finished
    assert states(completed) == ALL_CACHED | {"Publish model": "Completed"}
    assert (completed["version"], completed["promoted"]) == (1, True)


def test_damaged_files_are_found_and_made_again_by_two_runs_at_once(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    for kind, damage in (
        ("rows", "truncated"),
        ("quarantine", "missing"),
        ("tokens", "flipped byte"),
        ("classifier", "missing"),
        ("evaluation", "truncated"),
        ("release", "flipped byte"),
    ):
        _damage_artifact(road, kind, damage)
    one, other = road.reports_at_once()
    whole = (*TASKS[:2], "Embed texts")
    for task in TASKS:
        found = {states(one)[task], states(other)[task]}
        assert found == {"Cached"} if task in whole else "Completed" in found, task
    assert digests(one) == digests(other) == digests(first)
    assert (one["version"], other["version"]) == (1, 1)
    assert states(road.report()) == ALL_CACHED


def test_going_back_to_what_is_known_does_not_hide_a_newer_version(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    store = Store.open(str(road.store_folder))
    model = PublishedModel(store, "insincere-questions")
    with store.scratch() as folder:
        shutil.copytree(model.checkout(1), folder, dirs_exist_ok=True)
        (folder / "manifest.json").unlink()
        (folder / "README.md").write_text("another card")
        producer = Producer(task="test.newer", version=1, parameters={})
        facts = ReleaseFacts(name=model.name, labels=["sincere", "insincere"], engine="onnx", metrics={})
        newer = store.put("release", folder, producer=producer, facts=facts)
    assert model.publish(newer) == 2
    back = road.report()
    assert states(back) == ALL_CACHED
    assert digests(back) == digests(first)
    assert (back["version"], back["promoted"]) == (1, False)


def test_a_damaged_version_is_not_used_and_is_mended(finished: Finished, tmp_path: Path) -> None:
    road = finished[0].copy(tmp_path)
    _damage(road.store_folder / "models" / "insincere-questions" / "1" / "model.onnx", "flipped byte")
    result = road.run("predict", "insincere-questions", "How far is it?")
    assert result.returncode == 1
    assert "model.onnx" in result.stderr
    assert road.report()["version"] == 1
    assert road.run("predict", "insincere-questions", "How far is it?").returncode == 0


def _damage_artifact(road: Road, kind: str, damage: str) -> None:
    """Damage the largest file of the only artifact of a kind."""
    (artifact,) = (road.store_folder / "artifacts" / kind).iterdir()
    _damage(max((path for path in artifact.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size), damage)


def _damage(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-1])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
