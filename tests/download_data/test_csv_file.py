import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.errors import InvalidData
from schemas.data_recipe import DataRecipe
from tasks.download_data import csv_file
from tasks.download_data.csv_file import batches
from tasks.download_data.text_file import open_text


def values(path: Path, most_rows: int = 1000, **fields: Any) -> list[tuple[str | None, ...]]:
    recipe = DataRecipe.model_validate({"source": str(path)} | fields)
    return [row for batch in batches(path, recipe, most_rows) for row in batch.rows()]


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
        ('text,label\na,b,c\nx,0\n"q"z,0\n', r"3 cells where the header has 2[\s\S]*line 2"),
        ("question,label\na,0\n", r"no column 'text'; the columns are: 'question', 'label'"),
        ("Text,label\na,0\n", r"Did you mean 'Text'\?"),
        ("texts,label\na,0\n", r"Did you mean 'texts'\?"),
        ("text;label\na;0\n", r'separated by semicolons: set data.delimiter to ";"'),
        ("text\tlabel\na\t0\n", r'separated by tabs: set data.delimiter to "\\t"'),
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


@pytest.mark.parametrize(
    ("name", "content", "fields", "expected"),
    [
        ("a.tsv", 'text\tlabel\na, b\t0\n"c\td"\t1\n', {}, [("a, b", "0"), ("c\td", "1")]),
        ("a.TSV.gz", "text\tlabel\na\t0\n", {}, [("a", "0")]),
        ("a.csv", "text;label\na,b;0\n", {"delimiter": ";"}, [("a,b", "0")]),
        ("a.tsv", "text,label\na,0\n", {"delimiter": ","}, [("a", "0")]),
        (
            "a.txt",
            "x,0,a\ny,1,b\n",
            {"header": False, "text": 3, "label": "2", "format": "csv"},
            [("a", "0"), ("b", "1")],
        ),
        ("a.tsv", 'text\tlabel\n"So" he said\t0\n"\t1\n', {"quotes": False}, [('"So" he said', "0"), ('"', "1")]),
        ("a.csv", "text,label\nÇa?,0\n", {"encoding": "latin-1"}, [("Ça?", "0")]),
        ("a.csv", "text,label\nКуда?,0\n", {"encoding": "utf-16"}, [("Куда?", "0")]),
        ("a.csv", "text,label\nКуда?,0\n", {"encoding": "UTF8"}, [("Куда?", "0")]),
    ],
)
def test_other_layouts(
    tmp_path: Path, name: str, content: str, fields: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    encoded = content.encode(fields.get("encoding", "utf-8"))
    (tmp_path / name).write_bytes(gzip.compress(encoded) if name.endswith(".gz") else encoded)
    assert values(tmp_path / name, **fields) == expected


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        ("a,0\nb,1,c\n", {"header": False}, r"3 cells where the first row has 2[\s\S]*line 2"),
        (
            "a,0\n",
            {"header": False, "text": "text"},
            r"no column 'text'; the columns are: '1', '2'[\s\S]*number of the",
        ),
        ("text,label\na,b,0\n", {"quotes": False}, r"3 cells[\s\S]*set data.quotes to true"),
        ('text,label\n"a" b,0\n', {}, r"no well-formed CSV[\s\S]*set data.quotes to false"),
        ("text,label\na,0\n", {"delimiter": ";"}, r'separated by commas: set data.delimiter to ","'),
    ],
)
def test_refuses_other_layouts(path: Path, content: str, fields: dict[str, Any], message: str) -> None:
    path.write_text(content)
    with pytest.raises(InvalidData, match=message):
        values(path, **({"text": "1", "label": "2"} if "header" in fields else {}) | fields)


# A cell that is empty comes back as no value.
cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t"), max_size=20)


@settings(deadline=None, max_examples=100)
@given(
    table=st.lists(st.tuples(cells, cells), min_size=1, max_size=12),
    most_rows=st.integers(1, 5),
    ending=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from(",;\t| é"),
    header=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32-le"]),
    compressed=st.booleans(),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[str, str]],
    most_rows: int,
    ending: str,
    delimiter: str,
    header: bool,
    encoding: str,
    compressed: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / ("property.csv.gz" if compressed else "property.csv")
    names = ("text", "label") if header else ("1", "2")
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([names, *table] if header else table)
    content = text.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(content) if compressed else content)
    layout = {"delimiter": delimiter, "header": header, "encoding": encoding, "text": names[0], "label": names[1]}
    frames = list(batches(path, DataRecipe.model_validate({"source": str(path)} | layout), most_rows))
    assert all(frame.height <= most_rows for frame in frames)
    assert [row for frame in frames for row in frame.rows()] == [(text or None, label or None) for text, label in table]


def test_a_file_that_is_mended_while_it_is_read_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("text,label\na,b,c\n")
    opened = open_text

    def open_and_mend(*arguments: Any) -> Any:
        monkeypatch.setattr(csv_file, "open_text", opened)
        found = path.read_bytes()
        copy = path.with_name("before.csv")
        copy.write_bytes(found)
        path.write_text("text,label\na,b\n")
        return opened(copy, *arguments[1:])

    monkeypatch.setattr(csv_file, "open_text", open_and_mend)
    with pytest.raises(InvalidData, match="changed while it was read"):
        values(path)
