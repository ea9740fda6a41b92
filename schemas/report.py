"""What a run says when it is over: the flow's result, and the object that `hubtune retrain --json` prints."""

from pydantic import BaseModel, ConfigDict

from schemas.handoff import Metrics, Split

PUBLISHED_EVENT = "hubtune.model.published"
"""Name of the event that a run gives when it has published a version."""
QUARANTINE_EVENT = "hubtune.data.quarantined"
"""Name of the event that a run gives when the share of its rows in quarantine comes near the limit."""


class TaskOutcome(BaseModel):
    """One task of the run. `state` is Prefect's name of it: Completed, Cached, Failed, ..."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    state: str
    seconds: float


class RunReport(BaseModel):
    """One run of the retrain flow.

    `version` and `metrics` are empty when the run failed before there were any. `promoted` says whether the version
    is the one that is loaded when none is asked for. `artifacts` holds the address of each block's result, of the rows
    in quarantine with the report on all rows, of the comparison with the published version's rows (`drift`; absent
    where nothing was compared, and where the comparison failed the run), and of the evaluation; `error` what stopped a
    failed run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    state: str
    model: str
    version: int | None = None
    promoted: bool = False
    metrics: dict[Split, Metrics] = {}
    tasks: list[TaskOutcome] = []
    artifacts: dict[str, str] = {}
    seconds: float
    error: dict[str, str] | None = None


class RunFailed(Exception):
    """What a failed run gives Prefect, which raises it at the very end of the run's log.

    Args:
        message: of the run's state: the task, the cause, the remedy.
        report: what the run did.
    """

    def __init__(self, message: str, report: RunReport) -> None:
        super().__init__(message)
        self.report = report
