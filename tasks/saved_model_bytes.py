"""SavedModels whose bytes depend on nothing but the model: their digest is an address."""

from pathlib import Path
from typing import Any


def save_reproducibly(module: Any, folder: Path, signatures: dict[str, Any] | None = None) -> None:
    """Save a module so that a fresh process that builds the same module writes the same bytes.

    `fingerprint.pb` goes, since it holds a random number; loading does not need it.

    Args:
        module: a trackable object.
        folder: the SavedModel's folder.
        signatures: functions for TensorFlow Serving, by name.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    tf.saved_model.save(module, str(folder), signatures=signatures)
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    graph = folder / "saved_model.pb"
    message = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
    graph.write_bytes(message.SerializeToString(deterministic=True))
