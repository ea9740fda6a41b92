"""Messages to whoever is on duty, as a webhook gets them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate

from deployments.alerts import NAMES, alerts
from deployments.automations import ensure_automations, remove_automations, zombies
from deployments.stack import automate
from hubtune.errors import InvalidRecipe
from tests.operate.conftest import Stage
from tests.operate.receiver import TOKEN, Receiver, receiving

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver(client: SyncPrefectClient) -> Iterator[Receiver]:
    with receiving() as receiver:
        for _ in range(2):
            assert ensure_automations(client, alerts(client, receiver.url)) == list(NAMES)
        try:
            yield receiver
        finally:
            remove_automations(client, NAMES)
        assert not any(client.read_automations_by_name(name) for name in NAMES)


def test_one_message_for_each_run_that_fails_and_for_each_new_version(stage: Stage, receiver: Receiver) -> None:
    bad = stage.recipe() | {"train": {"mode": "layer_extraction", "layers": [9], "max_length": 16}}
    run = stage.ended(stage.start("Retrain/on-demand", {"recipe": bad}))
    (message,) = receiver.wait_for(1)
    assert message["subject"] == f"Retrain '{run['name']}': Failed"
    assert message["body"].startswith("Train on accelerator: Train classifier: ")
    assert message["body"].splitlines()[-1].endswith(f"/runs/flow-run/{run['id']}")
    assert message["text"] == f"{message['subject']}\n{message['body']}"

    good = stage.recipe(epochs=1, seed=5) | {"name": "told"}
    run = stage.ended(stage.start("Retrain/on-demand", {"recipe": good}))
    assert run["state"]["type"] == "COMPLETED", run["state"]
    _, message = receiver.wait_for(2)
    assert message["subject"] == "Version 1 of told is published"
    assert message["body"].startswith("Test accuracy 0.")
    assert message["body"].splitlines()[-1].endswith(f"/runs/flow-run/{run['id']}")

    again = stage.ended(stage.start("Retrain/on-demand", {"recipe": good}))
    assert again["state"]["type"] == "COMPLETED"
    assert len(receiver.wait_for(2)) == 2
    # The address is a secret: neither the server's answers nor the automations show it.
    assert TOKEN not in json.dumps(stage.post("/block_documents/filter", {}))


def test_one_message_for_a_run_that_no_worker_takes(
    client: SyncPrefectClient, stage: Stage, receiver: Receiver
) -> None:
    client.update_work_pool("default", WorkPoolUpdate(is_paused=True))
    try:
        run = stage.start("Retrain/on-demand", {"recipe": stage.recipe()})
        (message,) = receiver.wait_for(1, quiet=8)
        assert stage.read(run)["state"]["name"] == "Late"
        client.delete_flow_run(run["id"])
    finally:
        client.update_work_pool("default", WorkPoolUpdate(is_paused=False))
    assert message["subject"] == f"Retrain '{run['name']}' is late"
    assert "no worker has taken it" in message["body"]
    assert message["body"].splitlines()[-1].endswith(f"/runs/flow-run/{run['id']}")


def test_one_message_for_a_run_that_crashes(stage: Stage, receiver: Receiver) -> None:
    run = stage.start("Retrain/on-demand", {"recipe": stage.recipe(seed=6)})
    stage.once(run, lambda read: read["state"]["type"] == "RUNNING")
    stage.process_of(run).kill()
    crashed = stage.ended(run)
    assert crashed["state"]["type"] == "CRASHED"
    # Two parts of Prefect's worker report it, some seconds apart.
    (message,) = receiver.wait_for(1, quiet=8)
    assert message["subject"] == f"Retrain '{crashed['name']}': Crashed"
    assert "SIGKILL" in message["body"]
    assert message["body"].splitlines()[-1].endswith(f"/runs/flow-run/{run['id']}")


def test_one_message_for_data_that_comes_near_the_limit_and_none_the_next_night(
    stage: Stage, receiver: Receiver, tmp_path: Path
) -> None:
    good = [f"Is {number} {'even' if number % 2 else 'odd'}?,{number % 2}" for number in range(300)]
    data = tmp_path / "rows.csv"

    def watched(bad: list[str]) -> str:
        """A look at the data, which starts no retraining."""
        data.write_text("\n".join(["text,label", *good, *bad]) + "\n", encoding="utf-8")
        recipe = {"name": "near", "data": {"source": str(data)}}
        run = stage.ended(stage.start("Watch data/data-watch", {"recipe": recipe, "min_new_rows": 10_000}))
        assert run["state"]["type"] == "COMPLETED", run["state"]
        return str(run["id"])

    few, many = ["nothing,"] * 2, ["nothing,"] * 6 + [",1"] * 4
    watched(few)
    run = watched(many)
    (message,) = receiver.wait_for(1)
    assert message["subject"].startswith("Watch data 'near")
    assert message["subject"].endswith(": much of the data is in quarantine")
    told, where, link = message["body"].splitlines()
    assert told == (
        "Preprocess rows: 10 of 310 rows are in quarantine (3.23%), and preprocess.max_quarantine allows 5.00%: "
        "missing label 1.94% (6), null text 1.29% (4)"
    )
    assert where.endswith("/report.html")
    assert link.endswith(f"/runs/flow-run/{run}")
    watched(many)
    assert len(receiver.wait_for(1)) == 1


def test_a_block_that_is_there_is_told_by_its_type_and_name(client: SyncPrefectClient, stage: Stage) -> None:
    with receiving() as receiver:
        block = CustomWebhookNotificationBlock(
            name="ops", url=receiver.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        block.save("ops-on-duty")
        ensure_automations(client, alerts(client, "custom-webhook/ops-on-duty"))
        try:
            bad = stage.recipe() | {"train": {"mode": "layer_extraction", "layers": [9], "max_length": 16}}
            run = stage.ended(stage.start("Retrain/on-demand", {"recipe": bad}))
            (message,) = receiver.wait_for(1)
        finally:
            remove_automations(client, NAMES)
    assert message["subject"] == f"Retrain '{run['name']}': Failed"


def test_messages_of_others_stay_where_they_use_the_database_too(client: SyncPrefectClient, receiver: Receiver) -> None:
    try:
        assert automate(client, None, shared=True) == [zombies().name]
        assert all(client.read_automations_by_name(name) for name in NAMES)
        assert automate(client, None, shared=False) == [zombies().name]
        assert not any(client.read_automations_by_name(name) for name in NAMES)
    finally:
        remove_automations(client, [zombies().name])


@pytest.mark.parametrize("target", ["ops@example.org", "slack-webhook/nobody"])
def test_a_target_that_is_none_is_told(client: SyncPrefectClient, target: str) -> None:
    with pytest.raises(InvalidRecipe, match="HUBTUNE_ALERTS"):
        alerts(client, target)
