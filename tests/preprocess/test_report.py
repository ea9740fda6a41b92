"""How long the texts are: the histogram, and the length in tokens that it suggests; both forms of the report."""

import base64
import re

from tests.preprocess.conftest import Row, Run

LENGTHS = [2, 3, 4, 5, 20, 21, 22, 39, 40, 400]


def texts_of(lengths: list[int], each: int) -> list[Row]:
    rows: list[Row] = []
    for number in range(each):
        for index, length in enumerate(lengths):
            rows.append((" ".join([f"no{number}x{index}", *["word"] * (length - 1)]), str(number % 2)))
    return rows


def test_the_histogram_counts_every_text_once(run: Run) -> None:
    # 4 of 1,003 texts are longer than what 99 % have.
    outcome = run(texts_of(LENGTHS[:-1], 111) + texts_of(LENGTHS[-1:], 4))
    assert outcome.report["lengths"]["words"]["p99"] == 40
    bins = {each["words"]: each["rows"] for each in outcome.report["words_per_text"]}
    assert list(bins) == [*(f"{first} to {first + 2}" for first in range(1, 47, 3)), "more than 48"]
    assert bins == dict.fromkeys(bins, 0) | {
        "1 to 3": 222,
        "4 to 6": 222,
        "19 to 21": 222,
        "22 to 24": 111,
        "37 to 39": 111,
        "40 to 42": 111,
        "more than 48": 4,
    }
    assert outcome.report["suggested_max_length"] == 72
    assert "40 words: in English up to some 72 tokens" in outcome.page


def test_short_texts_have_a_bin_for_each_number_of_words(run: Run) -> None:
    report = run(texts_of([2, 3], 100)).report
    assert report["words_per_text"] == [
        {"words": "1", "rows": 0},
        {"words": "2", "rows": 100},
        {"words": "3", "rows": 100},
    ]


def test_no_more_tokens_are_suggested_than_most_models_take(run: Run) -> None:
    outcome = run(texts_of([900], 100))
    assert outcome.report["suggested_max_length"] == 512
    assert "in English 512 or more tokens" in outcome.page


def test_both_forms_show_the_histogram_and_need_no_network(run: Run) -> None:
    outcome = run(
        [*texts_of([5, 9], 60), ("<script>alert(1)</script> http://a.b/c", "9"), ("", "1")], {"0": "a", "1": "b"}
    )
    page = (outcome.quarantine / "report.html").read_text(encoding="utf-8")
    for form in (page, outcome.page):
        (drawing,) = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", form)
        assert b"texts" in base64.b64decode(drawing)
        assert "unknown label" in form
        assert "<script" not in form
    assert '<td class="text long">&lt;script&gt;' in page
    assert 'src="http' not in page
