"""The report on a run: what it says, in which words, and that no text of a user becomes formatting."""

import base64
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.errors import ExportFailed
from schemas.handoff import QuarantineFacts, RowsFacts
from tasks.document import Document, Links
from tasks.document_html import html_page
from tasks.document_markdown import markdown_page
from tasks.publish.history import History, Past
from tasks.publish.run_report import Judged, Published, published_report, unpublished_report
from tests.publish.test_history import LABELS, metrics, past
from tests.test_document import NASTY, Read

EVALUATION = "# Evaluation\n\n**Better than the majority class.**\n"


def judged(reasons: dict[str, int] | None = None) -> Judged:
    found = QuarantineFacts(
        rows_in=1131,
        rows_out=1100,
        quarantined=4,
        duplicates=27,
        reasons={"null_text": 4} if reasons is None else reasons,
    )
    intervals = {"accuracy": {"low": 0.8, "high": 0.9}, "macro_f1": {"low": 0.75, "high": 0.87}}
    return Judged(RowsFacts(train=900, validation=100, test=100, labels=LABELS), found, intervals, EVALUATION)


def outcome(*versions: Past, version: int = 7, new: bool = True, latest: int | None = None) -> Published:
    return Published("questions", version, new, History(list(versions), [], latest or version, len(versions)))


@pytest.mark.parametrize(
    ("published", "line"),
    [
        (outcome(past(7, 0.91)), "version 7 published: test macro-F1 0.910"),
        (outcome(past(6, 0.89), past(7, 0.91)), "version 7 published: test macro-F1 0.910, 0.890 before"),
        (
            outcome(past(6, 0.89, "others"), past(7, 0.91)),
            "version 7 published: test macro-F1 0.910, 0.890 before on other rows",
        ),
        (
            outcome(past(6, 0.89, None), past(7, 0.91)),
            "version 7 published: test macro-F1 0.910, 0.890 before, perhaps on other rows",
        ),
        (
            outcome(past(6, 0.89), past(7, 0.91, None)),
            "version 7 published: test macro-F1 0.910, 0.890 before, perhaps on other rows",
        ),
        (outcome(past(5, 0.89), past(7, 0.91)), "version 7 published: test macro-F1 0.910, 0.890 with 5"),
        (outcome(past(7, 0.91), new=False), "already published as version 7: test macro-F1 0.910"),
        (
            outcome(past(6, 0.89), past(7, 0.91), past(9, 0.95), new=False, latest=9),
            "already published as version 7: test macro-F1 0.910, 0.890 before; the newest is version 9",
        ),
        (outcome(past(6)), "version 7 published"),
    ],
)
def test_what_came_of_a_run_is_one_line(published: Published, line: str) -> None:
    assert published.headline() == line


def test_the_report_tells_of_the_version_and_of_the_one_before() -> None:
    before, now = past(6, 0.89), past(7, 0.91)
    links = [("run that published version 6", "http://127.0.0.1:4200/runs/flow-run/1f")]
    report = published_report(outcome(before, now), "gs://models/questions/7", links, judged())
    lines = report.splitlines()
    assert lines[0] == "# questions, version 7"
    assert "**Version 7 published: test macro-F1 0.910, 0.890 before.**" in lines
    assert "This run published it, on 2026-07-07 02:00 UTC. It lies in gs&#58;//models/questions/7." in lines
    assert "[run that published version 6](<http://127.0.0.1:4200/runs/flow-run/1f>)" in lines
    assert "## Beside version 6 of 2026-07-06" in lines
    assert "| macro-F1, test | 0.890 | 0.910 | +0.020 | 0.750 to 0.870 |" in lines
    assert "| macro-F1, validation | 0.900 | 0.920 | +0.020 |  |" in lines
    assert "| rows, test | 100 | 100 | +0 |  |" in lines
    assert "Both were tested on the same rows." in lines
    assert "| came in | 1,131 |" in lines
    assert "| null text | 4 |" in lines
    assert "| of these for train | 900 |" in lines
    # The evaluation is there once, as a whole.
    assert report.endswith(EVALUATION)
    assert report.count("Better than the majority class.") == 1
    (svg,) = re.findall(r"\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", report)
    assert "2026-07-06" in "".join(ElementTree.fromstring(base64.b64decode(svg)).itertext())


def test_what_does_not_compare_is_said() -> None:
    def notes(before: Past) -> str:
        return published_report(outcome(before, past(7)), "store", [], judged())

    assert "tested on different rows: a part of the change may be that of the rows." in notes(past(6, 0.8, "others"))
    assert "The rows of version 6 are not in the store any more" in notes(past(6, 0.8, None))
    other = Past(6, past(6).created, ["a|b", "c"], past(6).metrics, "rows")
    assert "Version 6 had other classes (a\\|b, c): the figures do not compare." in notes(other)


def test_a_first_version_is_beside_none() -> None:
    report = published_report(outcome(past(1), version=1), "store", [], judged({}))
    assert "Beside" not in report
    assert "over time" not in report
    assert "data:image" not in report
    assert "why:" not in report
    assert report.endswith(EVALUATION)


def test_what_was_found_and_what_was_left_out_is_said() -> None:
    history = History([past(6), past(7), past(9)], [5, 8], 9, 5)
    report = published_report(Published("questions", 7, False, history), "store", [], judged())
    assert "This run found its result in the store, where it has been version 7 since 2026-07-07 02:00 UTC." in report
    assert "The newest version, 9, is the one that is loaded when none is asked for." in report
    assert "Left out, because the store cannot tell how good it was: versions 5, 8." in report


def test_a_run_that_could_not_publish_shows_its_evaluation_all_the_same() -> None:
    error = ExportFailed("3 of 45 answers are others", where="ONNX", remedy="tell us")
    report = unpublished_report("questions", error, [], judged())
    assert report.splitlines()[0] == "# questions, not published"
    assert "**No version was published: 3 of 45 answers are others**" in report
    assert "Remedy: tell us" in report
    assert "| came in | 1,131 |" in report
    assert report.endswith(EVALUATION)


@settings(deadline=None, max_examples=40)
@given(labels=st.lists(st.one_of(NASTY, st.text(max_size=20)), min_size=1, max_size=3), place=NASTY, reason=NASTY)
def test_no_text_becomes_formatting(labels: list[str], place: str, reason: str) -> None:
    other = Past(6, past(6).created, labels, {"test": metrics(0.8)}, "rows")
    pages = [
        published_report(outcome(other, past(7)), place, [], judged({reason: 1})),
        unpublished_report("questions", ExportFailed(place, remedy=reason), [], judged({reason: 1})),
    ]
    for page in pages:
        without_pictures = re.sub(r"\(data:[^)]*\)", "", page)
        assert not re.search("[<>]", without_pictures)
        assert "http://" not in without_pictures
        assert "www." not in without_pictures
        for row in (line for line in page.splitlines() if line.startswith("| ")):
            # A bar that is not escaped separates cells: of two columns, or of five.
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) in (3, 6)
        assert {line.split(" ")[0] for line in page.splitlines() if line.startswith("#")} == {"#", "##"}


@settings(deadline=None, max_examples=100)
@given(words=NASTY, path=NASTY)
def test_links_lead_to_their_address_and_nowhere_else(words: str, path: str) -> None:
    address = f"http://127.0.0.1:4200/{path}"
    document = Document("Title", [Links([(words, address)])], [])
    read = Read(html_page(document))
    assert read.sources == [address]
    (line,) = [line for line in markdown_page(document).splitlines() if "4200" in line]
    # One link: its address ends where the line does, and nothing in it ends it before.
    match = re.fullmatch(r"\[(.*)\]\(<(http://127\.0\.0\.1:4200/[^<>()\s]*)>\)", line)
    assert match, line
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]]", match[1])
