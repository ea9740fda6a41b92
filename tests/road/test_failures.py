"""What goes wrong, done for real: wrong input, bad data, killed runs, damaged files, two runs at once."""

import json
from pathlib import Path
from typing import Any

import pytest

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


def test_runs_killed_in_every_block_end_as_one_that_was_not(finished: Finished, at_once: list[dict[str, Any]]) -> None:
    _, completed = finished
    # What was finished before a kill was not done again.
    assert states(completed) == ALL_CACHED | {"Publish model": "Completed"}
    assert (completed["version"], completed["promoted"]) == (1, True)
    assert digests(completed) == digests(at_once[0])
    assert completed["metrics"] == at_once[0]["metrics"]


def test_damaged_files_are_found_and_made_again(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    for kind, damage in (("rows", "truncated"), ("quarantine", "missing"), ("tokens", "flipped byte")):
        _damage_artifact(road, kind, damage)
    other = road.report("--set", "train.hidden=[32]")
    assert states(other) == dict.fromkeys(TASKS, "Completed") | dict.fromkeys([*TASKS[:2], "Embed texts"], "Cached")
    assert digests(other)["preprocess"] == digests(first)["preprocess"]
    assert (other["version"], other["promoted"]) == (2, True)

    # Going back to the first recipe is known, and does not hide that a newer version is there.
    for kind, block, damage in (
        ("classifier", "retrain", "missing"),
        ("evaluation", "evaluation", "truncated"),
        ("release", "publish", "flipped byte"),
    ):
        _damage_artifact(road, kind, damage, digests(first)[block])
    back = road.report()
    made_again = ("Train classifier", "Evaluate classifier", "Publish model")
    assert states(back) == ALL_CACHED | dict.fromkeys(made_again, "Completed")
    assert digests(back) == digests(first)
    assert (back["version"], back["promoted"]) == (1, False)
    assert states(road.report()) == ALL_CACHED


def test_a_damaged_version_is_not_used_and_is_mended(finished: Finished, tmp_path: Path) -> None:
    road = finished[0].copy(tmp_path)
    _damage(road.store_folder / "models" / "insincere-questions" / "1" / "model.onnx", "flipped byte")
    result = road.run("predict", "insincere-questions", "How far is it?")
    assert result.returncode == 1
    assert "model.onnx" in result.stderr
    assert road.report()["version"] == 1
    assert road.run("predict", "insincere-questions", "How far is it?").returncode == 0


def _damage_artifact(road: Road, kind: str, damage: str, digest: str = "*") -> None:
    """Damage the largest file of an artifact; of the only one of its kind, if no digest is given."""
    (artifact,) = (road.store_folder / "artifacts" / kind).glob(digest)
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
