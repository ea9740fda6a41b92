"""Whom the server's pages may ask, as it is written into them; tests/operate/test_up.py looks at it in a browser."""

import re
from pathlib import Path

import pytest

from deployments.content_policy import keep_to_themselves
from hubtune.errors import StackFailed

PAGE = "<!DOCTYPE html>\n<html>\n  <head>\n    <title>runs</title>\n  </head>\n</html>\n"


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    found = [tmp_path / version / "index.html" for version in ("v1", "v2")]
    for page in found:
        page.parent.mkdir()
        page.write_text(PAGE, encoding="utf-8")
    return found


def rules(page: Path) -> list[str]:
    return re.findall(r'<head>\s*<meta http-equiv="Content-Security-Policy" content="([^"]*)"', page.read_text("utf-8"))


def test_each_page_says_whom_it_may_ask(pages: list[Path], tmp_path: Path) -> None:
    # The second time at another address: what was written before is of no use.
    for api in ("https://prefect.example.org/api", "http://127.0.0.1:4200"):
        keep_to_themselves(tmp_path, api)
    for page in pages:
        (rule,) = rules(page)
        asked = rule.partition("connect-src ")[2].split()
        assert asked == ["'self'", "data:", "blob:", "http://127.0.0.1:4200", "ws://127.0.0.1:4200"]
        assert page.read_text("utf-8").count("Content-Security-Policy") == 1
        assert "<title>runs</title>" in page.read_text("utf-8")
    keep_to_themselves(tmp_path, "https://ops:s3cret@prefect.example.org/api")
    assert "https://prefect.example.org wss://prefect.example.org" in rules(pages[0])[0]


def test_pages_of_an_unknown_prefect_are_not_let_through(pages: list[Path], tmp_path: Path) -> None:
    pages[1].write_text("<html><title>runs</title></html>", encoding="utf-8")
    with pytest.raises(StackFailed, match="it has no <head>") as unknown:
        keep_to_themselves(tmp_path, "http://127.0.0.1:4200")
    assert unknown.value.where == str(pages[1])
    with pytest.raises(StackFailed, match="it holds no pages"):
        keep_to_themselves(tmp_path / "nothing", "http://127.0.0.1:4200")
