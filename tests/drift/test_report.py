"""drift.json and report.md: what they say, and that they say it in the same bytes each time."""

import base64
import json
import re
from pathlib import Path
from xml.etree import ElementTree

from schemas.handoff import DriftFacts
from tasks.document_markdown import markdown_page
from tasks.drift.report import document, write_drift
from tests.drift.conftest import Write

DIGEST = "0" * 64
BEFORE = [("Is this a question?", "no"), ("Nobody with taste asks this", "yes"), ("How deep is the lake", "no")]
NOW = [("Is this a <b>question</b>?", "yes"), ("Who | what_ever_ is *bold*", "yes"), ("How deep", "$a$ | b")]


def drawings(markdown: str) -> list[str]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    return [base64.b64decode(drawing).decode() for drawing in found]


def test_the_report(write: Write, tmp_path: Path) -> None:
    facts = write_drift(write(BEFORE), write(NOW, ["no", "yes", "$a$ | b"]), DIGEST, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drift.json", "report.html", "report.md"]
    content = json.loads((tmp_path / "drift.json").read_text(encoding="utf-8"))
    assert content["reference"] == facts.reference == DIGEST
    for figure in ("labels", "length", "vocabulary", "words"):
        assert content[figure]["value"] == getattr(facts, figure) > 0
    assert content["classes"][2] == {"name": "$a$ | b", "before": 0.0, "now": 0.333333}

    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "3 training rows now, compared with the 3 that" in markdown
    assert f"| labels | {facts.labels:.4f} | {facts.by_chance['labels']:.4f} | population stability index |" in markdown
    assert "| $a$ \\| b | 0.00% | 33.33% | +33.33 |" in markdown
    assert "| what\\_ever\\_ | 0.00% |" in markdown
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<td class="text">$a$ | b</td>' in page
    assert page.count("<img") == 2
    classes, lengths = drawings(markdown)
    assert "before" in classes
    assert "$a$ | b" in classes
    assert "more than 5" in lengths


def test_equal_rows_give_equal_bytes_and_nothing_to_name(write: Write, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        facts = write_drift(write(BEFORE), write(BEFORE[::-1]), DIGEST, tmp_path / name)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]
    chance = facts.by_chance
    assert facts == DriftFacts(reference=DIGEST, labels=0, length=0, vocabulary=0, words=0, by_chance=chance)
    assert set(chance.values()) == {0}
    assert contents[0][2].decode().count("Nothing to name.") == 4


def test_many_and_odd_classes_are_drawn(write: Write, tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(40)] + ["bell \x07 and & <tag> " + "long" * 20, "日本"]
    rows = [("a text", name) for index, name in enumerate(classes) for _ in range(index + 1)]
    write_drift(write(rows, classes), write(rows, classes), DIGEST, tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "the 20 largest of 42" in markdown
    drawing = drawings(markdown)[0]
    ElementTree.fromstring(drawing)
    assert "class 22" in drawing
    assert "class 21" not in drawing
    assert "日本" in drawing


def test_the_page_names_no_limit(write: Write) -> None:
    from tasks.drift.compare import compare

    assert "limit" not in markdown_page(document(compare(write(BEFORE), write(NOW, ["no", "yes", "$a$ | b"]))))
