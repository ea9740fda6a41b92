"""Prefect's pages in a real browser, as people use them: the system's Chromium without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page, Response, expect, sync_playwright

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The browser of the system; None where there is none."""
# It asks for nothing by itself: what leaves is what the pages ask for.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SECONDS = 30.0
_UNAVAILABLE = 503


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser that is closed at the end. While it is open, no event loop can run in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Pages:
    """One window on a server's pages.

    Args:
        browser: that is open.
        server: its settings.
        size: of the window.
    """

    def __init__(self, browser: Browser, server: dict[str, str], size: tuple[int, int] = (1400, 1000)) -> None:
        self.url = server["PREFECT_API_URL"].removesuffix("/api")
        self.page: Page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(_SECONDS * 1000)
        self.hosts: set[str] = set()
        # What is written in the page itself (`data:`, `blob:`) asks nobody.
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))

    def form(self, deployment: dict[str, Any]) -> None:
        """The page on which a run of a deployment is filled in."""
        self.page.goto(f"{self.url}/deployments/deployment/{deployment['id']}/run")
        expect(self.page.get_by_role("button", name="Submit")).to_be_visible(timeout=_SECONDS * 1000)

    def run(self, run: dict[str, Any], tab: str) -> None:
        """The page of a run."""
        self.page.goto(f"{self.url}/runs/flow-run/{run['id']}")
        self.page.get_by_role("tablist").get_by_text(tab, exact=True).click()
        expect(self.page.get_by_role("tabpanel", name=tab)).to_be_visible(timeout=_SECONDS * 1000)

    def leave(self) -> None:
        """Look at nothing: the page of a run that goes on keeps half a core busy."""
        self.page.goto("about:blank")

    def field(self, title: str) -> Locator:
        """What is filled in below a title; of all fields that are called so, the first."""
        named = self.page.get_by_text(f"{title} (Optional)", exact=True).first
        # Labels of this page point nowhere.
        return named.locator(
            "xpath=ancestor::div[contains(@class, 'p-label')][not(contains(@class, '__'))][1]"
        ).locator("input, textarea")

    def message(self) -> str:
        """What the page of a run says about its state."""
        self.page.get_by_text("State Message").wait_for()
        more = self.page.get_by_text("See More")
        if more.count():
            more.click()
        return self.page.get_by_text("State Message").locator("xpath=..").inner_text()

    def states(self) -> dict[str, str]:
        """Task -> state, as the page of a run lists them; of tasks that ran again, that of the last time."""
        listed = self.page.locator(".task-run-list-item")
        listed.first.wait_for()
        # The newest is at the top.
        newest_last = reversed(listed.all())
        return {
            task.get_by_role("link").inner_text().rpartition("-")[0]: task.locator(".state-badge").inner_text()
            for task in newest_last
        }

    def press_submit(self) -> Response:
        """Press Submit; what the server says to it."""
        return self._press(self.page.get_by_role("button", name="Submit"), "/create_flow_run")

    def press_retry(self) -> Response:
        """Press Retry, and once more in the dialog that asks back; what the server says to it."""
        self.page.get_by_role("button", name="Retry").click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_be_visible(timeout=_SECONDS * 1000)
        return self._press(dialog.get_by_role("button", name="Retry"), "/set_state")

    def _press(self, button: Locator, asks: str) -> Response:
        # A server on SQLite says now and then that its database is busy: people press again.
        for _ in range(20):
            with self.page.expect_response(lambda answer: answer.url.endswith(asks)) as answer:
                button.click()
            if answer.value.status != _UNAVAILABLE:
                break
        return answer.value
