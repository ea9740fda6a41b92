"""What `hubtune up` puts on a server, and what it leaves as somebody has made it."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.events.schemas.automations import EventTrigger

from deployments.alerts import alerts
from deployments.automations import ensure_automations, remove_automations, zombies
from deployments.register import register
from deployments.stack import POOLS, make_pools
from tests.operate.conftest import OVER, Stage
from tests.operate.receiver import Receiver, receiving

pytestmark = pytest.mark.slow


def test_what_somebody_changed_in_the_ui_stays(
    client: SyncPrefectClient, server: dict[str, str], tmp_path: Path
) -> None:
    environment = os.environ | server
    make_pools(client)
    make_pools(client)
    assert client.read_work_pool("accelerator").concurrency_limit == POOLS["accelerator"] == 1
    names = register(client, tmp_path, environment)
    assert names == ["on-demand", "nightly", "data-watch", "train-on-accelerator"]
    nightly = client.read_deployment_by_name("Retrain/nightly")
    (schedule,) = nightly.schedules
    assert not schedule.active
    client.update_deployment_schedule(nightly.id, schedule.id, active=True)

    def changed() -> tuple[bool, str]:
        found = client.read_deployment_by_name("Retrain/nightly")
        return found.schedules[0].active, found.parameters["recipe"].get("name", "")

    client.update_deployment(nightly.id, DeploymentUpdate(parameters={"recipe": {"name": "by-hand"}}))
    register(client, tmp_path, environment)
    assert changed() == (True, "by-hand")
    # prefect.yaml is another one than what was registered: what it says holds, but for the switch.
    (tmp_path / "registered").write_text("another")
    register(client, tmp_path, environment)
    assert changed() == (True, "")
    # A nightly run is nothing for the tests that follow.
    (schedule,) = client.read_deployment_by_name("Retrain/nightly").schedules
    client.update_deployment_schedule(nightly.id, schedule.id, active=False)


def test_automations_are_made_once_and_stay_switched_off(client: SyncPrefectClient) -> None:
    (name,) = ensure_automations(client, [zombies()])
    (made,) = client.read_automations_by_name(name)
    client.pause_automation(made.id)
    ensure_automations(client, [zombies(timedelta(seconds=300))])
    (again,) = client.read_automations_by_name(name)
    assert (again.id, again.enabled) == (made.id, False)
    assert isinstance(again.trigger, EventTrigger)
    assert again.trigger.within == timedelta(seconds=300)
    client.delete_automation(made.id)


def test_a_run_that_gives_no_sign_of_life_is_reported_as_crashed_and_told_once(
    client: SyncPrefectClient, stage: Stage
) -> None:
    with receiving() as receiver:
        names = ensure_automations(client, [zombies(timedelta(seconds=40)), *alerts(client, receiver.url)])
        try:
            _lose_a_run(stage, receiver)
        finally:
            remove_automations(client, names)


def _lose_a_run(stage: Stage, receiver: Receiver) -> None:
    before = len(stage.trainings())
    run = stage.start("Retrain/on-demand", {"recipe": stage.recipe(seed=4, epochs=500)})
    # Its first sign of life is on its way when it begins.
    stage.once(run, lambda read: len(stage.trainings()) > before)
    process = stage.process_of(run)
    # As on a machine that hangs: its worker sees a process that has not ended.
    process.suspend()
    crashed = stage.ended(run, 150)
    assert crashed["state"]["type"] == "CRASHED"
    assert "no sign of life for 40 s" in crashed["state"]["message"]
    for training in stage.trainings():
        if training["state"]["type"] not in OVER:
            stage.cancel(training)
    # Now its worker sees it, and reports it too.
    process.kill()
    (message,) = receiver.wait_for(1, quiet=8)
    assert message["subject"] == f"Retrain '{crashed['name']}': Crashed"
    assert "no sign of life for 40 s" in message["body"]
