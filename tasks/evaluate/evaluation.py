"""Every figure of one evaluation: what `evaluation.json` holds."""

from dataclasses import dataclass

import polars as pl

from schemas.handoff import Split
from tasks.document import Document
from tasks.evaluate.bootstrap import Interval
from tasks.evaluate.calibration import Calibration
from tasks.evaluate.comparison import Compared
from tasks.evaluate.metrics import MultilabelFigures, SplitFigures
from tasks.evaluate.slices import Slice
from tasks.evaluate.threshold import Threshold


@dataclass(frozen=True)
class Evaluation:
    """The figures. `intervals` and `baselines` are about the test rows; `threshold` is None but for two classes."""

    labels: list[str]
    verdict: str
    splits: dict[Split, SplitFigures]
    intervals: dict[str, Interval]
    baselines: list[Compared]
    threshold: Threshold | None
    calibration: Calibration
    slices: list[Slice]


@dataclass(frozen=True)
class MultilabelEvaluation:
    """The figures where a text may belong to several classes: `threshold` is None, and each class has one of its own.

    `thresholds` are in class order.
    """

    labels: list[str]
    verdict: str
    splits: dict[Split, MultilabelFigures]
    intervals: dict[str, Interval]
    baselines: list[Compared]
    threshold: None
    thresholds: list[Threshold]
    calibration: Calibration
    slices: list[Slice]


@dataclass(frozen=True)
class Judged:
    """All that an `evaluation` artifact is written from."""

    evaluation: Evaluation | MultilabelEvaluation
    mistakes: pl.DataFrame
    report: Document
