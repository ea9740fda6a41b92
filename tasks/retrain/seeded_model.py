"""Loads a SavedModel whose random ops draw what the run's seed says.

Encoders in hub format carry their dropout as random ops, frozen into the graph where `tf.random.set_seed` does not
reach them. Without a seed, two runs would differ (and with deterministic ops switched on, such an op is an error); with
a fixed one, every run would drop the same units. So the seeds are written into the graph before it is loaded.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# The ops whose numbers follow from two attributes, `seed` and `seed2`. Saved files leave an attribute out where it has
# its default, 0, so an op is known by its name alone.
_RANDOM_OPS = {
    "Multinomial",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoissonV2",
    "RandomShuffle",
    "RandomStandardNormal",
    "RandomUniform",
    "RandomUniformInt",
    "TruncatedNormal",
}


def load_seeded(folder: Path, seed: int) -> Any:
    """Load a SavedModel and give each of its random ops a seed.

    Args:
        folder: the SavedModel.
        seed: the run's seed. Each op gets a seed of its own from it, by the op's place in the file.

    Returns:
        What `tf.saved_model.load` returns.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    drawing = [node for node in nodes if node.op in _RANDOM_OPS]
    if not drawing:
        return tf.saved_model.load(str(folder))
    seeds = np.random.default_rng(seed).integers(1, 2**31, (len(drawing), 2)).tolist()
    for node, (first, second) in zip(drawing, seeds, strict=True):
        node.attr["seed"].i, node.attr["seed2"].i = first, second
    with tempfile.TemporaryDirectory() as copy:
        for entry in folder.iterdir():
            if entry.name not in ("saved_model.pb", "fingerprint.pb"):
                (Path(copy) / entry.name).symlink_to(entry.resolve())
        (Path(copy) / "saved_model.pb").write_bytes(model.SerializeToString())
        return tf.saved_model.load(copy)
