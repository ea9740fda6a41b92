"""Progress of long work, as lines in a log: what a terminal, a Prefect run page and a log file can all show."""

import time
from collections import deque
from collections.abc import Callable
from typing import Self

Say = Callable[[str], None]
"""Takes one line of text. Blocks get the logger of their Prefect task here; a test gets `list.append`."""

# Speed is measured over the last seconds: long enough that one slow batch does not make the time left jump, short
# enough that it follows when work becomes slower or faster.
_WINDOW_SECONDS = 20.0
_SAMPLES = 40


class ProgressLine(str):
    """A line that knows how much of the work is done. A logger sees its text; whoever can draw a bar asks `share`.

    Args:
        text: the line.
        share: of the whole work, 0 to 1; what lies outside is cut off.
    """

    __slots__ = ("share",)
    share: float

    def __new__(cls, text: str, share: float) -> Self:  # noqa: D102
        line = super().__new__(cls, text)
        line.share = min(max(share, 0.0), 1.0)
        return line


class Progress:
    """Says how far a piece of work is, at most every few seconds, and once when it is done.

    Args:
        say: where the lines go.
        task: what is being done, as the line's first words ("Embedding").
        total: how many units there are, or None when that is not known.
        unit: the unit's name in the plural ("texts"); "bytes" are shown as MB.
        every_seconds: the least time between two lines.
        part: where this piece of work begins and ends within the whole, as shares of it: (0.5, 0.75) for the third of
            four epochs. It moves the bar (`ProgressLine.share`); the text tells of this piece, and how long the whole
            takes at the same speed.
    """

    def __init__(
        self,
        say: Say,
        task: str,
        total: int | None,
        unit: str,
        every_seconds: float = 3.0,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self._say, self._task, self._total, self._unit, self._every = say, task, total, unit, every_seconds
        self._part = part
        self._done = 0
        self._started = self._last = time.monotonic()
        self._speed = Speed(self._started)

    def advance(self, units: int) -> None:
        """Count units as done, and say so if the last line is old enough."""
        self._done += units
        now = time.monotonic()
        self._speed.add(now, self._done)
        if now - self._last >= self._every:
            self._last = now
            self._say(self._line())

    def finish(self) -> None:
        """Say the last line: how much was done, and how fast."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        speed = f"{self._amount(self._done / seconds)}/s"
        line = f"{self._task}: {self._amount(self._done)} done in {seconds:.1f} s ({speed})"
        self._say(ProgressLine(line, self._part[1]) if self._total else line)

    def _line(self) -> str:
        speed = self._speed.per_second()
        pace = f"{self._amount(speed)}/s"
        if not self._total:
            return f"{self._task}: {self._amount(self._done)} so far, {pace}"
        share = min(self._done / self._total, 1.0)
        amount = f"{self._number(self._done)} of {self._amount(self._total)} ({100 * share:.0f} %)"
        start, end = self._part
        left = f", {self._left(speed)}" if speed else ""
        return ProgressLine(f"{self._task}: {amount}, {pace}{left}", start + share * (end - start))

    def _left(self, speed: float) -> str:
        assert self._total
        start, end = self._part
        units = max(self._total - self._done, 0)
        left = f"{duration(units / speed)} left"
        if not start < end < 1:
            return left
        # What follows is as much work for its share as this piece is.
        following = self._total * (1 - end) / (end - start)
        return f"{left}, about {duration((units + following) / speed)} with what follows"

    def _number(self, units: float) -> str:
        if self._unit == "bytes":
            return f"{units / 1e6:,.1f}"
        # A slow speed keeps a digit: "0.4 texts/s" and not "0 texts/s".
        return f"{units:,.0f}" if units >= 10 or float(units).is_integer() else f"{units:.1f}"

    def _amount(self, units: float) -> str:
        return f"{self._number(units)} {'MB' if self._unit == 'bytes' else self._unit}"


class Speed:
    """Units per second over the last seconds, without what happened before the first unit was done.

    The first unit often costs far more than any other (a graph is traced, a connection is opened), and the first count
    may be what an earlier run had done already; both would spoil the time left for a long while.

    Args:
        started: when the work began, in seconds of any clock.
    """

    def __init__(self, started: float) -> None:
        self._samples: deque[tuple[float, float]] = deque([(started, 0.0)])
        self._from_the_start = True

    def add(self, now: float, done: float) -> None:
        """Take note of how much is done.

        Args:
            now: the time, on the same clock; never earlier than the last one.
            done: units since the beginning, never fewer than the last time.
        """
        samples = self._samples
        if self._from_the_start and len(samples) == 2:
            samples.popleft()
            self._from_the_start = False
        # The newest sample moves on until it stands far enough from the one before it.
        if len(samples) > 2 and now - samples[-2][0] < _WINDOW_SECONDS / _SAMPLES:
            samples.pop()
        samples.append((now, done))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW_SECONDS:
            samples.popleft()

    def per_second(self) -> float:
        """Units per second; 0 as long as nothing was done."""
        (first, before), (last, done) = self._samples[0], self._samples[-1]
        return (done - before) / max(last - first, 1e-9)


def duration(seconds: float) -> str:
    """A time as a person says it: "40 s", "12 min", "3 h 05 min"."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
