"""Somebody follows the pages: each command is typed as it stands there, in a home folder that was empty before.

What a page cannot know is put in its place: a free port, an ID, a bucket. The pretrained model is a small one, for
time; and where no server is named, the one of the other tests is used.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.pages import CHECKOUT, FOLLOWED, NOT_RUN, Command, commands, fences
from tests.prefect_server import ask, free_port
from tests.road.conftest import Finished, Road

pytestmark = pytest.mark.slow

# It is on docs/operating.md, for a server that `hubtune up` does not keep. That of the tutorial has the pool too.
LIMIT = Command(".venv/bin/prefect work-pool set-concurrency-limit accelerator 1")

Said = dict[str, str]
"""Command -> what it said."""


@dataclass
class Reader:
    """Whoever follows the pages.

    Args:
        home: its home folder; the checkout in it has links to all that the real one has.
        environment: what is exported.
        model: sections that make recipes use the small model.
        known: what stands on a page -> what the reader knows better, asked when it is needed.
    """

    home: Path
    environment: dict[str, str]
    model: dict[str, Any]
    known: dict[str, Callable[[], str]] = field(default_factory=dict)

    @property
    def checkout(self) -> Path:
        return self.home / "checkout"

    def follow(self, page: str, before: dict[str, Callable[[], None]] | None = None) -> Said:
        """Write a page's files, and type its commands.

        Args:
            page: one of `FOLLOWED`.
            before: what is done before a command, in the UI for instance.

        Returns:
            What each command said.
        """
        assert page in FOLLOWED
        for fence in fences(page):
            if fence.title:
                self.write(fence.title, fence.content)
        said: Said = {}
        for command in commands(page):
            if command.text not in NOT_RUN.get(page, {}):
                for beginning, action in (before or {}).items():
                    if command.text.startswith(beginning):
                        action()
                said[command.text] = self.type(command)
        return said

    def write(self, name: str, content: str) -> None:
        if name.endswith(".yaml"):
            recipe = yaml.safe_load(content)
            recipe["model"] = self.model["model"]
            recipe["train"] = recipe.get("train", {}) | self.model["train"]
            content = yaml.safe_dump(recipe)
        file = self.checkout / name
        file.unlink(missing_ok=True)  # it may be a link to one that somebody has made who follows the tutorial
        file.write_text(content, encoding="utf-8")

    def type(self, command: Command) -> str:
        text = command.text
        for written, meant in self.known.items():
            if written in text:
                text = text.replace(written, meant())
        exported = self.home / "exported"
        # So that what is exported holds for the next command.
        script = f"{text}\nstatus=$?\nenv -0 > {exported}\nexit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.checkout,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == command.status, f"{text}\n{said}"
        self.environment = dict(
            variable.split("=", 1) for variable in exported.read_text(encoding="utf-8").split("\0") if variable
        )
        return said

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = ask(method, f"{self.environment['PREFECT_API_URL']}{path}", **arguments).raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def reader(finished: Finished, prefect_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Reader:
    road, _ = finished
    home = tmp_path_factory.mktemp("reader")
    checkout = home / "checkout"
    checkout.mkdir()
    for path in CHECKOUT.iterdir():
        if path.name not in (".git", ".venv"):
            (checkout / path.name).symlink_to(path)
    (checkout / ".venv").symlink_to(sys.prefix)
    # The small model is in the store already, and the tables of Prefect are in a database: that takes 20 s.
    shutil.copytree(road.store_folder, home / ".hubtune" / "store")
    (home / ".prefect").mkdir()
    shutil.copy(Path(prefect_server["PREFECT_HOME"], "empty.db"), home / ".prefect" / "prefect.db")
    (home / "temporary").mkdir()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "HUBTUNE_"))}
    own = {"HOME": str(home), "TMPDIR": str(home / "temporary"), "PREFECT_API_URL": prefect_server["PREFECT_API_URL"]}
    settings = dict(setting.split("=", 1) for setting in road.settings)
    model = {
        "model": {name: settings[f"model.{name}"] for name in ("source", "preprocessor")},
        "train": {"max_length": int(settings["train.max_length"])},
    }
    return Reader(home, inherited | own | {"DO_NOT_TRACK": "1"}, model)


@pytest.fixture(scope="module")
def tutorial(reader: Reader, prefect_server: dict[str, str]) -> tuple[Said, dict[str, Any]]:
    """What the tutorial's commands said, and what was to be seen in the UI before the last one."""
    port, metrics_port = free_port(), free_port()
    seen: dict[str, Any] = {}
    values = {
        "name": "support-tickets",
        "data": {"source": str(reader.checkout / "tickets.csv"), "text": "body", "label": "queue"},
        "preprocess": {"validation_fraction": 0.2, "test_fraction": 0.2, "exact_shares": True},
    } | reader.model

    def nightly() -> Any:
        return reader.ask("GET", "/deployments/name/Retrain/nightly")

    def fill_in_the_form() -> None:
        seen["runs"] = reader.ask("POST", "/flow_runs/filter", json={"sort": "START_TIME_ASC"})
        seen["tasks"] = reader.ask("POST", "/task_runs/filter", json={})
        body = {"parameters": {"recipe": values}, "enforce_parameter_schema": True}
        reader.ask("PATCH", f"/deployments/{nightly()['id']}", json=body)

    def look_again() -> None:
        seen["nightly"] = nightly()
        reader.ask("PATCH", "/work_pools/accelerator", json={"concurrency_limit": 5})
        reader.type(LIMIT)
        seen["accelerator"] = reader.ask("GET", "/work_pools/accelerator")

    reader.known = {
        "hubtune up --detach": lambda: f"hubtune up --detach --port {port} --metrics-port {metrics_port}",
        "127.0.0.1:4200": lambda: f"127.0.0.1:{port}",
        '{"recipe": {': lambda: '{"recipe": {' + json.dumps(reader.model)[1:-1] + ", ",
        "nightly ID": lambda: f"nightly {nightly()['schedules'][0]['id']}",
    }
    try:
        said = reader.follow(
            "docs/tutorial.md",
            before={
                ".venv/bin/prefect deployment schedule ls": fill_in_the_form,
                ".venv/bin/hubtune down": look_again,
            },
        )
    finally:
        # Wherever it ended, nothing is left running.
        down = [str(Path(sys.prefix) / "bin" / "hubtune"), "down"]
        left = subprocess.run(down, env=reader.environment, capture_output=True, text=True, timeout=120, check=False)
    assert "Nothing was up" in left.stdout, left.stdout + left.stderr
    reader.environment["PREFECT_API_URL"] = prefect_server["PREFECT_API_URL"]
    reader.known = {}
    return said, seen


def of(said: Said, beginning: str) -> str:
    """What the first command said that begins so."""
    return next(what for command, what in said.items() if command.startswith(beginning))


def test_the_tutorial_ends_with_a_schedule_that_is_switched_on(tutorial: tuple[Said, dict[str, Any]]) -> None:
    said, seen = tutorial
    retrained = of(said, ".venv/bin/hubtune retrain")
    assert "version 1 of support-tickets, the newest" in retrained
    assert "report on rows" in retrained
    assert "how good it is" in retrained
    predicted = of(said, ".venv/bin/hubtune predict")
    assert "billing" in predicted or "technical" in predicted
    assert "version 1 came from" in of(said, ".venv/bin/hubtune models")
    assert "worker accelerator" in of(said, ".venv/bin/hubtune up")
    # The run on the server finds all that the command line has made; the file has another name there.
    (run,) = (run for run in seen["runs"] if run["flow_id"] and run["deployment_id"])
    assert run["state"]["type"] == "COMPLETED", run["state"]
    tasks = {task["name"].rpartition("-")[0]: task["state_name"] for task in seen["tasks"]}
    assert tasks == dict.fromkeys(tasks, "Cached") | {"Download data": "Completed"}
    assert "Train on accelerator" in tasks
    assert seen["nightly"]["schedules"][0]["active"] is True
    assert seen["nightly"]["parameters"]["recipe"]["name"] == "support-tickets"
    assert "All of it is stopped" in of(said, ".venv/bin/hubtune down")


def test_the_limit_of_a_pool_is_set(tutorial: tuple[Said, dict[str, Any]]) -> None:
    assert LIMIT in commands("docs/operating.md")
    assert tutorial[1]["accelerator"]["concurrency_limit"] == 1


def test_the_contract_changes_nothing_about_the_tickets(reader: Reader, tutorial: tuple[Said, dict[str, Any]]) -> None:
    (said,) = reader.follow("docs/how-to/own-contract.md").values()
    assert said.count("Cached") >= 7
    assert "version 1 of support-tickets" in said


def test_a_failed_step_is_found(
    reader: Reader, tutorial: tuple[Said, dict[str, Any]], prefect_server: dict[str, str]
) -> None:
    url = prefect_server["PREFECT_API_URL"]

    def failed() -> str:
        wanted = {"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}, "sort": "START_TIME_DESC", "limit": 1}
        (run,) = reader.ask("POST", "/flow_runs/filter", json=wanted)
        return str(run["id"])

    # The page says where the server is.
    del reader.environment["PREFECT_API_URL"]
    reader.known = {
        "logs ID": lambda: f"logs {failed()}",
        "127.0.0.1:4200": lambda: url.removeprefix("http://").removesuffix("/api"),
    }
    try:
        said = reader.follow("docs/how-to/failed-step.md")
    finally:
        reader.known = {}
        reader.environment["PREFECT_API_URL"] = url
        authorization = reader.environment.pop("PREFECT_API_AUTH_STRING", None)
    assert authorization == "user:password"
    told = of(said, ".venv/bin/hubtune retrain recipe.yaml --set")
    assert "Preprocess rows failed" in told
    assert "tickets.csv, row" in told
    assert "support-tickets" in of(said, ".venv/bin/prefect flow-run ls")
    assert "Preprocess rows" in of(said, ".venv/bin/prefect flow-run logs")
    refreshed = of(said, ".venv/bin/hubtune retrain recipe.yaml --refresh")
    assert re.search(r"Preprocess rows +│ Completed", refreshed), refreshed
    assert refreshed.count("│ Cached") == 7, refreshed


@pytest.fixture(scope="module")
def readme(reader: Reader, tutorial: tuple[Said, dict[str, Any]]) -> Said:
    # Its tickets are more than the tutorial's forty: they are split by chance.
    (tickets,) = (fence.content for fence in fences("docs/tutorial.md") if fence.title == "tickets.csv")
    header, *rows = tickets.splitlines()
    more = [f"{number} times: {row}" for number in range(5) for row in rows[:40]]
    (reader.checkout / "tickets.csv").write_text("\n".join([header, *more]) + "\n", encoding="utf-8")
    return reader.follow("README.md")


def test_the_readme_publishes_a_second_version_and_loads_it(reader: Reader, readme: Said) -> None:
    assert "version 2 of support-tickets, the newest" in of(readme, ".venv/bin/hubtune retrain")
    assert "My invoice is wrong." in of(readme, ".venv/bin/hubtune predict")
    (program,) = (fence.content for fence in fences("README.md") if fence.language == "python")
    shown = program.replace("Classifier.load", "answers = Classifier.load") + "print(answers[0].label)"
    done = subprocess.run(
        [str(reader.checkout / ".venv" / "bin" / "python"), "-c", shown],
        env=reader.environment,
        cwd=reader.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() in ("billing", "technical"), done.stderr


def test_an_earlier_version_is_used_again(reader: Reader, readme: Said) -> None:
    listed = [".venv/bin/hubtune models support-tickets", '.venv/bin/hubtune predict support-tickets "And now?"']
    assert "version 2 came from" in readme[listed[0]]
    said = reader.follow("docs/how-to/rollback.md")
    assert "The app shows a wrong bill." in of(said, ".venv/bin/hubtune predict")
    shown = reader.type(Command(listed[0]))
    assert "version 1 came from" in shown
    assert "version 2 came from" not in shown
    assert "And now?" in reader.type(Command(listed[1]))


def test_a_bucket_answers(reader: Reader, at_once: tuple[Road, list[dict[str, Any]]]) -> None:
    road, _ = at_once
    reader.environment |= road.extra
    reader.known = {"gs://bucket/prefix": lambda: road.store}
    said = reader.follow("docs/how-to/gcs.md")
    reader.known = {}
    del reader.environment["HUBTUNE_STORE"]
    assert f"store: {road.store}" in of(said, ".venv/bin/hubtune models")
