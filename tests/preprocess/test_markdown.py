import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.markdown import escaped, table
from tasks.preprocess.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "(none)"),
        ("", "(empty)"),
        ("Why now?", "Why now?"),
        (" Why  now? ", "␣Why␣␣now?␣"),
        ("   ", "␣␣␣"),
        ("a\nb\r\nc\rd", "a⏎b⏎c⏎d"),
        ("a\tb\u00a0c\u200b\U000e0001", "a\\u0009b\\u00a0c\\u200b\\U000e0001"),
        ("caf\ufffd 😀 谁", "caf\ufffd 😀 谁"),
        ("a" * 80, "a" * 80),
        ("a" * 12345, "a" * 80 + "… (12,345 characters)"),
        ("a" * 79 + " " + "b", "a" * 79 + " … (81 characters)"),
    ],
)
def test_visible(text: str | None, shown: str) -> None:
    assert visible(text) == shown


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=100), min_size=1, max_size=4))
def test_any_text_fits_into_a_cell(texts: list[str]) -> None:
    lines = table(("a",) * len(texts), [[escaped(visible(text)) for text in texts]]).splitlines()
    assert len(lines) == 3
    for line in lines:
        # A bar that is not escaped separates cells: one that an even number of backslashes precedes.
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == len(texts) + 1
        assert not re.search(r"[<>\n\r]", line)


def test_table() -> None:
    assert table(("file", "rows"), [("a.csv", "1")], right=(1,)) == "| file | rows |\n| --- | ---: |\n| a.csv | 1 |\n"
