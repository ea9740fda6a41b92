"""Event files, which TensorBoard reads, with the same bytes each time.

Times would differ from run to run: the time of an event is its step, read as seconds, so that "relative" in TensorBoard
counts steps.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# TensorBoard looks for "tfevents" in the name, and orders a folder's files by it.
_FILE = "events.out.tfevents.0.hubtune"


class EventFile:
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
        """Figures by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._summary(step, (Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()))

    def text(self, step: int, tag: str, markdown: str) -> None:
        """A text in TensorBoard's Markdown."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        tensor = TensorProto(dtype=DT_STRING, string_val=[markdown.encode()])
        self._summary(step, [Summary.Value(tag=tag, tensor=tensor, metadata=create_summary_metadata("", ""))])

    def image(self, step: int, tag: str, png: bytes) -> None:
        """A picture."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        # A PNG begins with 8 bytes of signature and 8 of chunk header; width and height follow.
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self._summary(step, [Summary.Value(tag=tag, image=image)])

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Settings for the HParams page: lists and mappings are shown as JSON, None is left out."""
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
