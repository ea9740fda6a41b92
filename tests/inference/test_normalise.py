"""Normalisation: what it does, that twice is once, and that Python and TensorFlow do the same."""

import functools
import unicodedata
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE, normalise
from hubtune.inference.replacements import NAMED, Replacement
from tests.inference.awkward_texts import AWKWARD_TEXTS, CHARACTERS, TO_REPLACE

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


ALL = get_args(Replacement)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fish &amp; chips &lt;3 &quot;hot&quot;", 'Fish & chips <3 "hot"'),
        ("&#39;tis caf&eacute; &#x1F600;&nbsp;time", "'tis café 😀 time"),
        ("twice &amp;lt; thrice &amp;amp;gt;", "twice < thrice >"),
        ("&" + "amp;#38;#x26;AMP;#038;" * 50 + "quot;", '"'),
        ("formed &#3&#57;; of &#3&#5&#55;;;", "formed ' of '"),
        ("＆ａｍｐ； in full width", "& in full width"),
        ("&hellip; and &frac12;", "... and 1⁄2"),
        ("AT&T &unknown; &amp & b; &#; &#x;", "AT&T &unknown; &amp & b; &#; &#x;"),
        ("old &#150; dash, none &#0; &#xD800; &#x110000; &#9999999;", "old – dash, none"),
        ("see https://example.org/a?b=c#d, or HTTP://X.Y/z.", "see http, or http."),
        ("(www.example.org) and 'http://a.b/c'!", "(http) and 'http'!"),
        ("see http://a.b&nbsp;and more", "see http and more"),
        ("http://a.b&#10;next line", "http next line"),
        ('<a href="http://a.b/c">click</a> &lt;www.a.org&gt;text', '<a href="http">click</a> <http>text'),
        ("awww...so cute, Ewww.gross WWW.A.ORG, xhttps://a.b", "awww...so cute, Ewww.gross http, xhttp"),
        ("请看https://a.b/c。这个，http://ü.de/ß，不要", "请看http。这个,http,不要"),
        ("[a](http://x.y) [b](http://z.y)", "[a](http) [b](http)"),
        ("ftp://a.b http:// httpx www", "ftp://a.b http:// httpx www"),
        ("@ann and @bob_2: hi @ ann", "@user and @user: hi @ ann"),
        ("mail ann@example.org, not @@ann", "mail ann@example.org, not @@ann"),
        ("josé@example.org", "josé@user.org"),
        ("&#64;ann wrote http&colon;//a.b", "@user wrote http"),
        ("@Q\u0323", "@userṛ"),
    ],
)
def test_what_is_replaced(text: str, expected: str) -> None:
    assert normalise(text, ALL) == normalise(expected)


def test_only_what_was_asked_for_is_replaced() -> None:
    text = "&lt; http://a.b @ann"
    assert normalise(text) == text
    assert normalise(text, ["html_entities"]) == "< http://a.b @ann"
    assert normalise(text, ["urls"]) == "&lt; http @ann"
    assert normalise(text, ["users"]) == "&lt; http://a.b @user"


# Pieces out of which whatever is replaced can come about, also by replacing another.
PIECES = [
    "&",
    "amp;",
    "lt;",
    "#",
    "x",
    "26",
    ";",
    "&#38;",
    "&#x40;",
    "@",
    "ann",
    "http",
    "://",
    "www.",
    "b.c",
    " ",
    "é",
]
REPLACEABLE = st.lists(st.sampled_from([*PIECES, "ＡＭＰ；", "＠", "\u0323", "&NotEqualTilde;", ")", ","]), max_size=12)


@given(REPLACEABLE.map("".join), st.sets(st.sampled_from(ALL)))
def test_nothing_is_left_to_replace(text: str, replace: set[Replacement]) -> None:
    once = normalise(text, replace)
    assert normalise(once, replace) == once
    assert normalise(once) == once


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(REPLACEABLE.map("".join), min_size=1, max_size=20))
def test_tensorflow_replaces_the_same(texts: list[str]) -> None:
    assert in_tensorflow(texts, ALL) == [normalise(text, ALL) for text in texts]


@pytest.mark.slow
def test_tensorflow_knows_the_same_entities() -> None:
    numbers = [*range(0x300), 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFFFD, 0xFFFE, 0x10000, 0x10FFFF, 0x110000, 0xFFFFFF]
    texts = [*NAMED, *(f"a&#{number};b" for number in numbers), *(f"a&#x{number:X};b" for number in numbers)]
    texts += [*TO_REPLACE, *AWKWARD_TEXTS.values(), "&#x00000041;", "&#0000065;", "&#00000065;"]
    assert in_tensorflow(texts, ALL) == [normalise(text, ALL) for text in texts]
    for replace in ALL:
        assert in_tensorflow(TO_REPLACE, [replace]) == [normalise(text, [replace]) for text in TO_REPLACE]


def in_tensorflow(texts: list[str] | list[bytes], replace: Sequence[Replacement] = ()) -> list[str]:
    import tensorflow as tf

    return [text.decode() for text in traced(tuple(replace))(tf.constant(texts)).numpy().tolist()]


@functools.cache
def traced(replace: tuple[Replacement, ...]) -> Any:
    import tensorflow as tf

    from tasks.text_graph import tf_normalise

    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(lambda texts: tf_normalise(texts, replace), input_signature=signature, autograph=False)
