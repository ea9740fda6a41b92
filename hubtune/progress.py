"""Progress of long work, as lines in a log: what a terminal, a Prefect run page and a log file can all show."""

import time
from collections.abc import Callable

Say = Callable[[str], None]
"""Takes one line of text. Blocks get the logger of their Prefect task here; a test gets `list.append`."""


class Progress:
    """Says how far a piece of work is, at most every few seconds, and once when it is done.

    Args:
        say: where the lines go.
        task: what is being done, as the line's first words ("Embedding").
        total: how many units there are, or None when that is not known.
        unit: the unit's name in the plural ("texts"); "bytes" are shown as MB.
        every_seconds: the least time between two lines.
    """

    def __init__(self, say: Say, task: str, total: int | None, unit: str, every_seconds: float = 3.0) -> None:
        self._say, self._task, self._total, self._unit, self._every = say, task, total, unit, every_seconds
        self._done = 0
        self._started = self._last = time.monotonic()

    def advance(self, units: int) -> None:
        """Count units as done, and say so if the last line is old enough."""
        self._done += units
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            self._say(self._line(now))

    def finish(self) -> None:
        """Say the last line: how much was done, and how fast."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        speed = f"{self._amount(self._done / seconds)}/s"
        self._say(f"{self._task}: {self._amount(self._done)} done in {seconds:.1f} s ({speed})")

    def _line(self, now: float) -> str:
        if not self._total:
            return f"{self._task}: {self._amount(self._done)} so far"
        share = self._done / self._total
        left = (now - self._started) * (1 - share) / max(share, 1e-9)
        amount = f"{self._amount(self._done)} of {self._amount(self._total)}"
        return f"{self._task}: {amount} ({share:.0%}), {left:.0f} s left"

    def _amount(self, units: float) -> str:
        if self._unit == "bytes":
            return f"{units / 1e6:,.1f} MB"
        return f"{units:,.0f} {self._unit}"
