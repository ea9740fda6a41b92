"""WordPiece tokenisation outside TensorFlow, by the Rust library `tokenizers`.

A model's preprocessor does the same work as TensorFlow ops. Both get normalised text, and both must give the same ids:
docs/tokenizer.md says how that is proved and what is left of differences.
"""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece

VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "wordpiece.json"

# Characters that TensorFlow Text's BertTokenizer makes words of their own: punctuation, ASCII's other symbols, and the
# ideographs of multilingual BERT (Devlin et al., https://github.com/google-research/bert/blob/master/multilingual.md).
_OWN_WORDS = (
    r"[\p{P}!-/:-@\[-`{-~\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2CEAF}"
    r"\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)


class WordPieceSettings(BaseModel):
    """What a vocabulary alone does not say about its tokenizer.

    `case`: `lower` strips accents and lower-cases each character, as the reference implementation of BERT does;
    `fold` folds case as TensorFlow Text does (so that "ß" becomes "ss") and strips accents; `keep` leaves both.
    `longest_word` with `longest_word_unit`: a longer word becomes the unknown token as a whole. The reference
    implementation counts characters, TensorFlow Text counts bytes of UTF-8; both stop at 100.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    case: Literal["lower", "fold", "keep"]
    longest_word: int = 100
    longest_word_unit: Literal["characters", "bytes"]
    start: str = "[CLS]"
    end: str = "[SEP]"
    padding: str = "[PAD]"
    unknown: str = "[UNK]"


class WordPieceTokenizer:
    """Turns normalised texts into token ids.

    Special tokens that somebody typed into a text are text like any other; only `encode` adds real ones.

    Args:
        vocabulary: the pieces; a piece's id is its position.
        settings: how texts are cut into words.

    Raises:
        ValueError: a special token that the settings name is not in the vocabulary.
    """

    pad_id: int

    def __init__(self, vocabulary: Sequence[str], settings: WordPieceSettings) -> None:
        self._vocabulary, self._settings = list(vocabulary), settings
        # A vocabulary may hold a piece twice: as in TensorFlow's and the reference's tables, the last id counts.
        ids = {piece: position for position, piece in enumerate(self._vocabulary)}
        special = (settings.start, settings.end, settings.padding, settings.unknown)
        missing = [piece for piece in special if piece not in ids]
        if missing:
            raise ValueError(f"the vocabulary of {len(ids)} pieces has no {missing[0]!r}")
        self.pad_id = ids[settings.padding]
        self._start, self._end, self._unknown = ids[settings.start], ids[settings.end], ids[settings.unknown]
        self._tokenizer = Tokenizer(
            WordPiece(vocab=ids, unk_token=settings.unknown, max_input_chars_per_word=settings.longest_word)
        )
        if settings.case == "lower":
            self._tokenizer.normalizer = normalizers.BertNormalizer(clean_text=False, strip_accents=True)
            self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        else:
            strip_accents = [normalizers.NFD(), normalizers.Replace(Regex(r"\p{Mn}"), "")]
            self._tokenizer.normalizer = normalizers.Sequence(strip_accents if settings.case == "fold" else [])
            self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_OWN_WORDS), "isolated")]
            )

    @classmethod
    def load(cls, folder: Path) -> "WordPieceTokenizer":
        """Read a tokenizer that `save` wrote.

        Args:
            folder: holds the vocabulary and the settings.

        Returns:
            The tokenizer.
        """
        settings = WordPieceSettings.model_validate_json((folder / SETTINGS_FILE).read_bytes())
        return cls(read_vocabulary(folder / VOCABULARY_FILE), settings)

    def save(self, folder: Path) -> None:
        """Write the tokenizer as two files; equal tokenizers give equal bytes.

        Args:
            folder: made where it does not exist.
        """
        folder.mkdir(parents=True, exist_ok=True)
        pieces = "".join(f"{piece}\n" for piece in self._vocabulary)
        (folder / VOCABULARY_FILE).write_bytes(pieces.encode())
        settings = json.dumps(self._settings.model_dump(), indent=2, sort_keys=True) + "\n"
        (folder / SETTINGS_FILE).write_bytes(settings.encode())

    @property
    def vocabulary_size(self) -> int:
        """How many pieces there are; every id is below it."""
        return len(self._vocabulary)

    def encode(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Give each text's token ids.

        Args:
            texts: normalised texts.
            max_length: the most ids per text, the two special tokens included; the rest of the text is cut off.

        Returns:
            For each text the start token, its pieces, the end token.
        """
        return [[self._start, *ids[: max_length - 2], self._end] for ids in self._pieces(texts)]

    def encode_pairs(
        self, firsts: Sequence[str], seconds: Sequence[str], max_length: int
    ) -> tuple[list[list[int]], list[int]]:
        """Give the token ids of pairs of texts.

        Args:
            firsts: normalised texts.
            seconds: normalised texts, as many.
            max_length: the most ids per pair, the three special tokens included; the longer text is cut off first, as
                TF Hub's preprocessors do.

        Returns:
            For each pair the start token, the pieces of the first text, the end token, those of the second, the end
            token; and how many of these belong to the first text, the special tokens around it included.
        """
        room = max_length - 3
        ids, sizes = [], []
        for first, second in zip(self._pieces(firsts), self._pieces(seconds), strict=True):
            fitting = min(len(first), max(room - len(second), room - room // 2))
            ids.append([self._start, *first[:fitting], self._end, *second[: room - fitting], self._end])
            sizes.append(fitting + 2)
        return ids, sizes

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        if self._settings.case == "fold":
            texts = [_fold(text) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        pieces = [encoding.ids for encoding in encodings]
        if self._settings.longest_word_unit == "bytes":
            pieces = [
                self._without_long_words(text) if self._may_hold_a_long_word(text) else ids
                for text, ids in zip(texts, pieces, strict=True)
            ]
        return pieces

    def _may_hold_a_long_word(self, text: str) -> bool:
        # ASCII words have as many bytes as characters. Taking accents off first takes characters apart, into at most
        # three times the bytes (UAX 15, table of worst cases: a Korean syllable becomes its letters).
        longest = self._settings.longest_word
        return not text.isascii() and any(3 * len(word.encode()) > longest for word in text.split(" "))

    def _without_long_words(self, text: str) -> list[int]:
        assert self._tokenizer.normalizer is not None
        assert self._tokenizer.pre_tokenizer is not None
        words = self._tokenizer.pre_tokenizer.pre_tokenize_str(self._tokenizer.normalizer.normalize_str(text))
        ids: list[int] = []
        for word, _ in words:
            if len(word.encode()) > self._settings.longest_word:
                ids.append(self._unknown)
            else:
                ids.extend(token.id for token in self._tokenizer.model.tokenize(word))
        return ids


def read_vocabulary(file: Path) -> list[str]:
    """Read a `vocab.txt`: one piece per line, line ends of either kind.

    Args:
        file: the vocabulary.

    Returns:
        The pieces in the order of their ids.
    """
    lines = file.read_bytes().decode().split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def _fold(text: str) -> str:
    # TensorFlow Text folds with Unicode's NFKC_Casefold, which maps, composes, and maps again what that laid bare.
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text.casefold())
    return unicodedata.normalize("NFKC", folded.casefold())
