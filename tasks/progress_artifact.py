"""A progress bar on the page of a Prefect run."""

import contextvars
import threading
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from hubtune.progress import ProgressLine, Say

# The least time between two requests: the bar moves smoothly enough, and hundreds of runs do not weigh on a server.
EVERY_SECONDS = 5.0
# How long a task that is done waits for its bar to arrive at the end.
_LAST_WORD_SECONDS = 2.0


class ProgressArtifact:
    """A progress artifact of the current task run: the newest line as its description, its share as the bar.

    The requests are made by a thread of its own, so that a server that is slow or gone never holds up the work: `show`
    only lays the newest line down, and lines that came in between are passed over. Nothing is asked of the server
    before the first line. An error is told once, and the next line is tried again.

    Used in a `with` statement: left without an error, the bar goes to its end; with an error, it stays where it was.

    Args:
        key: the artifact's key: small letters, digits and hyphens.
        warn: takes the one line about an error.
        every_seconds: the least time between two requests.
    """

    def __init__(self, key: str, warn: Say, every_seconds: float = EVERY_SECONDS) -> None:
        self._key, self._warn, self._every = key, warn, every_seconds
        self._newest: ProgressLine | None = None
        self._to_draw: ProgressLine | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._artifact: UUID | None = None
        self._silent = False

    def show(self, line: ProgressLine) -> None:
        """Lay a line down for the thread; takes no time.

        Args:
            line: what is told; the last one laid down is drawn when its time comes.
        """
        if self._thread is None:
            # In a copy of this context: Prefect finds there which run the artifact belongs to.
            run = contextvars.copy_context().run
            self._thread = threading.Thread(target=run, args=(self._draw,), name="progress artifact", daemon=True)
            self._thread.start()
        with self._changed:
            self._newest = self._to_draw = line
            self._changed.notify()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._thread is None:
            return
        with self._changed:
            if kind is None and self._newest is not None:
                self._to_draw = ProgressLine(self._newest, 1.0)
            self._closed.set()
            self._changed.notify()
        self._thread.join(_LAST_WORD_SECONDS)
        self._silent = True

    def _draw(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._to_draw is not None or self._closed.is_set())
                line, self._to_draw = self._to_draw, None
                last = self._closed.is_set()
            if line is not None:
                self._send(line)
            if last:
                return
            self._closed.wait(self._every)

    def _send(self, line: ProgressLine) -> None:
        percent, text = round(100 * line.share, 1), str(line)
        try:
            if self._artifact is None:
                self._artifact = cast(UUID, create_progress_artifact(percent, key=self._key, description=text))
            else:
                update_progress_artifact(self._artifact, percent, description=text)
        except Exception as error:  # whatever it is: the work matters, and not the bar
            if not self._silent:
                self._silent = True
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                self._warn(f"the progress bar could not be shown, and the work goes on: {reason}")
