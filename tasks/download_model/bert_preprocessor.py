"""The text side of a converted BERT model, as TensorFlow ops with TF Hub's preprocessor interface.

The words are cut as the reference implementation's tokenizer cuts them, not as TensorFlow Text's `BertTokenizer` does:
that one folds case further, cuts at other marks, and counts a word's bytes where the reference counts
characters. docs/tokenizer.md has the comparison.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE
from hubtune.inference.tokenizer import WordPieceSettings
from tasks.text_graph import character_class

DEFAULT_SEQUENCE_LENGTH = 128
_MOST_BYTES_OF_A_CHARACTER = 4
# Every character that text may hold by the time it is cut: white space and what is invisible is gone, and with it all
# above the third plane. Surrogates are no characters.
_CHARACTERS = [chr(code) for code in chain(range(0x21, 0xD800), range(0xE000, 0x40000))]


def build_preprocessor(vocabulary_file: Path, settings: WordPieceSettings) -> Any:
    """Build the preprocessor: string[n] -> input_word_ids, input_mask, input_type_ids, each int32[n, 128].

    It has the two parts that TF Hub's preprocessors have, for other lengths and for pairs of texts: `tokenize`
    (string[n] -> ragged int32[n, words, pieces]) and `bert_pack_inputs` (list of one or two such, and the length).

    Args:
        vocabulary_file: becomes an asset of the SavedModel.
        settings: `case` is `lower` or `keep`, words are measured in characters.

    Returns:
        A trackable object, to be saved with `tf.saved_model.save`.
    """
    import tensorflow as tf
    import tensorflow_text as tf_text

    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.TextFileInitializer(
            str(vocabulary_file),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        num_oov_buckets=1,
        # A named table would be shared, in a process that loads several models, and its name holds the file's path.
        experimental_is_anonymous=True,
    )
    special = (settings.start, settings.end, settings.padding)
    start, end, padding = (int(identity) for identity in table.lookup(tf.constant(special)))
    pieces_of = tf_text.WordpieceTokenizer(
        table,
        max_bytes_per_word=settings.longest_word * _MOST_BYTES_OF_A_CHARACTER,
        unknown_token=settings.unknown,
        token_out_type=tf.int32,
    )
    marks, delimiters = _accents(), _delimiters()
    lower_case = settings.case == "lower"

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")], autograph=False)
    def tokenize(texts: Any) -> Any:
        texts = tf.strings.regex_replace(texts, character_class(WHITE_SPACE), " ")
        texts = tf.strings.regex_replace(texts, character_class(INVISIBLE), "")
        if lower_case:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), marks, "")
            # Sigma first: TensorFlow would lower-case it to "ς" at the end of a word, the reference does not.
            texts = tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), encoding="utf-8")
        words = tf_text.regex_split(texts, f" +|{delimiters}", delimiters)
        too_long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > settings.longest_word
        words = words.with_flat_values(tf.where(too_long, settings.unknown, words.flat_values))
        return pieces_of.tokenize(words)

    @tf.function(autograph=False)
    def bert_pack_inputs(inputs: Sequence[Any], seq_length: Any = DEFAULT_SEQUENCE_LENGTH) -> dict[str, Any]:
        segments = [segment.merge_dims(1, -1) if segment.ragged_rank > 1 else segment for segment in inputs]
        lengths = _fitting([segment.row_lengths() for segment in segments], tf.cast(seq_length, tf.int64))
        edge = tf.fill([segments[0].nrows(), 1], start)
        pieces, ends = [edge], [tf.ones_like(lengths[0])]
        for segment, length in zip(segments, lengths, strict=True):
            pieces += [tf.RaggedTensor.from_tensor(segment.to_tensor(), length), tf.fill(tf.shape(edge), end)]
            ends.append(ends[-1] + length + 1)
        word_ids = tf.concat(pieces, 1).to_tensor(padding, shape=tf.stack([-1, seq_length]))
        mask = tf.sequence_mask(ends[-1], seq_length, tf.int32)
        type_ids = mask - tf.sequence_mask(ends[1], seq_length, tf.int32)
        return {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": type_ids}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")], autograph=False)
    def preprocess(inputs: Any) -> dict[str, Any]:
        packed: dict[str, Any] = bert_pack_inputs([tokenize(inputs)], DEFAULT_SEQUENCE_LENGTH)
        return packed

    for ragged_rank in (1, 2):
        for count in (1, 2):
            shape = [None] * (ragged_rank + 1)
            segment = tf.RaggedTensorSpec(shape, tf.int32, ragged_rank=ragged_rank)
            bert_pack_inputs.get_concrete_function([segment] * count, tf.TensorSpec([], tf.int32))

    preprocessor = tf.train.Checkpoint(table=table)
    preprocessor.__call__ = preprocess
    preprocessor.tokenize = tf.train.Checkpoint(table=table)
    preprocessor.tokenize.__call__ = tokenize
    preprocessor.bert_pack_inputs = tf.train.Checkpoint()
    preprocessor.bert_pack_inputs.__call__ = bert_pack_inputs
    return preprocessor


def _fitting(lengths: Sequence[Any], seq_length: Any) -> list[Any]:
    """How much of each of one or two segments fits; the longer one gives way first, as in TF Hub's packers."""
    import tensorflow as tf

    room = seq_length - len(lengths) - 1
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], room)]
    first = tf.minimum(lengths[0], tf.maximum(room - lengths[1], room - room // 2))
    return [first, tf.minimum(lengths[1], room - first)]


def _delimiters() -> str:
    """One character that is a word of its own: where the reference's normalizer or pre-tokenizer cuts."""
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    space = BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    words = (word for word, _ in BertPreTokenizer().pre_tokenize_str(space.normalize_str("a".join(_CHARACTERS))))
    return character_class(_ranges({word for word in words if len(word) == 1 and word != "a"})).removesuffix("+")


def _accents() -> str:
    """The marks that the reference's normalizer strips."""
    from tokenizers.normalizers import BertNormalizer

    strip = BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    left = strip.normalize_str("\n".join(f"a{character}" for character in _CHARACTERS)).split("\n")
    return character_class(_ranges({c for c, text in zip(_CHARACTERS, left, strict=True) if text == "a"}))


def _ranges(characters: Iterable[str]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = (ranges[-1][0], code)
        else:
            ranges.append((code, code))
    return ranges
