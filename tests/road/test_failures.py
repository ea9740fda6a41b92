"""What goes wrong, done for real: wrong input, bad data, killed runs, damaged files, two runs at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.road.conftest import Road, digests, kill_once_it_says, states

pytestmark = pytest.mark.slow

Finished = tuple[Road, dict[str, Any]]


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


def test_a_run_killed_in_every_block_is_completed_by_the_next(finished: Finished, tmp_path: Path) -> None:
    _, undisturbed = finished
    road = Road(tmp_path, finished[0].prefect)
    for task, moment in (
        ("Download model", "Converting the tokenizer"),
        ("Download data", "the store holds no result"),
        ("Preprocess rows", "the store holds no result"),
        ("Train classifier", "epoch 1/"),
        ("Publish model", "SavedModel written"),
    ):
        run = road.start("retrain")
        kill_once_it_says(run, rf"Task run '{task}-\w+' - {moment}")
    report = road.report()
    assert digests(report) == digests(undisturbed)
    assert (report["version"], report["promoted"]) == (1, True)
    assert report["metrics"] == undisturbed["metrics"]
    # What was finished before a kill was not done again.
    assert states(report)["Download model"] == "Cached"
    assert states(report)["Train classifier"] == "Cached"


def test_damaged_files_are_found_and_made_again(finished: Finished, tmp_path: Path) -> None:
    road, undisturbed = finished
    road = road.copy(tmp_path)
    damages = {"rows": "truncated", "embeddings": "flipped byte", "classifier": "missing"}
    damages |= {"evaluation": "truncated", "release": "flipped byte"}
    for kind, damage in damages.items():
        (artifact,) = (road.store_folder / "artifacts" / kind).iterdir()
        largest = max((path for path in artifact.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        _damage(largest, damage)
    report = road.report()
    assert digests(report) == digests(undisturbed)
    made_again = {"Preprocess rows", "Embed texts", "Train classifier", "Evaluate classifier", "Publish model"}
    assert {task for task, state in states(report).items() if state == "Completed"} == made_again
    assert set(states(road.report()).values()) == {"Cached"}


def test_a_damaged_version_is_not_used_and_is_mended(finished: Finished, tmp_path: Path) -> None:
    road = finished[0].copy(tmp_path)
    _damage(road.store_folder / "models" / "insincere-questions" / "1" / "model.onnx", "flipped byte")
    result = road.run("predict", "insincere-questions", "How far is it?")
    assert result.returncode == 1
    assert "model.onnx" in result.stderr
    assert road.report()["version"] == 1
    assert road.run("predict", "insincere-questions", "How far is it?").returncode == 0


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
