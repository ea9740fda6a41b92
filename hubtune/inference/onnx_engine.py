"""Probabilities from the ONNX model, by ONNX Runtime on the processor: no TensorFlow."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hubtune.errors import CorruptArtifact
from hubtune.inference.normalise import normalise
from hubtune.inference.replacements import Replacement
from hubtune.inference.tokenizer import WordPieceTokenizer

# Texts that are tokenised and sorted together: enough to find neighbours of the same length, and a bound on memory.
_TEXTS_AT_ONCE = 8192
# A batch ends at either: larger ones are no faster on processors, and the memory for attention grows with the square
# of the length.
_TEXTS_PER_BATCH = 32
_TOKENS_PER_BATCH = 4096


class OnnxEngine:
    """Answers with `model.onnx` and `tokenizer/` of a published model.

    Args:
        folder: the folder that holds the two.
        max_length: tokens per text, special ones included; the rest is cut.
        classes: how many classes the model tells apart.
        replace: what is replaced in the texts.

    Raises:
        CorruptArtifact: the model does not load.
    """

    def __init__(self, folder: Path, max_length: int, classes: int, replace: Sequence[Replacement]) -> None:
        # Since version 1.29 it sends what it does to its makers, unless this is set before it is imported.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # most of it, where it was imported before
        self._max_length, self._classes, self._replace = max_length, classes, replace
        self._tokenizer = WordPieceTokenizer.load(folder / "tokenizer")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only; ONNX Runtime warns of every subgraph that it simplifies
        path = folder / "model.onnx"
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise CorruptArtifact(
                f"the ONNX model does not load: {error}", where=str(path), remedy="publish the model again"
            ) from error

    def probabilities(self, texts: Sequence[str], seconds: Sequence[str] | None) -> NDArray[np.float32]:
        """Answer texts in batches of similar length.

        Args:
            texts: any texts, as they come.
            seconds: of pairs, the second text of each; None where texts are single.

        Returns:
            float32[texts, classes], in the order of the texts.
        """
        result = np.empty((len(texts), self._classes), np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            chunk = self._normalised(texts, start)
            firsts: list[int] | None = None
            if seconds is None:
                ids = self._tokenizer.encode(chunk, self._max_length)
            else:
                ids, firsts = self._tokenizer.encode_pairs(chunk, self._normalised(seconds, start), self._max_length)
            for batch in _batches([len(text) for text in ids]):
                sizes = None if firsts is None else [firsts[position] for position in batch]
                result[start + batch] = self._answer([ids[position] for position in batch], sizes)
        return result

    def _normalised(self, texts: Sequence[str], start: int) -> list[str]:
        return [normalise(text, self._replace) for text in texts[start : start + _TEXTS_AT_ONCE]]

    def _answer(self, ids: list[list[int]], firsts: list[int] | None) -> NDArray[np.float32]:
        length = max(len(text) for text in ids)
        input_ids = np.full((len(ids), length), self._tokenizer.pad_id, np.int64)
        attention_mask = np.zeros((len(ids), length), np.int64)
        for row, text in enumerate(ids):
            input_ids[row, : len(text)] = text
            attention_mask[row, : len(text)] = 1
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if firsts is not None:
            feeds["token_type_ids"] = attention_mask * (np.arange(length) >= np.array(firsts)[:, None])
        probabilities: NDArray[np.float32] = self._session.run(["probabilities"], feeds)[0]
        return probabilities


def _batches(lengths: list[int]) -> list[NDArray[np.intp]]:
    """Positions of texts, shortest first, cut where a batch is full."""
    order = np.argsort(lengths, kind="stable")
    batches = []
    start = 0
    for end in range(1, len(order) + 1):
        # The text at `end` would be the longest of the batch: all of its texts are padded to that length.
        if (
            end == len(order)
            or end - start == _TEXTS_PER_BATCH
            or (end - start + 1) * lengths[order[end]] > _TOKENS_PER_BATCH
        ):
            batches.append(order[start:end])
            start = end
    return batches
