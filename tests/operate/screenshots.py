"""Makes the pictures of docs/images anew, from a real server, real runs and a real browser.

`python -m tests.operate.screenshots` takes some minutes. The tickets in them are invented here.
"""

import tempfile
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser

from tests.operate.browser import Pages, open_browser
from tests.operate.conftest import CHECKOUT, Json, Stage, set_stage
from tests.prefect_server import running_server

IMAGES = CHECKOUT / "docs" / "images"
DEPLOYMENT = "Retrain/on-demand"
# The pages have their menu to the left of this.
_MENU = 256
_WIDTH = 1240
_GREETINGS = ("", "Hello, ", "Good morning, ", "Once more: ", "Please help: ", "To whom it may concern, ")
_TICKETS = {
    "billing": (
        "the invoice of {} has the wrong amount",
        "I was charged twice in {}",
        "can I pay for {} by bank transfer?",
        "where do I find the receipt for {}?",
        "my refund for {} has not arrived",
    ),
    "technical": (
        "the app has crashed at every start since {}",
        "the export of {} stops half way",
        "pages load slowly, and did so in {} already",
        "the search has found nothing new since {}",
        "uploads have ended in an error since {}",
    ),
    "account": (
        "I cannot sign in since {}",
        "my new password of {} is not accepted",
        "please close the account that I opened in {}",
        "the address that I gave in {} has changed",
        "add a colleague to our team from {} on",
    ),
}
_MONTHS = ("January", "April", "August", "October")


def tickets(without_queue: int) -> str:
    """Support tickets as a CSV file; some of them have no label."""
    rows = [
        f'"{greeting}{text.format(month)}",{queue}'
        for queue, texts in _TICKETS.items()
        for greeting, text, month in product(_GREETINGS, texts, _MONTHS)
    ]
    bad = [f'"a ticket that nobody has read, number {number}",' for number in range(without_queue)]
    return "\n".join(["text,queue", *rows, *bad, ""])


def recipe(source: Path, **train: object) -> Json:
    """What is retrained in the pictures."""
    return {"name": "support-tickets", "data": {"source": str(source), "label": "queue"}, "train": train}


def take(pages: Pages, name: str, height: int, top: int = 0) -> None:
    """A picture of a page, without its menu; once what it draws and loads has come to rest."""
    pages.page.wait_for_load_state("networkidle")
    pages.page.wait_for_timeout(2000)
    clip = {"x": _MENU, "y": top, "width": _WIDTH - _MENU, "height": height}
    pages.page.screenshot(path=IMAGES / f"{name}.png", clip=clip)  # type: ignore[arg-type]  # it is such a mapping


def draw(stage: Stage, browser: Browser) -> None:
    """All pictures."""
    pages = Pages(browser, stage.settings, (_WIDTH, 1400))
    pages.form(stage.get(f"/deployments/name/{DEPLOYMENT}"))
    pages.field("Model name").fill("support-tickets")
    pages.field("Data source").fill("gs://support/tickets/*.csv")
    take(pages, "run-form", 1060)

    source = stage.folder / "tickets.csv"
    source.write_text(tickets(without_queue=40), encoding="utf-8")
    run = stage.start(DEPLOYMENT, {"recipe": recipe(source)})
    assert stage.ended(run)["state"]["type"] == "FAILED", stage.read(run)["state"]
    pages.run(run, "Details")
    take(pages, "failed-run", 960)

    source.write_text(tickets(without_queue=4), encoding="utf-8")
    pages.press_retry()
    stage.once(run, lambda read: read["run_count"] == 2)
    assert stage.ended(run)["state"]["type"] == "COMPLETED", stage.read(run)["state"]
    # Another setting of the training: what comes before it is there.
    again = stage.ended(stage.start(DEPLOYMENT, {"recipe": recipe(source, dropout=0.1)}))
    assert again["state"]["type"] == "COMPLETED", again["state"]
    stage.tasks_of(again)
    pages.run(again, "Task Runs")
    take(pages, "cached-steps", 1200)

    wanted = {"artifacts": {"key": {"any_": ["evaluation-support-tickets"]}}, "sort": "CREATED_DESC"}
    report, *_ = stage.post("/artifacts/filter", wanted)
    pages.page.goto(f"{pages.url}/artifacts/artifact/{report['id']}")
    # Below the address of the file.
    take(pages, "report", 770, top=165)


def main() -> None:
    """Make them."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hubtune-") as temporary:
        for part in ("server", "stage"):
            (Path(temporary) / part).mkdir()
        with (
            running_server(Path(temporary, "server"), pages=True) as server,
            set_stage(Path(temporary, "stage"), server, {}) as stage,
            open_browser() as browser,
        ):
            draw(stage, browser)
    for picture in sorted(IMAGES.glob("*.png")):
        print(f"{picture.relative_to(CHECKOUT)}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
