"""Text normalisation as TensorFlow ops: the same as `hubtune.inference.normalise`, for graphs that take text in."""

from collections.abc import Collection, Iterable
from typing import Any

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE
from hubtune.inference.replacements import (
    ENTITY,
    ENTITY_PASSES,
    ESCAPED,
    NAMED,
    URL,
    URL_REWRITE,
    USER,
    USER_REWRITE,
    WINDOWS_1252,
    WORD_PASSES,
    Replacement,
)


def tf_normalise(texts: Any, replace: Collection[Replacement] = ()) -> Any:
    """Normalise texts inside a graph; byte for byte what `normalise` gives for each of them.

    The one exception are compatibility characters that are newer than the Unicode version of the Python that runs
    `normalise`: TensorFlow Text brings its own tables.

    Args:
        texts: string[n], UTF-8. Bytes that are no UTF-8 are dropped.
        replace: what is replaced, as in `normalise`.

    Returns:
        string[n].
    """
    import tensorflow as tf

    texts = _normalised(texts)
    if "html_entities" in replace:
        # No table, which a SavedModel would have to initialise: different entities are few.
        named = tf.constant(list(NAMED)), tf.constant(list(NAMED.values()))
        for _ in range(ENTITY_PASSES):
            texts = _normalised(_without_entities(texts, named))
        still = _normalised(_without_entities(texts, named)) != texts
        texts = tf.where(still, _normalised(tf.strings.regex_replace(texts, "&", "")), texts)
    for _ in range(WORD_PASSES if "urls" in replace or "users" in replace else 0):
        if "urls" in replace:
            texts = tf.strings.regex_replace(texts, URL, URL_REWRITE)
        if "users" in replace:
            texts = tf.strings.regex_replace(texts, USER, USER_REWRITE)
        texts = _normalised(texts)
    return texts


def _normalised(texts: Any) -> Any:
    import tensorflow as tf
    import tensorflow_text as tf_text

    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0xFFFD)
    texts = tf.strings.regex_replace(texts, character_class(WHITE_SPACE), " ")
    texts = tf.strings.regex_replace(texts, character_class(INVISIBLE), "")
    texts = tf_text.normalize_utf8(texts, "NFKC")
    return tf.strings.strip(tf.strings.regex_replace(texts, "  +", " "))


def _without_entities(texts: Any, named: tuple[Any, Any]) -> Any:
    import tensorflow as tf
    import tensorflow_text as tf_text

    texts = tf.strings.regex_replace(texts, ESCAPED, "&")
    pieces = tf_text.regex_split(texts, ENTITY, keep_delim_regex_pattern=ENTITY)
    values = pieces.flat_values
    places = tf.where(tf.strings.regex_full_match(values, ENTITY))
    entities, which = tf.unique(tf.gather_nd(values, places))
    replaced = tf.tensor_scatter_nd_update(values, places, tf.gather(_characters(entities, *named), which))
    return tf.strings.reduce_join(pieces.with_flat_values(replaced), axis=1)


def _characters(entities: Any, names: Any, meanings: Any) -> Any:
    """What entities stand for: string[n] -> string[n]. Those that are not among the names stay as they are."""
    import tensorflow as tf

    same = entities[:, None] == names[None, :]
    characters = tf.where(tf.reduce_any(same, axis=1), tf.gather(meanings, tf.argmax(same, axis=1)), entities)

    numbered = tf.strings.regex_full_match(entities, "&#.*")
    hexadecimal = tf.strings.regex_full_match(entities, "&#[xX].*")
    digits = tf.strings.regex_replace(entities, "[&#xX;]", "")
    decimals = tf.strings.to_number(tf.where(numbered & ~hexadecimal, digits, "0"), tf.int32)
    codes = tf.where(hexadecimal, _hexadecimal(tf.where(hexadecimal, digits, "0")), decimals)
    from_windows = (codes >= 0x80) & (codes < 0xA0)
    codes = tf.where(from_windows, tf.gather(WINDOWS_1252, tf.where(from_windows, codes - 0x80, 0)), codes)
    # What UTF-8 cannot encode is no character.
    sound = ((codes > 0) & (codes < 0xD800)) | ((codes >= 0xE000) & (codes <= 0x10FFFF))
    encoded = tf.strings.unicode_encode(tf.where(sound, codes, 0xFFFD)[:, None], "UTF-8")
    return tf.where(numbered, encoded, characters)


def _hexadecimal(digits: Any) -> Any:
    """Numbers of up to six hexadecimal digits: string[n] -> int32[n]."""
    import tensorflow as tf

    six = tf.strings.substr(tf.strings.join(["00000", tf.strings.lower(digits)]), -6, 6)
    codes = tf.cast(tf.reshape(tf.io.decode_raw(six, tf.uint8), [-1, 6]), tf.int32)
    values = tf.where(codes >= ord("a"), codes - ord("a") + 10, codes - ord("0"))
    return tf.reduce_sum(values * tf.constant([16**place for place in range(5, -1, -1)]), axis=1)


def character_class(ranges: Iterable[tuple[int, int]]) -> str:
    """A regular expression, in RE2's syntax, for runs of characters.

    Args:
        ranges: code points, as (first, last).

    Returns:
        The expression.
    """
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]+"
