"""Every figure of one evaluation: what `evaluation.json` holds."""

from dataclasses import dataclass

from schemas.handoff import Split
from tasks.evaluate.bootstrap import Interval
from tasks.evaluate.calibration import Calibration
from tasks.evaluate.comparison import Compared
from tasks.evaluate.metrics import SplitFigures
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
