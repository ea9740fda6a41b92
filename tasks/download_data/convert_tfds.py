"""Converts a split of a prepared data set to Parquet; in a process of its own, since it takes TensorFlow.

Records are parsed in batches, straight from the files: as_numpy, which goes example by example, took 15 times as long.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtune.errors import InvalidData
from hubtune.progress import Progress, Say
from tasks.fresh_process import serve

_BATCH = 8_192


def convert(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Convert one split.

    Args:
        request: `folder`, of a prepared version; `split`; `file`, the Parquet file to write; `where`, for messages.
        say: takes progress lines.

    Returns:
        Nothing.

    Raises:
        InvalidData: there is no such split, its files are none of TFRecords, or it has no column of single values.
    """
    import polars as pl
    import tensorflow as tf
    import tensorflow_datasets as tfds

    where = request["where"]
    builder = tfds.builder_from_directory(request["folder"])
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise InvalidData(
            f"The data set is stored as {builder.info.file_format.value}; TFRecord files are read here.",
            where=where,
            remedy="Prepare it again with file_format='tfrecord'.",
        )
    try:
        split = builder.info.splits[request["split"]]
        files = split.file_instructions
    except (KeyError, ValueError, AssertionError) as error:
        raise InvalidData(
            f"There is no split {request['split']!r}; the splits are: {', '.join(sorted(builder.info.splits))}.",
            where=where,
            remedy="Set data.split to one of them, or to a part: train[:10%], train+validation.",
        ) from error
    columns = _columns(builder.info.features)
    if not columns:
        raise InvalidData(
            f"The data set has no column of texts, numbers or classes; it has: {', '.join(builder.info.features)}.",
            where=where,
            remedy="Name a data set of labelled texts.",
        )
    progress = Progress(say, f"Converting {builder.info.full_name}", split.num_examples, "rows")
    frames = []
    for file in files:
        records = tf.data.TFRecordDataset(file.filename).skip(file.skip).take(file.take).batch(_BATCH)
        for serialized in records:
            parsed = tf.io.parse_example(serialized, {name: column.parser for name, column in columns.items()})
            frames.append(pl.DataFrame({name: _series(parsed[name], column) for name, column in columns.items()}))
            progress.advance(len(serialized))
    progress.finish()
    empty = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    (pl.concat(frames) if frames else empty).write_parquet(Path(request["file"]))
    return {}


@dataclass(frozen=True)
class _Column:
    """How a column is parsed, and what its numbers mean: truth values, or classes by their names."""

    parser: Any
    is_bool: bool
    names: list[str] | None


def _columns(features: Any) -> dict[str, _Column]:
    """The columns of single values, or of lists of them."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    columns: dict[str, _Column] = {}
    for name, feature in features.items():
        several = isinstance(feature, tfds.features.Sequence)
        inner = feature.feature if several else feature
        if isinstance(inner, tfds.features.FeaturesDict) or not hasattr(inner, "shape") or inner.shape != ():
            continue
        kind = inner.tf_dtype
        stored = tf.int64 if kind.is_integer or kind.is_bool else tf.float32 if kind.is_floating else kind
        names = inner.names if isinstance(inner, tfds.features.ClassLabel) else None
        parser = tf.io.RaggedFeature(stored) if several else tf.io.FixedLenFeature([], stored)
        columns[name] = _Column(parser, kind.is_bool, names)
    return columns


def _series(values: Any, column: _Column) -> Any:
    import polars as pl

    content = values.to_list() if hasattr(values, "to_list") else values.numpy().tolist()
    if column.names is not None:
        # A class of -1 is the way of TensorFlow Datasets to say that there is none, as in the test splits of GLUE.
        meaning: dict[int, str | bool] = dict(enumerate(column.names))
    elif column.is_bool:
        meaning = {0: False, 1: True}
    else:
        return pl.Series(content)
    kind = pl.Boolean if column.is_bool else pl.String
    if hasattr(values, "to_list"):
        return pl.Series([[meaning.get(value) for value in row] for row in content], dtype=pl.List(kind))
    return pl.Series([meaning.get(value) for value in content], dtype=kind)


if __name__ == "__main__":
    serve(convert)
