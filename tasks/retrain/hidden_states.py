"""What the frozen layers of an encoder give for each text, computed once and not in every epoch."""

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from tasks.retrain.batches import forward_batches
from tasks.retrain.examples import Rows, TokenIds, token_offsets, token_positions
from tasks.retrain.forward import TOKEN_BUDGET, compute_batches
from tasks.retrain.layered_encoder import LayeredEncoder
from tasks.retrain.tensorflow_setup import Tensor

# Of the memory that is free, what they may take; training needs the rest.
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class HiddenStates:
    """The token vectors of n texts at one layer, one after the other in one array.

    Args:
        values: float32[tokens, width].
        offsets: int64[n + 1]; text i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets)

    def batch(
        self, rows: Rows, length: int | None = None
    ) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int32]]:
        """The input of `UpperLayers` for some texts.

        Args:
            rows: int64[n], positions of the texts.
            length: what they are padded to, no less than the longest of them; None: the longest of them.

        Returns:
            `hidden` float32[n * length, width] and `input_mask` int32[n, length].
        """
        lengths = self.offsets[rows + 1] - self.offsets[rows]  # of these alone: there may be millions
        padded = int(lengths.max(initial=1)) if length is None else length
        mask = np.arange(padded)[None, :] < lengths[:, None]
        hidden = np.zeros((mask.size, self.values.shape[1]), np.float32)
        hidden[mask.reshape(-1)] = self.values[token_positions(self.offsets[rows], lengths, token_offsets(lengths))]
        return {"hidden": hidden, "input_mask": mask.astype(np.int32)}


def fit_into_memory(splits: list[TokenIds], width: int) -> bool:
    """Whether the hidden states of all splits leave enough of the free memory for training."""
    wanted = sum(len(split.values) for split in splits) * width * 4
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return wanted <= free * _SHARE_OF_MEMORY


def compute_hidden_states(encoder: LayeredEncoder, texts: TokenIds, say: Say, *, training: bool) -> HiddenStates:
    """Run the frozen layers over all texts.

    Args:
        encoder: with at least one frozen group.
        texts: token ids.
        say: takes progress lines.
        training: whether they are computed as for a step, in its precision; answers are computed in float32.

    Returns:
        Their hidden states, in the texts' order.
    """
    import tensorflow as tf

    step = tf.constant(0, tf.int64) if training else None

    def lower(features: Tensor) -> Tensor:
        return tf.cast(encoder.lower(features, step), tf.float32)

    compute = tf.function(lower, input_signature=[encoder.signature], autograph=False)
    values = np.empty((len(texts.values), encoder.bert.config.hidden_size), np.float32)
    progress = Progress(say, "Frozen layers", len(texts.lengths), "texts", part=(0.0, 0.0))
    for rows, result in compute_batches(compute, texts, forward_batches(texts.lengths, TOKEN_BUDGET)):
        lengths = texts.lengths[rows]
        places = token_positions(texts.offsets[rows], lengths, token_offsets(lengths))
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        values[places] = result[mask.reshape(-1)]
        progress.advance(len(rows))
    progress.finish()
    return HiddenStates(values, texts.offsets)
