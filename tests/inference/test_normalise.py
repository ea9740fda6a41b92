"""Normalisation: what it does, that twice is once, and that Python and TensorFlow do the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE, normalise
from tests.inference.awkward_texts import AWKWARD_TEXTS, CHARACTERS

# Compatibility characters of Unicode 15 and 16, which TensorFlow Text 2.21 maps and an older Python does not know:
# Cyrillic modifier letters, outlined letters and digits. A Python that knows them maps them too.
NEWER_THAN_PYTHON = {*range(0x1E030, 0x1E06E), *range(0x1CCD6, 0x1CCFA)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is this?", "What is this?"),
        ("  two  spaces ", "two spaces"),
        ("tab\tnew\nline\r\nend", "tab new line end"),
        ("page\x0cbreak\x85next\u2028line", "page break next line"),
        ("no\u00a0break\u3000wide", "no break wide"),
        ("co\u00adop\u200berate\ufeff", "cooperate"),
        ("\u202bright\u202c", "right"),
        ("a\x00b\x07c\x1fd", "abcd"),
        ("bro\ufffdken", "broken"),
        ("logo \ue000", "logo"),
        ("half \ud83d pair", "half pair"),
        ("ﬁnd … ½ ™ Ｆ", "find ... 1⁄2 TM F"),
        ("e\u0301", "é"),
        ("❤\ufe0f", "❤"),
        ("Straße İ", "Straße İ"),
        ("\u200b \u00ad", ""),
        ("", ""),
    ],
)
def test_what_it_does(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text(st.characters(exclude_categories=[])))
def test_normalised_text_is_normalised_and_can_be_encoded(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFKC", once)
    assert once == " ".join(once.split(" "))
    assert not once.startswith(" ")
    assert not once.endswith(" ")
    once.encode()


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_the_short_way_for_ascii_gives_what_the_long_way_gives(text: str) -> None:
    # A letter outside ASCII at the end sends the same text the long way.
    assert normalise(text + " é") == f"{normalise(text)} é".lstrip(" ")


def test_no_invisible_character_and_no_white_space_but_the_space_is_left() -> None:
    for code in range(0x110000):
        left = normalise(f"a{chr(code)}b").replace(" ", "").strip("ab")
        assert all(unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Zs", "Zl", "Zp") for letter in left)


def test_the_ranges_are_in_order_and_apart() -> None:
    codes = [code for first, last in (*WHITE_SPACE, *INVISIBLE) for code in range(first, last + 1)]
    assert len(codes) == len(set(codes))
    assert all(first <= last for first, last in (*WHITE_SPACE, *INVISIBLE))


@pytest.mark.slow
def test_tensorflow_does_the_same_to_every_character() -> None:
    for frame in ("a{}b", "x {}\u0301 y"):
        texts = [frame.format(character) for character in CHARACTERS]
        different = {
            character
            for character, text, other in zip(CHARACTERS, texts, in_tensorflow(texts), strict=True)
            if normalise(text) != other and ord(character) not in NEWER_THAN_PYTHON
        }
        # What is left are marks that this Python does not know yet, and so does not bring into order.
        assert {character for character in different if unicodedata.category(character) != "Cn"} == set()


def test_the_characters_that_differ_are_unknown_to_this_python() -> None:
    mapped = [code for code in NEWER_THAN_PYTHON if unicodedata.category(chr(code)) != "Cn"]
    assert all(normalise(chr(code)) != chr(code) for code in mapped)


@pytest.mark.slow
def test_tensorflow_does_the_same_to_awkward_texts() -> None:
    texts = list(AWKWARD_TEXTS.values())
    assert in_tensorflow(texts) == [normalise(text) for text in texts]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"])), min_size=1, max_size=20))
def test_tensorflow_does_the_same_to_any_text(texts: list[str]) -> None:
    assert in_tensorflow(texts) == [normalise(text) for text in texts]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(), min_size=1, max_size=20))
def test_tensorflow_drops_bytes_that_are_no_text(texts: list[bytes]) -> None:
    decoded = in_tensorflow(texts)
    # Decoders do not agree on how much of a broken sequence to give up; none of it may be left.
    assert [normalise(text) for text in decoded] == decoded
    assert all("\ufffd" not in text for text in decoded)


def in_tensorflow(texts: list[str] | list[bytes]) -> list[str]:
    import tensorflow as tf

    from tasks.text_graph import tf_normalise

    return [text.decode() for text in tf_normalise(tf.constant(texts)).numpy().tolist()]
