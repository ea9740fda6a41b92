"""A forward pass over all examples, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from tasks.retrain.batches import forward_batches
from tasks.retrain.examples import Features, Inputs, Rows, Texts
from tasks.retrain.tensorflow_setup import Tensor, cores

# Tokens per batch. With 1,024 to 2,048 the activations of a layer stay in the processor's caches: 20 to 40 % more
# texts per second than with 4,096 or more.
TOKEN_BUDGET = 1024
# Texts per batch, for a module that takes strings; its cost does not lie in padding.
TEXTS_PER_BATCH = 512
_BATCHES_PER_CORE = 32


def forward(
    compute: Callable[[Features], Tensor], inputs: Inputs, width: int, say: Say, task: str, at: float | None = None
) -> npt.NDArray[np.float32]:
    """Run a function over all inputs, with as little padding as there can be.

    Args:
        compute: features of a batch -> float32[batch, width].
        inputs: token ids, hidden states or texts.
        width: of the function's output.
        say: takes progress lines.
        task: what is being done, for the progress lines.
        at: how much of the whole work is done already where this is a step on the way; None: this is the work.

    Returns:
        float32[n, width], in the inputs' order.
    """
    lengths = inputs.lengths
    if isinstance(inputs, Texts):
        batches = forward_batches(np.ones_like(lengths), TEXTS_PER_BATCH)
    else:
        batches = forward_batches(lengths, TOKEN_BUDGET)
    results = np.empty((len(lengths), width), np.float32)
    progress = Progress(say, task, len(lengths), "texts", part=(0.0, 1.0) if at is None else (at, at))

    for rows, result in compute_batches(compute, inputs, batches):
        results[rows] = result
        progress.advance(len(rows))
    progress.finish()
    return results


def compute_batches(
    compute: Callable[[Features], Tensor], inputs: Inputs, batches: Sequence[Rows]
) -> Iterator[tuple[Rows, npt.NDArray[np.float32]]]:
    """Run a function over batches, one on each core: most operations of a batch are too small to be divided well.

    Args:
        compute: features of a batch -> a float32 tensor.
        inputs: token ids, hidden states or texts.
        batches: positions of the inputs of each.

    Yields:
        Each batch with its result, in order. None depends on the others, nor on how many there are at a time.
    """

    def run(rows: Rows) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = compute(inputs.batch(rows)).numpy()
        return result

    at_once = _BATCHES_PER_CORE * cores()
    with ThreadPoolExecutor(cores()) as threads:
        # Some at a time: results that nobody has taken yet lie in memory.
        for start in range(0, len(batches), at_once):
            some = batches[start : start + at_once]
            yield from zip(some, threads.map(run, some), strict=True)
