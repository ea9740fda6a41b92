"""A forward pass over all examples, batch by batch."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from tasks.retrain.batches import forward_batches
from tasks.retrain.examples import Features, TokenIds, Texts
from tasks.retrain.tensorflow_setup import Tensor

# Tokens per batch.
TOKEN_BUDGET = 4096
# Texts per batch, for a module that takes strings; its cost does not lie in padding.
TEXTS_PER_BATCH = 512


def forward(
    compute: Callable[[Features], Tensor], inputs: TokenIds | Texts, width: int, say: Say, task: str
) -> npt.NDArray[np.float32]:
    """Run a function over all inputs, with as little padding as there can be.

    Args:
        compute: features of a batch -> float32[batch, width].
        inputs: token ids or texts.
        width: of the function's output.
        say: takes progress lines.
        task: what is being done, for the progress lines.

    Returns:
        float32[n, width], in the inputs' order.
    """
    lengths = inputs.lengths
    if isinstance(inputs, TokenIds):
        batches = forward_batches(lengths, TOKEN_BUDGET)
    else:
        batches = forward_batches(np.ones_like(lengths), TEXTS_PER_BATCH)
    results = np.empty((len(lengths), width), np.float32)
    progress = Progress(say, task, len(lengths), "texts")
    for rows in batches:
        results[rows] = compute(inputs.batch(rows)).numpy()
        progress.advance(len(rows))
    progress.finish()
    return results
