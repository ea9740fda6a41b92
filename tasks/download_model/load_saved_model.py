"""Loads a SavedModel that came from somewhere, and describes those that cannot be used by what they hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubtune.errors import UnsupportedModel

_MOST_FILES_NAMED = 12


def load_callable(folder: Path, source: str, remedy: str) -> Any:
    """Load a SavedModel that can be called, as TF Hub's TF2 format asks.

    Args:
        folder: should hold it.
        source: the handle it came from, for messages.
        remedy: what to give instead, for messages.

    Returns:
        The loaded object.

    Raises:
        UnsupportedModel: it is none, or of TF1 Hub's format, or has signatures alone; names what was found.
    """
    if (folder / "tfhub_module.pb").exists():
        kind = "a module in TF1 Hub's format (tfhub_module.pb), which TensorFlow 2 cannot train"
        raise UnsupportedModel(f"this is {kind}; found {describe(folder)}", where=source, remedy=remedy)
    if not (folder / "saved_model.pb").exists():
        raise UnsupportedModel(f"this is no SavedModel; found {_files(folder)}", where=source, remedy=remedy)
    graph = _read(folder, source, remedy)
    if not any(meta.object_graph_def.nodes for meta in graph.meta_graphs):
        kind = "a SavedModel with signatures alone (no object graph: exported by TensorFlow 1 or an Estimator)"
        raise UnsupportedModel(f"this is {kind}; found {describe(folder)}", where=source, remedy=remedy)
    import tensorflow as tf
    import tensorflow_text  # noqa: F401, TF Hub's preprocessors and some embeddings are made of its ops

    try:
        model = tf.saved_model.load(str(folder))
    except Exception as error:  # whatever a foreign file makes TensorFlow raise
        raise UnsupportedModel(
            f"TensorFlow {tf.__version__} cannot load the SavedModel: {first_line(error)}", where=source, remedy=remedy
        ) from error
    if not callable(model):
        kind = "a SavedModel that cannot be called, with signatures alone"
        raise UnsupportedModel(f"this is {kind}; found {describe(folder)}", where=source, remedy=remedy)
    return model


def describe(folder: Path, model: Any = None) -> str:
    """What a SavedModel takes and gives.

    Args:
        folder: holds it.
        model: the loaded object, if it can be loaded; then its own call is described too.

    Returns:
        Each signature with names, types and shapes of inputs and outputs.
    """
    calls = getattr(getattr(model, "__call__", None), "concrete_functions", ())  # noqa: B004, what it was saved with
    found = [
        f"call ({_values(call.structured_input_signature)}) -> {_values(call.structured_outputs)}" for call in calls
    ]
    for meta in _parse(folder).meta_graphs:
        for name, signature in sorted(meta.signature_def.items()):
            if not name.startswith("__"):
                found.append(f"signature {name} ({_tensors(signature.inputs)}) -> {_tensors(signature.outputs)}")
    return "; ".join(dict.fromkeys(found)) or "no signature"


def first_line(error: Exception) -> str:
    """The first line of an error's text, which is where TensorFlow says what is wrong.

    Args:
        error: any exception.

    Returns:
        One line of at most 300 characters.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _parse(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def _read(folder: Path, source: str, remedy: str) -> Any:
    try:
        return _parse(folder)
    except Exception as error:  # protobuf's DecodeError
        size = (folder / "saved_model.pb").stat().st_size
        raise UnsupportedModel(
            f"saved_model.pb ({size} bytes) is damaged: {first_line(error)}", where=source, remedy=remedy
        ) from error


def _files(folder: Path) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not names:
        return "no file at all"
    more = f", and {len(names) - _MOST_FILES_NAMED} more files" if len(names) > _MOST_FILES_NAMED else ""
    keras = " (a Keras file: export it with model.export(FOLDER))" if _is_keras(names) else ""
    return ", ".join(names[:_MOST_FILES_NAMED]) + more + keras


def _is_keras(names: Sequence[str]) -> bool:
    return any(name.endswith((".h5", ".hdf5", ".keras")) for name in names)


def _tensors(tensors: Mapping[str, Any]) -> str:
    import tensorflow as tf

    described = []
    for name, info in sorted(tensors.items()):
        shape = None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim]
        described.append(f"{name}: {_type(tf.dtypes.as_dtype(info.dtype).name, shape)}")
    return ", ".join(described)


def _values(structure: Any) -> str:
    """A nest of specifications, as saved functions describe their arguments and results."""
    if isinstance(structure, Mapping):
        return "{" + ", ".join(f"{name}: {_values(value)}" for name, value in sorted(structure.items())) + "}"
    if isinstance(structure, (tuple, list)):
        parts = [_values(value) for value in structure if not (isinstance(value, Mapping) and not value)]
        return ", ".join(parts)
    if hasattr(structure, "dtype") and hasattr(structure, "shape"):
        shape = structure.shape.as_list() if structure.shape.rank is not None else None
        return _type(structure.dtype.name, shape)
    return repr(structure)


def _type(dtype: str, shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return f"{dtype}[...]"
    return f"{dtype}[{', '.join('?' if size in (None, -1) else str(size) for size in shape)}]"
