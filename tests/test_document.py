"""Both forms of the report show any text as it is, and are whole without a network."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.document import Document, Figure, Paragraph, Section, Table, visible
from tasks.document_html import html_page
from tasks.document_markdown import markdown_page
from tasks.markdown import escaped

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
# What would be seen as formatting, a cell, a script, a link.
NASTY = st.lists(
    st.sampled_from(
        [*"<>&\"'|`*_[]()#~\\!\n\r", "<script>alert(1)</script>", "http://a.b", "www.a.b", "](x)", "a", " "]
    ),
    max_size=12,
).map("".join)


class Read(HTMLParser):
    """What a browser would see: the tags, and the text outside of the style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.sources: list[str] = []
        self._cell: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._cell is not None:
            self.cells.append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


def document(*texts: str) -> Document:
    table = Table(texts, [texts, texts], shades=[[0.0, *[0.5] * (len(texts) - 1)]] * 2)
    section = Section(texts[0], [Paragraph(texts[0]), table, Figure(SVG, texts[0])])
    return Document("Title", [Paragraph(texts[0], strong=True)], [section])


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(NASTY, st.text(max_size=20)), min_size=1, max_size=4))
def test_html_shows_any_text_and_runs_nothing(texts: list[str]) -> None:
    shown = [visible(text, 1000) for text in texts]
    read = Read(html_page(document(*shown)))
    assert read.cells == [*shown, *shown]
    assert not {"script", "a", "link", "iframe", "object"} & set(read.tags)
    assert read.tags.count("img") == 1
    assert all(source.startswith("data:image/svg+xml;base64,") for source in read.sources)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(NASTY, st.text(max_size=20)), min_size=1, max_size=4))
def test_markdown_keeps_any_text_in_its_cell(texts: list[str]) -> None:
    page = markdown_page(document(*(visible(text, 1000) for text in texts)))
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 4
    for row in rows:
        # A bar that is not escaped separates cells: one that an even number of backslashes precedes.
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == len(texts) + 1
    without_pictures = re.sub(r"\(data:[^)]*\)", "", page)
    assert not re.search("[<>]", without_pictures)
    assert "http://" not in without_pictures
    assert "www." not in without_pictures


def test_markdown_of_a_text_with_everything() -> None:
    assert escaped("a|b\n*c* <script> https://x.y") == "a\\|b \\*c\\* &lt;script&gt; https&#58;//x.y"


def test_a_short_form_is_for_markdown_alone() -> None:
    section = Section("Rows", [Paragraph("all of them")], short=[Paragraph("some of them")])
    whole = Document("Title", [], [section])
    assert "some of them" in markdown_page(whole)
    assert "all of them" not in markdown_page(whole)
    assert "all of them" in html_page(whole)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo\r\n  three", "one two three"),
        ("zero\u200bwidth and \u202eturned", "zero\\u200bwidth and \\u202eturned"),
        ("a" * 50, "a" * 40 + "…"),
        ("谁 😀", "谁 😀"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text, 40) == shown


@pytest.mark.parametrize("labels", [["$x$", "<script>&", "_hidden"], ["谁", "\\frac{", "a" * 100]])
def test_drawings_take_any_class_name(labels: list[str]) -> None:
    from tasks.evaluate.figures import _classes_drawn, _precision_recall, _roc
    from tasks.evaluate.metrics import split_figures

    truth = np.arange(30, dtype=np.int32) % 3
    scores = np.log(np.random.default_rng(0).dirichlet([1, 1, 1], 30))
    belongs = truth[:, None] == np.arange(3)
    drawn = _classes_drawn(split_figures(scores, truth, labels, None), labels, None)
    for figure in (_roc(scores, belongs, drawn), _precision_recall(scores, belongs, drawn)):
        texts = [text.strip() for text in ElementTree.fromstring(figure.svg).itertext() if text.strip()]
        for label in labels:
            assert any(text.endswith(label[:24]) or text.endswith(label[:24] + "…") for text in texts), texts


def test_pictures_are_whole() -> None:
    page = markdown_page(document("a"))
    (data,) = re.findall(r"base64,([A-Za-z0-9+/=]*)\)", page)
    assert base64.b64decode(data) == SVG
