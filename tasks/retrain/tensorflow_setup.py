"""How TensorFlow is started in this block: the faster CPU kernels, and the same bits for the same seed."""

import os
import sys
from pathlib import Path
from typing import Any

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""


# What is computed side by side in training: each lane has gradients of its own, which are then summed. Where there are
# more cores, a lane's operations are divided among several. Measured on two cores.
_MOST_LANES = 4


def cores_and_lanes() -> tuple[int, int]:
    """How many cores this process may use, and how many separate pieces of work it does side by side on them."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return cores, min(cores, _MOST_LANES)


def start_tensorflow() -> Any:
    """Import TensorFlow for training or embedding.

    Returns:
        The module `tensorflow`, with deterministic ops switched on for this process.
    """
    # As in the processes that blocks work in (`tasks.fresh_process`), where it has been imported by now.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Without a GPU, TensorFlow reports as an error that it found none; with one, its errors are worth reading.
    has_gpu = Path("/dev/nvidiactl").exists()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_gpu else "3")
    if not has_gpu:
        cores, lanes = cores_and_lanes()
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(cores // lanes))
    import tensorflow as tf

    # Among other things this turns a random op without a seed into an error: see seeded_model.py.
    tf.config.experimental.enable_op_determinism()
    return tf
