"""The tasks of one flow run in the order in which they ran, with their states and times."""

import time
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import TagsContext
from prefect.tasks import Task

from hubtune.errors import HubtuneError, UnexpectedFailure
from hubtune.storage.artifact import Artifact
from schemas.report import TaskOutcome


class Timeline:
    """Runs tasks one after the other and keeps what became of each, and the message of the state of the last one."""

    def __init__(self) -> None:
        self.outcomes: list[TaskOutcome] = []
        self.message = ""
        self._started = time.monotonic()

    def run(self, task: Task[..., Any], *arguments: object) -> dict[str, Artifact]:
        """Run a task and wait for its artifacts.

        Args:
            task: a Prefect task that gives artifacts by name.
            arguments: its arguments.

        Returns:
            The artifacts.

        Raises:
            HubtuneError: what the task failed with; UnexpectedFailure for what is not of the family. It is raised here,
                stage by stage, so that a flow ends with the cause in its message and not with a count of failed tasks.
        """
        started = time.monotonic()
        # Tags are the flow run's alone: for each tag of a task, Prefect asks the server for a concurrency slot, even
        # with no limit set, and waits 2 s whenever a server on SQLite answers that its database is busy.
        with TagsContext(current_tags=set()):
            state: State[Any] = task(*arguments, return_state=True)  # type: ignore[assignment]  # it is not async
        seconds = round(time.monotonic() - started, 3)
        self.outcomes.append(TaskOutcome(name=task.name, state=state.name or state.type.value, seconds=seconds))
        self.message = state.message or ""
        try:
            artifacts: dict[str, Artifact] = state.result()
        except HubtuneError:
            raise
        except Exception as error:
            raise UnexpectedFailure(
                f"{type(error).__name__}: {error}",
                where=f"task {task.name!r}",
                remedy="the task's log holds the details; what was finished before it is kept, so run again",
            ) from error
        return artifacts

    def failed_task(self) -> str:
        """Name of the task that ran last, for the message of a failed run."""
        return self.outcomes[-1].name if self.outcomes else "before the first task"

    def seconds(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self._started, 3)
