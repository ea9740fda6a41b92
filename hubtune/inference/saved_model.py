"""Probabilities from the SavedModel, by TensorFlow: for models that ONNX cannot express, and to prove an export."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hubtune.errors import CorruptArtifact, NeedsTensorFlow

# The graph pads each batch to its longest text, so a batch is cut by characters: some 4096 tokens of English.
_TEXTS_PER_BATCH = 32
_CHARACTERS_PER_BATCH = 16_384


class SavedModelEngine:
    """Answers with the SavedModel of a published model.

    Args:
        folder: the folder that holds `saved_model.pb`.
        name: the model's name, for messages.

    Raises:
        NeedsTensorFlow: TensorFlow or TensorFlow Text is not installed.
        CorruptArtifact: the model does not load.
    """

    def __init__(self, folder: Path, name: str) -> None:
        try:
            import tensorflow as tf
            import tensorflow_text  # noqa: F401 - registers the ops that the graph normalises and tokenises with
        except ImportError as error:
            raise NeedsTensorFlow(
                f"{name} answers from a SavedModel, which needs TensorFlow and TensorFlow Text ({error})",
                where=str(folder),
                remedy='pip install "tensorflow==2.21.*" "tensorflow-text==2.21.*"',
            ) from error
        try:
            # The signature does not keep the model that it belongs to alive.
            self._model = tf.saved_model.load(str(folder))
            self._signature = self._model.signatures["serving_default"]
        except Exception as error:  # what TensorFlow raises for a damaged file depends on where it is damaged
            raise CorruptArtifact(
                f"the SavedModel does not load: {error}", where=str(folder), remedy="publish the model again"
            ) from error
        self._constant = tf.constant

    def probabilities(self, texts: Sequence[str], seconds: Sequence[str] | None) -> NDArray[np.float32]:
        """Answer texts in batches of similar length.

        Args:
            texts: any texts, as they come.
            seconds: of pairs, the second text of each; None where texts are single.

        Returns:
            float32[texts, classes], in the order of the texts.
        """
        # Only Python strings can hold halves of surrogate pairs; normalisation would drop them too.
        named = {"text": texts} if seconds is None else {"text": texts, "text_pair": seconds}
        encoded = {name: [text.encode("utf-8", errors="ignore") for text in each] for name, each in named.items()}
        lengths = [sum(map(len, each)) for each in zip(*encoded.values(), strict=True)]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        rows: list[NDArray[np.float32]] = []
        start = 0
        while start < len(order):
            end = min(start + _TEXTS_PER_BATCH, len(order))
            while end - start > 1 and (end - start) * lengths[order[end - 1]] > _CHARACTERS_PER_BATCH:
                end -= 1
            batch = {
                name: self._constant([each[position] for position in order[start:end]])
                for name, each in encoded.items()
            }
            rows.append(self._signature(**batch)["probabilities"].numpy())
            start = end
        sorted_rows = np.concatenate(rows)
        result = np.empty_like(sorted_rows)
        result[order] = sorted_rows
        return result
