"""Block 4 on the accelerator pool: one training, whatever becomes of those who ask for it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hubtune.storage.artifact import Artifact
from schemas.train_recipe import TrainRecipe
from tests.operate.conftest import Json, Stage

pytestmark = pytest.mark.slow
HUBTUNE = str(Path(sys.executable).parent / "hubtune")
# Long enough for a checkpoint, of which there is one every ten seconds.
LONG = {"epochs": 150, "early_stopping_patience": None}


def ask(stage: Stage, **train: object) -> "subprocess.Popen[str]":
    """A run that asks for a training from a command line."""
    settings = [f"model.{field}={value}" for field, value in stage.model.items()]
    settings += [
        f"train.{field}={'null' if value is None else value}" for field, value in stage.recipe(**train)["train"].items()
    ]
    command = [HUBTUNE, "retrain", "--json", *(part for setting in settings for part in ("--set", setting))]
    environment = os.environ | stage.settings
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_worker_of_the_pool_trains_and_the_run_goes_on_with_what_it_made(stage: Stage) -> None:
    before = len(stage.trainings())
    run = stage.ended(stage.start("Retrain/on-demand", {"recipe": stage.recipe()}))
    assert run["state"]["name"] == "Completed", run["state"]
    (training,) = stage.trainings()[before:]
    assert training["state"]["name"] == "Completed"
    assert training["name"] == "insincere-questions, fine_tuning"
    assert training["work_pool_name"] == "accelerator"
    assert stage.tasks_of(training) == {"Tokenise texts": "Completed", "Train classifier": "Completed"}
    tasks = stage.tasks_of(run)
    assert tasks["Train on accelerator"] == tasks["Publish model"] == "Completed"
    assert not {"Tokenise texts", "Train classifier"} & set(tasks)
    # The recipe leaves the learning rate to the model, which is eight wide.
    assert training["parameters"]["recipe"]["learning_rate"] == 1e-4
    releases = (stage.folder / "store" / "artifacts" / "release").glob("*/recipe.yaml")
    published = max(releases, key=lambda path: path.stat().st_mtime)
    assert yaml.safe_load(published.read_text(encoding="utf-8"))["train"]["learning_rate"] == 1e-4
    # The page of the run shows the training as a part of it.
    assert stage.get(f"/task_runs/{training['parent_task_run_id']}")["flow_run_id"] == run["id"]

    again = stage.ended(stage.start("Retrain/on-demand", {"recipe": stage.recipe()}))
    assert set(stage.tasks_of(again).values()) == {"Cached"}
    assert len(stage.trainings()) == before + 1


def test_two_that_ask_get_one_training_though_one_of_them_and_the_training_are_killed(stage: Stage) -> None:
    before = len(stage.trainings())
    killed, other = ask(stage, seed=1, **LONG), ask(stage, seed=1, **LONG)
    training = stage.training_after(before)
    assert len(stage.trainings()) == before + 1
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    again = ask(stage, seed=1, **LONG)
    stage.process_of(training).kill()
    for run in (other, again):
        out, err = run.communicate(timeout=240)
        assert run.returncode == 0, out + err
    died, second = stage.trainings()[before:]
    assert died["id"] == training["id"]
    assert died["state"]["type"] == "CRASHED"
    assert second["state"]["name"] == "Completed"
    assert any("going on from a checkpoint" in line for line in stage.said_by(second)), stage.said_by(second)


def test_the_message_of_a_failed_training_is_that_of_the_run_and_retry_asks_again(stage: Stage) -> None:
    before = len(stage.trainings())
    # The model has two layers.
    recipe = stage.recipe() | {"train": {"mode": "layer_extraction", "layers": [9], "max_length": 16}}
    run = stage.ended(stage.start("Retrain/on-demand", {"recipe": recipe}))
    (training,) = stage.trainings()[before:]
    assert training["state"]["type"] == run["state"]["type"] == "FAILED"
    message = run["state"]["message"]
    assert message.startswith(f"Train on accelerator: {training['state']['message']}")
    assert "layers" in message.splitlines()[0]
    assert training["id"] in message
    stage.retry(run)
    stage.once(run, lambda read: read["run_count"] == 2)
    stage.ended(run)
    first, second = stage.trainings()[before:]
    assert first["id"] == training["id"]
    assert second["state"]["message"] == training["state"]["message"]


def test_cancelling_the_run_cancels_its_training_and_who_else_waits_asks_again(stage: Stage) -> None:
    before = len(stage.trainings())
    run = stage.start("Retrain/on-demand", {"recipe": stage.recipe(seed=3, **LONG)})
    training = stage.training_after(before)
    other = ask(stage, seed=3, **LONG)
    assert other.stderr is not None
    assert any("has been asked for already" in line for line in other.stderr)
    process = stage.process_of(training)
    stage.cancel(run)
    assert stage.ended(run)["state"]["type"] == "CANCELLED"
    assert stage.ended(training)["state"]["type"] == "CANCELLED"
    assert not process.is_running()
    out, err = other.communicate(timeout=240)
    assert other.returncode == 0, out + err
    assert stage.trainings()[before + 1]["state"]["name"] == "Completed"


def test_a_worker_with_another_store_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flows.train import train

    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path))
    elsewhere = Artifact(kind="model", digest="0" * 64, uri="gs://models/hubtune/artifacts/model/0")
    state: Json = train.fn(elsewhere, elsewhere, TrainRecipe.model_validate({})).model_dump()
    assert state["type"].value == "FAILED"
    assert "another store" in state["message"]
    assert "gs://models/hubtune" in state["message"]
