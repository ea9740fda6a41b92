"""The pages as a site: it is built without a warning, and whoever reads it asks no host but the one that has it."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import CHECKOUT, PAGES

# Hosts that the theme's scripts know, and what a page has that makes them ask. (unpkg.com also has a ResizeObserver for
# browsers of before 2020, which lack one.) The others are names and messages.
ASKED_FOR = {"unpkg.com": r'class="mermaid"', "api.github.com": r'data-md-component="source"'}
NAMED_ALONE = {"bit.ly", "clipboardjs.com", "github.com", "lunrjs.com", "tartarus.org", "www.w3.org"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=CHECKOUT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},  # news of the theme, no warning about the pages
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr, built.stderr
    return folder


class Loaded(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            followed = tag == "a" or (tag == "link" and ("rel", "canonical") in attrs)
            if name in ("src", "srcset", "href", "data", "poster", "style") and value and not followed:
                self.addresses.append(value)


def test_every_page_is_in_it(site: Path) -> None:
    for page in PAGES[1:]:
        path = Path(page).relative_to("docs")
        name = path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html")
        assert (site / name).exists(), name
    assert not (site / "hooks").exists()


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    loaded = {page: Loaded(page).addresses for page in site.rglob("*.html")}
    assert sum(map(len, loaded.values())) > 3 * len(PAGES)
    for page, addresses in loaded.items():
        assert [address for address in addresses if "//" in address] == [], page
    for sheet in site.rglob("*.css"):
        content = sheet.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", content) == [], sheet


def test_scripts_have_no_reason_to_ask_another_host(site: Path) -> None:
    scripts = [*site.glob("assets/javascripts/*.js"), *site.glob("assets/javascripts/workers/*.js")]
    found = re.findall(r"https?://([\w.-]+\w)", "".join(script.read_text(encoding="utf-8") for script in scripts))
    assert "unpkg.com" in found
    assert set(found) <= {*ASKED_FOR, *NAMED_ALONE}
    pages = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.html"))
    for mark in ASKED_FOR.values():
        assert not re.search(mark, pages), mark


def test_files_of_the_checkout_that_pages_link_to_are_in_it(site: Path) -> None:
    assert (site / "checkout" / "prefect.yaml").read_bytes() == (CHECKOUT / "prefect.yaml").read_bytes()
    assert 'href="checkout/prefect.yaml"' in (site / "operating.html").read_text(encoding="utf-8")


def test_words_are_found(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_bytes())
    found = [entry["location"] for entry in index["docs"] if "QuarantineLimitExceeded" in entry["text"]]
    assert any(location.startswith("errors.html") for location in found)
