"""Text normalisation as TensorFlow ops: the same as `hubtune.inference.normalise`, for graphs that take text in."""

from collections.abc import Iterable
from typing import Any

from hubtune.inference.normalise import INVISIBLE, WHITE_SPACE


def tf_normalise(texts: Any) -> Any:
    """Normalise texts inside a graph; byte for byte what `normalise` gives for each of them.

    The one exception are compatibility characters that are newer than the Unicode version of the Python that runs
    `normalise`: TensorFlow Text brings its own tables.

    Args:
        texts: string tensor of any shape, UTF-8. Bytes that are no UTF-8 are dropped.

    Returns:
        String tensor of the same shape.
    """
    import tensorflow as tf
    import tensorflow_text as tf_text

    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace", replacement_char=0xFFFD)
    texts = tf.strings.regex_replace(texts, character_class(WHITE_SPACE), " ")
    texts = tf.strings.regex_replace(texts, character_class(INVISIBLE), "")
    texts = tf_text.normalize_utf8(texts, "NFKC")
    return tf.strings.strip(tf.strings.regex_replace(texts, "  +", " "))


def character_class(ranges: Iterable[tuple[int, int]]) -> str:
    """A regular expression, in RE2's syntax, for runs of characters.

    Args:
        ranges: code points, as (first, last).

    Returns:
        The expression.
    """
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in ranges) + "]+"
