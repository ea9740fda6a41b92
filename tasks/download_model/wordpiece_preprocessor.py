"""Reads a preprocessor SavedModel: which vocabulary it holds, and how it cuts text into words.

Neither is written down anywhere in it in a form that could be relied on. So the vocabulary is looked for among its
assets, and the rest is found out by comparing what it makes of awkward texts with what our tokenizer makes of them
under each of its settings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubtune.errors import UnsupportedModel
from hubtune.inference.normalise import normalise
from hubtune.inference.tokenizer import WordPieceSettings, WordPieceTokenizer, read_vocabulary
from tasks.download_model.load_saved_model import describe, first_line, load_callable

_SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
_SUPPORTED = (
    "use a preprocessor with TF Hub's interface (string[n] -> input_word_ids, input_mask, input_type_ids, with "
    "tokenize and bert_pack_inputs) and a WordPiece vocabulary"
)
# The first that agrees is taken. TensorFlow Text's own ways come first, since TF Hub's preprocessors are made with it.
_CANDIDATES = (
    WordPieceSettings(case="fold", longest_word_unit="bytes"),
    WordPieceSettings(case="keep", longest_word_unit="bytes"),
    WordPieceSettings(case="lower", longest_word_unit="characters"),
    WordPieceSettings(case="keep", longest_word_unit="characters"),
)
_LENGTH = 64
_PAIR_LENGTH = 15  # an odd number of pieces fits: one text gets one more
# Each tells some of the candidates apart, or a preprocessor that is none of them: case, accents, "ß", the final sigma,
# dotted and dotless i, words of more than 100 letters or bytes, ideographs, Thai, symbols, typed special tokens.
_PROBES = (
    "How do Plants KNOW when to bloom?", "unaffable embeddings, antidisestablishmentarianism!",
    "Crème Brûlée À LA CARTE", "Straße GROẞ", "ΟΔΥΣΣΕΥΣ σοφός", "İstanbul ISPARTA ısı", "Почему небо голубое? Ёжик",
    "北京是中国的首都吗 東京タワー", "ทำไมท้องฟ้าถึงเป็นสีฟ้า", "서울은 어디에 있습니까", "आसमान नीला क्यों है",
    "لماذا السماء زرقاء", "jane.doe+news@example.co.uk", "https://example.org/a_b?x=1&y=2",
    "$5 €6 a^b `c` ~d| <e> {f} 3.14 1,000", "“quotes” – dash — ‘dash’", "👍🏽 😀 x²",
    "[CLS] a [SEP] [MASK] [UNK] [unused1]", "a" * 100, "a" * 101, "я" * 45 + " " + "я" * 60,
    "ก" * 30 + " " + "ก" * 40, "й" * 30, "", "word " * 80,
)  # fmt: skip


def tokenizer_of(folder: Path, source: str) -> tuple[WordPieceTokenizer, bool]:
    """Find the tokenizer that does outside TensorFlow what a preprocessor does inside.

    Args:
        folder: the preprocessor's SavedModel.
        source: the handle it came from, for messages.

    Returns:
        A tokenizer that gives the same ids on every probe, and whether it also packs pairs as the preprocessor does:
        not where that takes single texts only, or shortens pairs in another way.

    Raises:
        UnsupportedModel: it is no preprocessor, or not a WordPiece one, or cuts text in a way that is not known here.
    """
    preprocessor = load_callable(folder, source, _SUPPORTED)
    for part in ("tokenize", "bert_pack_inputs"):
        if not callable(getattr(preprocessor, part, None)):
            raise UnsupportedModel(
                f"the preprocessor has no {part}; found {describe(folder, preprocessor)}",
                where=source,
                remedy=_SUPPORTED,
            )
    vocabulary = _vocabulary(folder, source)
    probes = [normalise(probe) for probe in _PROBES]
    expected = _ids(preprocessor, probes, folder, source)
    differences = []
    for settings in _CANDIDATES:
        tokenizer = WordPieceTokenizer(vocabulary, settings)
        ids = tokenizer.encode(probes, _LENGTH)
        wrong = [number for number in range(len(probes)) if ids[number] != expected[number]]
        if not wrong:
            return tokenizer, _packs_pairs(preprocessor, tokenizer)
        differences.append((len(wrong), settings, probes[wrong[0]], ids[wrong[0]], expected[wrong[0]]))
    count, settings, text, ours, theirs = min(differences, key=lambda difference: difference[0])
    raise UnsupportedModel(
        f"the preprocessor cuts text in a way that is not known here: on {count} of {len(probes)} probes it differs "
        f"even from the closest setting (case: {settings.case}), for instance {text[:40]!r}: it gives "
        f"{_pieces(theirs, vocabulary)}, not {_pieces(ours, vocabulary)}",
        where=source,
        remedy=_SUPPORTED,
    )


def _packs_pairs(preprocessor: Any, tokenizer: WordPieceTokenizer) -> bool:
    import tensorflow as tf

    firsts, seconds = (list(map(normalise, texts)) for texts in (_PROBES, reversed(_PROBES)))
    try:
        segments = [preprocessor.tokenize(tf.constant(texts)) for texts in (firsts, seconds)]
        packed = preprocessor.bert_pack_inputs(segments, seq_length=tf.constant(_PAIR_LENGTH))
        found = [packed[name].numpy().tolist() for name in ("input_word_ids", "input_mask", "input_type_ids")]
    except Exception:  # whatever a foreign model raises when it is called
        return False
    ids, sizes = tokenizer.encode_pairs(firsts, seconds, _PAIR_LENGTH)
    padding = [[0] * (_PAIR_LENGTH - len(each)) for each in ids]
    expected = [
        [[*each, *[tokenizer.pad_id] * len(rest)] for each, rest in zip(ids, padding, strict=True)],
        [[*[1] * len(each), *rest] for each, rest in zip(ids, padding, strict=True)],
        [[*[0] * size, *[1] * (len(each) - size), *rest] for each, size, rest in zip(ids, sizes, padding, strict=True)],
    ]
    return found == expected


def _vocabulary(folder: Path, source: str) -> list[str]:
    assets = sorted(path for path in (folder / "assets").rglob("*") if path.is_file())
    for asset in assets:
        try:
            pieces = read_vocabulary(asset)
        except UnicodeDecodeError:
            continue
        if set(_SPECIAL) <= set(pieces):
            return pieces
    names = ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in assets) or "none"
    raise UnsupportedModel(
        f"the preprocessor holds no WordPiece vocabulary (a text file with the pieces {', '.join(_SPECIAL)}); its "
        f"assets: {names}",
        where=source,
        remedy=_SUPPORTED,
    )


def _ids(preprocessor: Any, texts: Sequence[str], folder: Path, source: str) -> list[list[int]]:
    """The ids that the preprocessor itself gives, padding taken off."""
    import tensorflow as tf

    try:
        pieces = preprocessor.tokenize(tf.constant(texts))
        packed = preprocessor.bert_pack_inputs([pieces], seq_length=tf.constant(_LENGTH))
        rows = tf.RaggedTensor.from_tensor(packed["input_word_ids"], tf.reduce_sum(packed["input_mask"], 1))
        ids: list[list[int]] = rows.to_list()
    except Exception as error:  # whatever a foreign model raises when it is called
        raise UnsupportedModel(
            f"the preprocessor cannot be called as TF Hub's are: {first_line(error)}; found "
            f"{describe(folder, preprocessor)}",
            where=source,
            remedy=_SUPPORTED,
        ) from error
    return ids


def _pieces(ids: Sequence[int], vocabulary: Sequence[str]) -> str:
    return " ".join(vocabulary[identity] if identity < len(vocabulary) else f"#{identity}" for identity in ids[:12])
