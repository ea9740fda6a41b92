"""How TensorFlow is started in this block: the faster CPU kernels, and the same bits for the same seed."""

import os
import sys
from pathlib import Path
from typing import Any

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""


LANES = 2
"""In how many parts a batch is computed side by side on a processor. A constant: dropout follows from the lane, and the
result must not depend on the number of cores. Two: each lane has gradients of its own, which are then summed."""


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def start_tensorflow(*, in_lanes: bool = False, deterministic: bool = True) -> Any:
    """Import TensorFlow for training or embedding.

    Args:
        in_lanes: batches will be computed in lanes. Where there is no more than a core for each, no operation is
            divided among cores then. It has no effect once TensorFlow has computed something.
        deterministic: whether ops are to give the same bits each time. It cannot be taken back in a process.

    Returns:
        The module `tensorflow`.
    """
    # As in the processes that blocks work in (`tasks.fresh_process`), where it may have been imported by now.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Without a GPU, TensorFlow reports as an error that it found none; with one, its errors are worth reading.
    has_gpu = Path("/dev/nvidiactl").exists()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
    if in_lanes and not has_gpu and cores() <= LANES:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    import tensorflow as tf

    if deterministic:
        # Among other things this turns a random op without a seed into an error: see seeded_model.py.
        tf.config.experimental.enable_op_determinism()
    return tf


def leave_graphs_as_they_are() -> None:
    """Do not let TensorFlow rewrite the graphs of this process before it runs them.

    For an encoder whose layers are `tasks.bert`'s, on a processor: a graph of the training step takes 0.8 s less until
    its first run, and steps and answers are as fast without, as far as could be seen (docs/decisions.md).
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
