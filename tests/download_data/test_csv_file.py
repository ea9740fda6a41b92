import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from tasks.download_data.csv_file import batches


def values(path: Path, text: str = "text", label: str = "label", most_rows: int = 1000) -> list[tuple[str | None, ...]]:
    return [row for batch in batches(path, text, label, most_rows) for row in batch.rows()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"text,label\r\na,0\r\nb,1", [("a", "0"), ("b", "1")], id="CRLF, no end of line"),
        pytest.param(b"text,label\ra,0\rb,1\r", [("a", "0"), ("b", "1")], id="CR"),
        pytest.param(b"\xef\xbb\xbftext,label\na,0\n", [("a", "0")], id="byte order mark"),
        pytest.param(b'text,label\n"a\r\n\nb",0\n', [("a\r\n\nb", "0")], id="line breaks in quotes"),
        pytest.param(b'text,label\n"a, ""b""",0\n', [('a, "b"', "0")], id="comma and quotes in quotes"),
        pytest.param(b'text,label\na 5" pipe,0\n', [('a 5" pipe', "0")], id="stray quote"),
        pytest.param(b"id,label,text,more\n1,0,a,x\n", [("a", "0")], id="other columns"),
        pytest.param(b'text,label\n,0\n"",1\n ,1\n', [(None, "0"), (None, "1"), (" ", "1")], id="empty cells"),
        pytest.param(b"text,label\n\na,0\n\n\n", [("a", "0")], id="blank lines"),
        pytest.param(b"text,label\na, 1\nb,01\n", [("a", " 1"), ("b", "01")], id="labels stay strings"),
        pytest.param(b"text,label\n\xe9,0\n\xc3,1\n\xe2\x82,1\n", [("\ufffd", "0"), ("\ufffd", "1"), ("\ufffd", "1")]),
    ],
)
def test_reads(path: Path, content: bytes, expected: list[tuple[str | None, str]]) -> None:
    path.write_bytes(content)
    assert values(path) == expected


def test_a_very_long_cell_is_read(path: Path) -> None:
    path.write_text(f"text,label\n{'a' * 500_000},0\n")
    usual = csv.field_size_limit()
    assert len(values(path)[0][0] or "") == 500_000
    assert csv.field_size_limit() == usual


def test_a_file_that_is_given_up_leaves_the_limit_as_it_was(path: Path) -> None:
    path.write_text("text,label\na,b,0\n")
    usual = csv.field_size_limit()
    with pytest.raises(InvalidData) as raised:
        values(path)
    # The error is still held here, and with it the reader that it came from.
    assert raised.tb is not None
    assert csv.field_size_limit() == usual


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\na,0\nb,c,1\n", r"3 cells where the header has 2[\s\S]*line 3"),
        ('text,label\n"a\nb",0\nc\n', r"1 cells where the header has 2[\s\S]*line 4"),
        ('text,label\na,0\n"never closed,0\nb,1\n', r"no well-formed CSV[\s\S]*line 3"),
        ('text,label\n"a"b,0\n', r"no well-formed CSV[\s\S]*line 2"),
        ("question,label\na,0\n", r"no column 'text'; the columns are: 'question', 'label'"),
        ("Text,label\na,0\n", r"Did you mean 'Text'\?"),
        ("texts,label\na,0\n", r"Did you mean 'texts'\?"),
        ("text;label\na;0\n", r"separated by semicolons"),
        ("text\tlabel\na\t0\n", r"separated by tabs"),
        ("text,label,text\na,0,b\n", r"2 columns named 'text'"),
        (",".join(f"column {number}" for number in range(50)) + "\n", r"and 30 more"),
    ],
)
def test_refuses(path: Path, content: str, message: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidData, match=message) as caught:
        values(path)
    assert "data.csv" in caught.value.where
    assert caught.value.remedy


# A cell that is empty comes back as no value.
cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t"), max_size=20)


@settings(deadline=None, max_examples=100)
@given(
    table=st.lists(st.tuples(cells, cells), min_size=1, max_size=12),
    most_rows=st.integers(1, 5),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, table: list[tuple[str, str]], most_rows: int, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=ending, quoting=csv.QUOTE_ALL)
        writer.writerow(("text", "label"))
        writer.writerows(table)
    frames = list(batches(path, "text", "label", most_rows))
    assert all(frame.height <= most_rows for frame in frames)
    assert [row for frame in frames for row in frame.rows()] == [(text or None, label or None) for text, label in table]
