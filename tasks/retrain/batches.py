"""Which examples share a batch: those of similar length, so that little padding is computed."""

import numpy as np
import numpy.typing as npt

from tasks.retrain.examples import Rows

# Batches per pool within which examples are sorted by length. Larger pools leave less padding and less chance; at 50
# padding is below a few per cent, and each batch is still a random draw among examples of its length.
_POOL = 50


def training_batches(lengths: npt.NDArray[np.int64], batch_size: int, generator: np.random.Generator) -> list[Rows]:
    """One epoch: every example once, shuffled, in batches of similar length.

    The examples are shuffled and cut into pools of 50 batches; each pool is sorted by length and cut into batches; and
    the batches are shuffled.

    Args:
        lengths: length of each example.
        batch_size: examples per batch; one batch holds the rest where it does not divide their number.
        generator: the source of the shuffle.

    Returns:
        Positions of the examples of each batch.
    """
    order = generator.permutation(len(lengths))
    batches: list[Rows] = []
    for start in range(0, len(order), _POOL * batch_size):
        pool = order[start : start + _POOL * batch_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    return [batches[position] for position in generator.permutation(len(batches))]


def forward_batches(lengths: npt.NDArray[np.int64], budget: int) -> list[Rows]:
    """Batches for a forward pass over all examples: sorted by length, each of about the same cost.

    Args:
        lengths: length of each example.
        budget: most tokens in a batch, padding included (an example that is longer by itself is a batch by itself).

    Returns:
        Positions of the examples of each batch. Batches of long and of short examples alternate at random (the same
        way each time), so that the time left can be told from what is done.
    """
    order = np.argsort(-lengths, kind="stable")  # longest first: it decides how many share its batch
    batches: list[Rows] = []
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return [batches[position] for position in np.random.default_rng(0).permutation(len(batches))]
