"""What people see and press: Prefect's own pages of a real server, in a real browser."""

import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.operate.browser import PROGRAM, Pages, open_browser
from tests.operate.conftest import Json, Stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed (the Debian package is called chromium)"),
]
DEPLOYMENT = "Retrain/on-demand"
# Words that the small model knows, and so can tell apart.
ROWS = "text,label\n" + "".join(
    f"{'abcdefghijkl'[row // 25]} {'abcdefghijklmnopqrstuvwxy'[row % 25]} {'plant' if row % 2 else 'know'},{row % 2}\n"
    for row in range(300)
)
# Long enough for a checkpoint, of which there is one every ten seconds.
LONG = {"mode": "fine_tuning", "max_length": 16, "epochs": 300, "early_stopping_patience": None}


@pytest.fixture(scope="module")
def browser(stage: Stage) -> Iterator[Browser]:
    # After the stage: to prepare that takes an event loop of its own.
    del stage
    with open_browser() as browser:
        yield browser


@pytest.fixture
def pages(browser: Browser, stage: Stage) -> Iterator[Pages]:
    """A window. Whatever a test does in it, nothing leaves this machine."""
    pages = Pages(browser, stage.settings)
    yield pages
    pages.page.close()
    assert pages.hosts <= {"127.0.0.1", ""}, pages.hosts


def test_somebody_fills_in_the_form_reads_why_the_run_failed_and_presses_retry(stage: Stage, pages: Pages) -> None:
    tickets = stage.folder / "tickets.csv"
    before = stage.runs_so_far()
    pages.form(stage.get(f"/deployments/name/{DEPLOYMENT}"))
    pages.field("Model name").fill("Not A Name")
    pages.field("Pretrained model").fill(stage.model["source"])
    pages.field("Preprocessor").fill(stage.model["preprocessor"])
    pages.field("Data source").fill(str(tickets))
    pages.field("Longest input").fill("64")
    pages.field("Epochs").fill("2")

    # What cannot be is refused, with the field and the reason.
    assert pages.press_submit().status == httpx.codes.CONFLICT
    expect(pages.page.get_by_text("Validation failed for field 'recipe.name'").first).to_be_visible()
    pages.field("Model name").fill("tickets")
    pages.field("Epochs").fill("0")
    assert pages.press_submit().status == httpx.codes.CONFLICT
    expect(pages.page.get_by_text("0 is less than the minimum of 1").first).to_be_visible()
    assert stage.runs_so_far() == before
    pages.field("Epochs").fill("2")
    accepted = pages.press_submit()
    assert accepted.status == httpx.codes.CREATED, accepted.text()
    run: Json = accepted.json()
    pages.leave()
    given = run["parameters"]["recipe"]
    assert (given["name"], given["train"]["max_length"], given["train"]["epochs"]) == ("tickets", 64, 2)

    # The file is not there yet.
    assert stage.ended(run)["state"]["type"] == "FAILED"
    pages.run(run, "Details")
    expect(pages.page.get_by_text("Download data: The data file")).to_be_visible()
    assert f"Download data: The data file {tickets} does not exist." in pages.message()
    assert "remedy: Correct the path" in pages.message()

    tickets.write_text(ROWS, encoding="utf-8")
    answer = pages.press_retry()
    assert answer.json()["status"] == "ACCEPT", answer.text()
    pages.leave()
    stage.once(run, lambda read: read["run_count"] == 2)
    ended = stage.ended(run)
    assert ended["state"]["type"] == "COMPLETED", ended["state"]["message"]
    # The page lists no task that only stands for the training on the other pool.
    recorded = stage.tasks_of(run)
    pages.run(run, "Task Runs")
    shown = pages.states()
    assert shown.items() <= recorded.items()
    assert shown.pop("Download model") == "Cached"
    again = ("Download data", "Preprocess rows", "Train on accelerator", "Evaluate classifier", "Publish model")
    assert shown == dict.fromkeys(again, "Completed")


@pytest.mark.timeout(600)
def test_retry_goes_on_within_the_training_that_was_killed(stage: Stage, pages: Pages) -> None:
    words = stage.folder / "words.csv"
    words.write_text(ROWS, encoding="utf-8")
    before = len(stage.trainings())
    recipe = {"name": "words", "model": stage.model, "data": {"source": str(words)}, "train": LONG}
    run = stage.start(DEPLOYMENT, {"recipe": recipe})
    training = stage.training_after(before)
    # The run first: it would ask for another training.
    stage.process_of(run).kill()
    stage.process_of(training).kill()
    for killed in (training, run):
        assert stage.ended(killed)["state"]["type"] == "CRASHED"

    deadline = time.monotonic() + 240
    while (ended := stage.read(run))["state"]["type"] != "COMPLETED":
        assert ended["state"]["type"] in ("CRASHED", "SCHEDULED", "PENDING", "RUNNING"), ended["state"]
        assert time.monotonic() < deadline, (ended["state"], stage.log())
        if ended["state"]["type"] == "CRASHED":
            # Prefect reports a crash twice, and the second time, some seconds later, ends what was retried by then.
            pages.run(run, "Details")
            assert pages.press_retry().json()["status"] == "ACCEPT"
            pages.leave()
        time.sleep(0.5)
    recorded = stage.tasks_of(run)
    pages.run(run, "Task Runs")
    shown = pages.states()
    assert shown.items() <= recorded.items()
    again = ("Train on accelerator", "Evaluate classifier", "Publish model")
    assert {task: shown.pop(task) for task in again} == dict.fromkeys(again, "Completed")
    assert set(shown) >= {"Download model", "Download data", "Preprocess rows"}
    assert set(shown.values()) == {"Cached"}
    *_, last = stage.trainings()
    assert last["id"] != training["id"]
    assert any("going on from a checkpoint" in line for line in stage.said_by(last)), stage.said_by(last)
