"""The converted preprocessor: TF Hub's interface, and the same ids as the tokenizer that answers at inference."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtune.inference.normalise import normalise
from hubtune.inference.tokenizer import WordPieceTokenizer
from tests.download_model.conftest import Fetched
from tests.inference.awkward_texts import AWKWARD_TEXTS, CHARACTERS
from tests.inference.test_tokenizer import REFERENCE, pieces

pytestmark = pytest.mark.slow

UNLIMITED = 10**6
LETTERS = st.text("abcd efg", max_size=60).map(normalise)
PLAIN = ["a quick brown unaffable fox", "b c", ""]


@pytest.fixture(scope="module")
def preprocessor(starter_model: Fetched) -> Any:
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    return tf.saved_model.load(str(starter_model.folder / "preprocessor"))


@pytest.fixture(scope="module")
def tokenizer(starter_model: Fetched) -> WordPieceTokenizer:
    return WordPieceTokenizer.load(starter_model.folder / "tokenizer")


def ids_of(preprocessor: Any, texts: list[str]) -> list[list[int]]:
    import tensorflow as tf

    words = preprocessor.tokenize(tf.constant(texts, tf.string))
    return [[101, *ids, 102] for ids in words.merge_dims(1, 2).to_list()]


def test_both_tokenizers_agree_on_awkward_texts(preprocessor: Any, tokenizer: WordPieceTokenizer) -> None:
    texts = [normalise(text) for text in AWKWARD_TEXTS.values()]
    assert tokenizer.encode(texts, UNLIMITED) == ids_of(preprocessor, texts)


def test_both_tokenizers_agree_on_every_character(preprocessor: Any, tokenizer: WordPieceTokenizer) -> None:
    for frame in ("a{}b", "{} É{}"):
        texts = [normalise(frame.format(character, character)) for character in CHARACTERS]
        ours, theirs = tokenizer.encode(texts, UNLIMITED), ids_of(preprocessor, texts)
        assert [text for text, a, b in zip(texts, ours, theirs, strict=True) if a != b] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_both_tokenizers_agree_on_any_text(preprocessor: Any, tokenizer: WordPieceTokenizer, texts: list[str]) -> None:
    normalised = [normalise(text) for text in texts]
    assert tokenizer.encode(normalised, UNLIMITED) == ids_of(preprocessor, normalised)


def test_without_normalisation_it_is_close_to_the_reference(preprocessor: Any) -> None:
    ids = ids_of(preprocessor, [row["text"] for row in REFERENCE])
    different = {row["name"]: pieces(ours) for row, ours in zip(REFERENCE, ids, strict=True) if ours != row["ids"]}
    assert different == {
        "form feed": "page break next line",
        "unassigned": "gap [UNK] here",
        "noncharacter": "end",
        "special tokens": "[ cl ##s ] a [ sep ] b [ mask ] [ pad ] [ un ##k ]",
        "hangul letters": "ᄒ ##ᅡ ##ᆫ [UNK]",
    }


def test_called_it_packs_128_ids(preprocessor: Any, tokenizer: WordPieceTokenizer) -> None:
    import tensorflow as tf

    texts = [*PLAIN, "word " * 500]
    packed = preprocessor(tf.constant(texts))
    assert {name: (value.shape.as_list(), value.dtype) for name, value in packed.items()} == {
        name: ([4, 128], tf.int32) for name in ("input_word_ids", "input_mask", "input_type_ids")
    }
    for row, ids in enumerate(tokenizer.encode(texts, 128)):
        assert packed["input_word_ids"][row].numpy().tolist() == ids + [0] * (128 - len(ids))
        assert packed["input_mask"][row].numpy().tolist() == [1] * len(ids) + [0] * (128 - len(ids))
    assert int(tf.reduce_sum(packed["input_type_ids"])) == 0


def test_it_packs_other_lengths(preprocessor: Any, tokenizer: WordPieceTokenizer) -> None:
    import tensorflow as tf

    words = preprocessor.tokenize(tf.constant(PLAIN))
    for segment in (words, words.merge_dims(1, 2)):
        packed = preprocessor.bert_pack_inputs([segment], seq_length=tf.constant(6))
        cut = tokenizer.encode(PLAIN, 6)
        assert packed["input_word_ids"].numpy().tolist() == [ids + [0] * (6 - len(ids)) for ids in cut]


def test_it_packs_pairs_and_shortens_the_longer_one(preprocessor: Any) -> None:
    import tensorflow as tf

    first = preprocessor.tokenize(tf.constant(["a b c d e", "a", "a b c d e", "a b"]))
    second = preprocessor.tokenize(tf.constant(["f g h i j", "f g h i j", "f", ""]))
    packed = preprocessor.bert_pack_inputs([first, second], seq_length=tf.constant(8))
    rows = [" ".join(pieces([0, *ids, 0]).split()) for ids in packed["input_word_ids"].numpy().tolist()]
    assert rows == [
        "[CLS] a b c [SEP] f g [SEP]",
        "[CLS] a [SEP] f g h i [SEP]",
        "[CLS] a b c d [SEP] f [SEP]",
        "[CLS] a b [SEP] [SEP] [PAD] [PAD] [PAD]",
    ]
    assert packed["input_type_ids"].numpy().tolist()[1:] == [
        [0, 0, 0, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 0, 0, 0],
    ]


def test_no_text_gives_no_rows(preprocessor: Any) -> None:
    import tensorflow as tf

    assert preprocessor(tf.constant([], tf.string))["input_word_ids"].shape == [0, 128]


def test_the_characters_tried_hold_every_mark_and_sign() -> None:
    tried = set(CHARACTERS)
    every = (chr(code) for code in range(0x110000))
    assert [c for c in every if unicodedata.category(c)[0] in "MPSZ" and c not in tried] == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=10), st.integers(8, 40))
def test_both_tokenizers_pack_pairs_alike(
    preprocessor: Any, tokenizer: WordPieceTokenizer, pairs: list[tuple[str, str]], length: int
) -> None:
    import tensorflow as tf

    firsts, seconds = zip(*pairs, strict=True)
    segments = [preprocessor.tokenize(tf.constant(texts, tf.string)) for texts in (firsts, seconds)]
    packed = {name: value.numpy() for name, value in preprocessor.bert_pack_inputs(segments, seq_length=length).items()}
    ids, sizes = tokenizer.encode_pairs(firsts, seconds, length)
    for row, (ours, size) in enumerate(zip(ids, sizes, strict=True)):
        padding = [0] * (length - len(ours))
        assert packed["input_word_ids"][row].tolist() == ours + padding
        assert packed["input_type_ids"][row].tolist() == [0] * size + [1] * (len(ours) - size) + padding
