"""The default recipe from nothing, and what is not done again afterwards."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from hubtune.storage import Artifact, PublishedModel, Store
from hubtune.storage.journal import Publication, last_success, publications
from schemas.handoff import ReleaseFacts
from schemas.recipe import Recipe
from tasks.retrain.task import block_key
from tests.http_server import body, running
from tests.road.conftest import ALL_CACHED, TASKS, Finished, Road, digests, kill_once_it_says, states

pytestmark = pytest.mark.slow


def test_a_first_run_publishes_a_good_model(default: Finished) -> None:
    _, report = default
    assert states(report) == dict.fromkeys(TASKS, "Completed")
    assert (report["state"], report["model"], report["version"]) == ("Completed", "insincere-questions", 1)
    assert report["promoted"] is True
    blocks = [
        "download_model",
        "download_data",
        "preprocess",
        "quarantine",
        "retrain",
        "evaluation",
        "tensorboard",
        "publish",
    ]
    assert list(report["artifacts"]) == blocks
    # Always saying "sincere" would give an accuracy of 0.66 and a macro-F1 of 0.40.
    assert report["metrics"]["test"]["accuracy"] > 0.70
    assert report["metrics"]["test"]["macro_f1"] > 0.65


def test_what_was_trained_here_is_not_asked_for_on_an_accelerator(default: Finished) -> None:
    road, report = default
    store, found = Store.open(str(road.store_folder)), digests(report)
    model, rows = (
        store.find(kind, found[block]) for kind, block in (("model", "download_model"), ("rows", "preprocess"))
    )
    assert model is not None
    assert rows is not None
    known = store.recall(block_key(model, rows, Recipe.model_validate({}).train))
    assert known is not None
    assert known["classifier"].digest == found["retrain"]


def test_a_run_leaves_nothing_in_the_folder_for_temporary_files(default: Finished) -> None:
    assert list(default[0].temporary.iterdir()) == []


def test_an_unchanged_run_does_nothing_and_says_so(default: Finished) -> None:
    road, first = default
    result = road.run("retrain")
    assert result.returncode == 0, result.stderr
    assert "Nothing was run again" in result.stdout
    assert "A few rows of the test split" not in result.stdout
    refreshed = road.run("retrain", "--refresh", "download_data")
    assert "Nothing was run again" not in refreshed.stdout
    assert "A few rows of the test split" in refreshed.stdout
    assert f"{first['artifacts']['evaluation']}/report.html" in refreshed.stdout
    again = road.report()
    assert states(again) == ALL_CACHED
    assert (again["artifacts"], again["version"], again["metrics"]) == (
        first["artifacts"],
        first["version"],
        first["metrics"],
    )
    # It ended well all the same, and whoever watches can tell.
    noted = last_success(Store.open(str(road.store_folder)), again["model"])
    assert noted is not None
    assert (noted.run, noted.version) == (again["run"], again["version"])
    assert (noted.rows, noted.quarantine) == (digests(again)["preprocess"], digests(again)["quarantine"])


def test_a_run_that_cannot_be_noted_for_those_who_watch_ends_well(finished: Finished, tmp_path: Path) -> None:
    road = finished[0].copy(tmp_path)
    shutil.rmtree(road.store_folder / "journal")
    (road.store_folder / "journal").write_text("in the way")
    result = road.run("retrain")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "could not be noted for `hubtune metrics`" in result.stdout + result.stderr


def test_a_run_is_found_by_its_tag_and_its_tasks_wait_for_no_slot(finished: Finished) -> None:
    road, report = finished
    run = {"flow_runs": {"id": {"any_": [report["run"]]}}}
    (flow_run,) = _ask(road, "flow_runs", run)
    assert (flow_run["name"], flow_run["tags"]) == ("insincere-questions, feature_extraction", ["retraining"])
    tasks = _ask(road, "task_runs", run)
    assert {task["name"].rpartition("-")[0] for task in tasks} == set(TASKS)
    # Each tag of a task costs a request for a concurrency slot, which a busy server answers seconds later.
    assert all(task["tags"] == [] for task in tasks)


def test_one_report_tells_what_came_of_the_run(default: Finished) -> None:
    road, report = default
    (shown,) = _shown(road, report, "evaluation-insincere-questions")
    macro_f1 = report["metrics"]["test"]["macro_f1"]
    said = f"version 1 published: test macro-F1 {macro_f1:.3f}"
    assert shown["data"].startswith("# insincere-questions, version 1\n")
    assert f"**V{said[1:]}.**" in shown["data"]
    assert shown["data"].endswith((Path(report["artifacts"]["evaluation"]) / "report.md").read_text(encoding="utf-8"))
    # There is no version before it.
    assert "Beside version" not in shown["data"]
    assert "over time" not in shown["data"]
    assert shown["description"] == f"insincere-questions: {said}"
    (rows,) = _shown(road, report, "data-report-insincere-questions")
    assert f"[the rows of this run](<{_ui(road)}/artifacts/artifact/{rows['id']}>)" in shown["data"]
    (run,) = _ask(road, "flow_runs", {"flow_runs": {"id": {"any_": [report["run"]]}}})
    assert (run["state"]["name"], run["state"]["message"]) == ("Completed", said)


def test_a_run_in_which_all_is_cached_shows_the_report_and_the_version_before(
    finished: Finished, tmp_path: Path
) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    # As if the run before had published other files: those of this recipe are the second version then.
    store = Store.open(str(road.store_folder))
    model = PublishedModel(store, first["model"])
    (release,) = store.manifests("release", [digests(first)["publish"]]).values()
    assert release is not None
    with store.scratch() as folder:
        (folder / "other").write_text("other")
        facts = ReleaseFacts.model_validate(release.facts)
        inputs = [
            Artifact(kind=each.partition("/")[0], digest=each.partition("/")[2], uri="") for each in release.inputs
        ]
        other = store.put("release", folder, producer=release.producer, inputs=inputs, facts=facts)
    shutil.rmtree(road.store_folder / "models")
    assert model.publish(other) == 1
    assert publications(store, model.name, [1]) == {1: Publication(run=first["run"])}

    again = road.report()
    assert states(again) == ALL_CACHED | {"Publish model": "Completed"}
    (before,) = _shown(road, first, "evaluation-insincere-questions")
    (shown,) = _shown(road, again, "evaluation-insincere-questions")
    macro_f1 = f"{first['metrics']['test']['macro_f1']:.3f}"
    said = f"version 2 published: test macro-F1 {macro_f1}, {macro_f1} before"
    assert f"**V{said[1:]}.**" in shown["data"]
    assert "## Beside version 1 of " in shown["data"]
    assert f"| macro-F1, test | {macro_f1} | {macro_f1} | +0.000 |" in shown["data"]
    assert "![Accuracy and macro-F1 of all versions" in shown["data"]
    for link in (
        f"[report on version 1](<{_ui(road)}/artifacts/artifact/{before['id']}>)",
        f"[run that published version 1](<{_ui(road)}/runs/flow-run/{first['run']}>)",
        f"[all reports on this model](<{_ui(road)}/artifacts/key/evaluation-insincere-questions>)",
    ):
        assert link in shown["data"]
    evaluation = (Path(again["artifacts"]["evaluation"]) / "report.md").read_text(encoding="utf-8")
    assert shown["data"].endswith(evaluation)

    last = road.report()
    assert states(last) == ALL_CACHED
    (shown,) = _shown(road, last, "evaluation-insincere-questions")
    said = said.replace("version 2 published", "already published as version 2")
    assert f"**A{said[1:]}.**" in shown["data"]
    assert f"[run that published version 2](<{_ui(road)}/runs/flow-run/{again['run']}>)" in shown["data"]
    assert shown["data"].endswith(evaluation)
    (run,) = _ask(road, "flow_runs", {"flow_runs": {"id": {"any_": [last["run"]]}}})
    assert run["state"]["message"] == said


@pytest.mark.parametrize(
    ("setting", "executed"), [("train.hidden=[32]", TASKS[5:6]), ("evaluate.threshold_metric=mcc", TASKS[6:])]
)
def test_what_comes_before_a_change_is_not_done_again(
    finished: Finished, tmp_path: Path, setting: str, executed: list[str]
) -> None:
    run = finished[0].copy(tmp_path).start("retrain", "--set", setting)
    # What is to be seen is over by then: the rest is done as in any run.
    said = kill_once_it_says(run, rf"Task run '{executed[-1]}-\w+' - the store holds no result")
    assert re.findall(r"Task run '([\w ]+)-\w+' - the store holds no result", said) == executed


def _shown(road: Road, report: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The artifacts of a run under a key."""
    of_run = {"artifacts": {"key": {"any_": [key]}}, "flow_runs": {"id": {"any_": [report["run"]]}}}
    return _ask(road, "artifacts", of_run)


def _ui(road: Road) -> str:
    return road.prefect["PREFECT_API_URL"].removesuffix("/api")


def _ask(road: Road, what: str, filters: dict[str, Any]) -> list[dict[str, Any]]:
    answer = httpx.post(f"{road.prefect['PREFECT_API_URL']}/{what}/filter", json=filters)
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found


def test_the_memory_outlives_the_prefect_database(finished: Finished, another_database: dict[str, str]) -> None:
    road, _ = finished
    alone = Road(road.folder, another_database, road.settings)
    assert states(alone.report()) == ALL_CACHED


def test_identical_data_from_another_place_costs_nothing_downstream(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    checkout = Path(__file__).parents[2]
    with running() as server:
        content = (checkout / "examples" / "questions.csv").read_bytes()
        server.answers["/elsewhere/questions.csv"] = [body(content, ETag='"v1"')]
        address = server.address("/elsewhere/questions.csv")
        settings = [f"data.source={address}", "data.labels={0: sincere, 1: insincere}", "name=insincere-questions"]
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        report = road.report(*arguments)
        assert states(report) == ALL_CACHED | {"Download data": "Completed"}
        assert digests(report) == digests(first)
        # The server says that nothing has changed.
        assert states(road.report(*arguments)) == ALL_CACHED


def test_a_refreshed_block_runs_again_to_the_same_digests(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    report = road.copy(tmp_path).report("--refresh", "download_data", "--refresh", "preprocess")
    assert states(report) == ALL_CACHED | {"Download data": "Completed", "Preprocess rows": "Completed"}
    assert digests(report) == digests(first)


def test_every_task_of_a_refreshed_block_runs_again(finished: Finished, tmp_path: Path) -> None:
    run = finished[0].copy(tmp_path).start("retrain", "--refresh", "retrain")
    # What comes of it is seen where files are damaged.
    said = kill_once_it_says(run, r"Task run 'Train classifier-\w+' - asked to run again")
    # Embedding is asked twice: which texts it is to embed, and to embed them.
    asked = re.findall(r"Task run '([\w ]+)-\w+' - asked to run again", said)
    assert list(dict.fromkeys(asked)) == TASKS[3:6]


def test_predictions_come_from_the_published_files(default: Finished) -> None:
    road, _ = default
    texts = ["Which bus goes to the station on Sundays?", "Isn't it obvious that nobody with taste likes this band?"]
    result = road.run("predict", "insincere-questions", *texts, "--json")
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    assert [answer["text"] for answer in answers] == texts
    for answer in answers:
        assert set(answer["probabilities"]) == {"sincere", "insincere"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].__getitem__)


def test_files_go_through_predict(finished: Finished, tmp_path: Path) -> None:
    road, _ = finished
    (tmp_path / "in.jsonl").write_text('{"text": "How deep is the lake?"}\n{"text": ""}\n', encoding="utf-8")
    result = road.run(
        "predict", "insincere-questions", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.csv")
    )
    assert result.returncode == 0, result.stderr
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "text,label,probability_sincere,probability_insincere"
    assert len(lines) == 3


def test_the_models_are_listed(finished: Finished) -> None:
    road, report = finished
    listing = json.loads(road.run("models", "insincere-questions", "--json").stdout)
    (version,) = listing["models"]["insincere-questions"]
    assert version["version"] == 1
    assert version["metrics"]["test"]["accuracy"] == report["metrics"]["test"]["accuracy"]
    lineage = " ".join(version["lineage"])
    for block in ("download_model", "download_data", "preprocess", "retrain"):
        assert digests(report)[block] in lineage
