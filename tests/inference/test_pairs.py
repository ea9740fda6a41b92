"""Two texts that pass through rows as one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.inference.normalise import normalise
from hubtune.inference.pairs import BETWEEN, join_pair, split_pair
from hubtune.inference.tokenizer import WordPieceSettings, WordPieceTokenizer
from tests.inference.awkward_texts import AWKWARD_TEXTS

TEXTS = st.one_of(
    st.text(max_size=40), st.sampled_from([*AWKWARD_TEXTS.values(), BETWEEN, "a ｜ b", " ｜ ", "&#65372;"])
)
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij"]
TOKENIZER = WordPieceTokenizer(VOCABULARY, WordPieceSettings(case="lower", longest_word_unit="characters"))


@given(TEXTS, TEXTS)
def test_whatever_the_texts_were_they_come_apart_again(first: str, second: str) -> None:
    pair = normalise(first), normalise(second, ["html_entities"])
    assert split_pair(join_pair(*pair)) == pair
    assert [split_pair(text) for text in pair] == [None, None]


@pytest.mark.parametrize(
    ("first", "second", "length", "pieces", "size"),
    [
        ("a b", "c", 8, "[CLS] a b [SEP] c [SEP]", 4),
        ("a b c d e", "f g h i j", 8, "[CLS] a b c [SEP] f g [SEP]", 5),
        ("a b c d e", "f g h i j", 9, "[CLS] a b c [SEP] f g h [SEP]", 5),
        ("a", "f g h i j", 8, "[CLS] a [SEP] f g h i [SEP]", 3),
        ("a b c d e", "f", 8, "[CLS] a b c d [SEP] f [SEP]", 6),
        ("", "f", 8, "[CLS] [SEP] f [SEP]", 2),
        ("a", "", 8, "[CLS] a [SEP] [SEP]", 3),
    ],
)
def test_the_longer_text_gives_way(first: str, second: str, length: int, pieces: str, size: int) -> None:
    ids, sizes = TOKENIZER.encode_pairs([first], [second], length)
    assert [VOCABULARY[each] for each in ids[0]] == pieces.split()
    assert sizes == [size]
