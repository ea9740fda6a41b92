"""Messages to whoever is on duty, as a webhook gets them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.alerts import NAMES, alerts
from deployments.automations import ensure_automations, remove_automations
from hubtune.errors import InvalidRecipe
from tests.operate.conftest import Json, Stage

pytestmark = pytest.mark.slow


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[Json] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/T0KEN"

    def wait_for(self, count: int, seconds: float = 60) -> list[Json]:
        """So many messages; those that follow within three seconds are too many."""
        deadline = time.monotonic() + seconds
        while len(self.messages) < count:
            assert time.monotonic() < deadline, self.messages
            time.sleep(0.2)
        time.sleep(3)
        return self.messages


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


def test_one_message_for_each_run_that_fails_and_for_each_new_version(client: SyncPrefectClient, stage: Stage) -> None:
    with receiving() as receiver:
        for _ in range(2):
            assert ensure_automations(client, alerts(client, receiver.url)) == list(NAMES)
        try:
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
        finally:
            remove_automations(client, NAMES)
        assert not any(client.read_automations_by_name(name) for name in NAMES)
        # The address is a secret: neither the server's answers nor the automations show it.
        assert "T0KEN" not in json.dumps(stage.post("/block_documents/filter", {}))


@pytest.mark.parametrize("target", ["ops@example.org", "slack-webhook/nobody"])
def test_a_target_that_is_none_is_told(client: SyncPrefectClient, target: str) -> None:
    with pytest.raises(InvalidRecipe, match="HUBTUNE_ALERTS"):
        alerts(client, target)
