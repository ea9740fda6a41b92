"""Event files for TensorBoard, from what training left behind. Equal trainings give equal bytes.

Three runs, because TensorBoard draws the same tag of several runs into one chart:

- `train`: loss and learning rate of each step, loss of each epoch, a sentence on how training went;
- `validation`: every metric of each epoch;
- `test`: the final figures, rows with what was answered, the confusion matrix, and the hyperparameters, so that the
  HParams page shows the settings beside the final figures alone.

Times would differ from run to run: the time of an event is its step, read as seconds, so that "relative" in TensorBoard
counts steps.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from hubtune.errors import CorruptArtifact
from tasks.evaluate.learning_curves import diagnose
from tasks.markdown import table

if TYPE_CHECKING:
    import polars as pl

# TensorBoard looks for "tfevents" in the name, and orders a folder's files by it.
_FILE = "events.out.tfevents.0.hubtune"
_SHOWN_ROWS = 20
_SHOWN_CHARACTERS = 200
# Above this many classes the numbers in the confusion matrix could not be read.
_MOST_NUMBERED_CLASSES = 25


def write_tensorboard_logs(classifier: Path, rows: Path, recipe: Mapping[str, Any], folder: Path) -> None:
    """Write the content of a `tensorboard` artifact.

    Args:
        classifier: folder of a `classifier` artifact.
        rows: folder of the `rows` artifact that it was trained on.
        recipe: the recipe's train section as JSON values; lists and mappings are shown as JSON, None is left out.
        folder: an empty folder.

    Raises:
        CorruptArtifact: classifier and rows do not belong together.
    """
    import polars as pl

    labels: list[str] = json.loads((classifier / "classifier.json").read_bytes())["labels"]
    history: list[dict[str, Any]] = json.loads((classifier / "history.json").read_bytes())
    steps = pl.read_parquet(classifier / "steps.parquet")
    last_step = history[-1]["step"]
    kept_step = next(entry["step"] for entry in history if entry["best"])
    with _EventFile(folder / "train") as train:
        for step, loss, learning_rate in steps.select("step", "loss", "learning_rate").iter_rows():
            train.scalars(step, {"step/loss": loss, "step/learning_rate": learning_rate})
        for entry in history:
            train.scalars(entry["step"], {"epoch/loss": entry["train_loss"]})
        train.text(last_step, "diagnosis", diagnose(history, len(labels)))
    with _EventFile(folder / "validation") as validation:
        for entry in history:
            metrics = {f"epoch/{name}": value for name, value in sorted(entry["validation"].items())}
            validation.scalars(entry["step"], metrics)
    answers = _answers(classifier, rows)
    truth, predicted = answers["label"].to_numpy(), answers["predicted"].to_numpy()
    with _EventFile(folder / "test") as test:
        test.hyperparameters(recipe)
        figures = _figures(truth, predicted, answers["loss"].to_numpy(), len(labels))
        test.scalars(kept_step, {f"test/{name}": value for name, value in figures.items()})
        # Keys are hashes of texts, so the first rows in their order are a fair sample.
        each = max(_SHOWN_ROWS // len(labels), 1)
        sample = answers.group_by("label", maintain_order=True).head(each).sort("label", "key").head(_SHOWN_ROWS)
        test.text(kept_step, "test/rows", _table(sample, labels))
        mistakes = answers.filter(pl.col("label") != pl.col("predicted"))
        worst = mistakes.sort("probability", "key", descending=[True, False]).head(_SHOWN_ROWS)
        text = _table(worst, labels) if worst.height else "There are no mistakes on the test rows."
        test.text(kept_step, "test/most confident mistakes", text)
        test.image(kept_step, "test/confusion matrix", _confusion_matrix(truth, predicted, labels))


class _EventFile:
    """One run's event file, in the format that TensorFlow's and TensorBoard's own writers use.

    Those put host name and time into the file's name and into the events, so the records are written here.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True)
        self._records = RecordWriter((folder / _FILE).open("wb"))
        self._write(Event(wall_time=0.0, file_version="brain.Event:2"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._records.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._summary(step, (Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()))

    def text(self, step: int, tag: str, markdown: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
        self._summary(step, [Summary.Value(tag=tag, tensor=tensor, metadata=create_summary_metadata("", ""))])

    def image(self, step: int, tag: str, png: bytes) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        # A PNG begins with 8 bytes of signature and 8 of chunk header; width and height follow.
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self._summary(step, [Summary.Value(tag=tag, image=image)])

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
        from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG, SESSION_START_INFO_TAG
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

        start = SessionStartInfo()
        for name, value in values.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
            elif value is not None:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
                start.hparams[name].string_value = text
        self._session(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
        end = SessionEndInfo(status=STATUS_SUCCESS)
        self._session(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))

    def _session(self, tag: str, content: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.plugins.hparams.metadata import NULL_TENSOR, PLUGIN_NAME

        # TensorBoard's own function for this writes the mapping of hyperparameters in no fixed order.
        data = SummaryMetadata.PluginData(
            plugin_name=PLUGIN_NAME, content=content.SerializeToString(deterministic=True)
        )
        self._summary(0, [Summary.Value(tag=tag, tensor=NULL_TENSOR, metadata=SummaryMetadata(plugin_data=data))])

    def _summary(self, step: int, values: Iterable[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._write(Event(wall_time=float(step), step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString(deterministic=True))


def _answers(classifier: Path, rows: Path) -> "pl.DataFrame":
    """The test rows in the order of their keys: key, label, text, predicted, probability (of it), loss."""
    import polars as pl
    from scipy.special import log_softmax

    answers = pl.read_parquet(classifier / "answers" / "test.parquet")
    texts = pl.read_parquet(rows / "test.parquet", columns=["key", "text"])
    joined = answers.join(texts, on="key", how="left", maintain_order="left")
    if joined["text"].null_count():
        raise CorruptArtifact(
            "the classifier answered test rows that the rows artifact does not hold",
            where=f"{classifier} and {rows}",
            remedy="run again: what is missing or damaged is made again",
        )
    logs = log_softmax(np.array(joined["logits"].to_list(), np.float64), axis=1)
    predicted = logs.argmax(axis=1)
    everyone = np.arange(len(logs))
    return joined.drop("logits").with_columns(
        predicted=pl.Series(predicted, dtype=pl.Int32),
        probability=pl.Series(np.exp(logs[everyone, predicted])),
        loss=pl.Series(-logs[everyone, joined["label"].to_numpy()]),
    )


def _figures(
    truth: npt.NDArray[np.int32], predicted: npt.NDArray[np.int32], losses: npt.NDArray[np.float64], classes: int
) -> dict[str, float]:
    """The figures that trainings are compared by, defined as in the history."""
    from sklearn.metrics import f1_score

    macro_f1 = f1_score(truth, predicted, labels=np.arange(classes), average="macro", zero_division=0.0)
    return {
        "accuracy": float((truth == predicted).mean()),
        "loss": float(losses.mean()),
        "macro_f1": float(macro_f1),
    }


def _table(rows: "pl.DataFrame", labels: Sequence[str]) -> str:
    shown = []
    for row in rows.iter_rows(named=True):
        text = " ".join(row["text"].split())
        cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        words = map(_escaped, (cut, labels[row["label"]], labels[row["predicted"]]))
        shown.append([*words, f"{row['probability']:.3f}"])
    return table(["Text", "Truth", "Prediction", "Probability"], shown, right=(3,))


def _escaped(text: str) -> str:
    """A text as TensorBoard's Markdown, which knows fewer escapes: whatever could be formatting becomes an entity."""
    plain = " ,;?'\"…"
    return "".join(
        character if character.isalnum() or character in plain or character > "\x7f" else f"&#{ord(character)};"
        for character in text
    )


def _confusion_matrix(truth: npt.NDArray[np.int32], predicted: npt.NDArray[np.int32], labels: Sequence[str]) -> bytes:
    """A PNG: rows are true classes, columns predicted ones; the colour is the share of the row, the number a count."""
    import warnings

    import matplotlib as mpl
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(truth, predicted, labels=np.arange(len(labels)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in (" ".join(label.split()) for label in labels)]
    side = min(2.0 + 0.4 * len(labels), 12.0)  # inches
    size = min(10.0, 600 / len(labels))  # points; names do not overlap
    png = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        # Class names may be in any script; what matplotlib's font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from font")
        figure = Figure(figsize=(side + 0.8, side), dpi=150, layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(labels))
        # parse_math: a "$" in a name is a dollar sign.
        axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size, parse_math=False)
        axes.set_yticks(ticks, names, fontsize=size, parse_math=False)
        axes.set(xlabel="predicted", ylabel="true")
        if len(labels) <= _MOST_NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
        figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
