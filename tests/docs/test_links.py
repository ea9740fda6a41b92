"""Every relative link in the project's pages leads somewhere, and every page that the code names is there."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGES = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("examples/**/*.md")]
FOLDERS = ("benchmarks", "deployments", "flows", "hubtune", "schemas", "tasks", "tests")
SOURCES = [
    path for folder in FOLDERS for path in CHECKOUT.glob(f"{folder}/**/*") if path.suffix in (".py", ".Dockerfile")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in _anchors(path), f"{page.name} links to {target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """What the repository's page makes of headings; the site's are tested where it is built."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pages_that_the_code_names_are_there() -> None:
    named = {
        (path, name) for path in SOURCES for name in re.findall(r"\bdocs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    for path, name in named:
        assert (CHECKOUT / name).exists(), f"{path} names {name}"
