"""Notices parts that run and no longer work: a process that hangs does not end by itself."""

import time
from collections.abc import Callable, Sequence
from typing import NoReturn

import httpx

from deployments.parts import Part, Say

# A machine that swaps, or starts a training, is slow to answer. What is silent for this long has hung.
HUNG_SECONDS = 180.0
LOOK_SECONDS = 10.0
ANSWER_SECONDS = 5.0
# Longer than a round in which no part answers. Who has not looked for this long was suspended, and the parts with it.
STOOD_STILL_SECONDS = 60.0
_POLL_SECONDS = 0.5

Sign = Callable[[], object]
"""Gives something else each time as long as a part lives, and the same or None when it shows nothing new."""


class Watch:
    """Ends a part that gives no sign of life any more.

    Args:
        part: what is watched.
        sign: of its life.
        starting: how long it may take after a start, in seconds.
    """

    def __init__(self, part: Part, sign: Sign, starting: float) -> None:
        self.part = part
        self._sign, self._starting = sign, starting
        self._since = part.since
        self._last: object = None
        self._lived = self._looked = time.monotonic()
        self._patience = starting

    def look(self) -> str | None:
        """Look whether it lives, now and then; if it has hung, end it. It is then started again as what ends by itself.

        Returns:
            A line if it was ended.
        """
        away = time.monotonic() - self._looked
        if not self.part.runs or away < LOOK_SECONDS:
            return None
        if away > STOOD_STILL_SECONDS:
            self._lived = time.monotonic()
        if self.part.since != self._since:
            self._since, self._lived, self._patience = self.part.since, time.monotonic(), self._starting
        sign = self._sign()
        self._looked = time.monotonic()
        if sign is not None and sign != self._last:
            self._last, self._lived, self._patience = sign, self._looked, HUNG_SECONDS
            return None
        silent = self._looked - self._lived
        if silent < self._patience:
            return None
        self.part.kill()
        return f"has not answered for {silent:.0f} s, and is ended; see {self.part.log}"


def tend(watches: Sequence[Watch], changed: Callable[[], None], say: Say) -> NoReturn:
    """Keep parts running, and never come back.

    Args:
        watches: of the parts, in the order in which they are looked at.
        changed: called when a part was ended or started.
        say: takes a line for each time, and when something is in the way of it: a full disk, no memory for a process.
    """
    unknown, last = False, ""
    while True:
        time.sleep(_POLL_SECONDS)
        try:
            for watch in watches:
                for look in (watch.part.tend, watch.look):
                    if (line := look()) is not None:
                        unknown = True
                        say(watch.part.name, line)
            if unknown:
                changed()
            unknown, last = False, ""
        except OSError as error:
            # It may pass, and the other parts are well: no reason to stop them.
            if str(error) != last:
                last = str(error)
                say("hubtune", f"cannot look after its parts, and tries again: {error}")


def answers(url: str) -> object:
    """Whether a server answers: a sign of its life.

    Args:
        url: an address that costs it nothing.

    Returns:
        The moment, or None.
    """
    try:
        httpx.get(url, timeout=ANSWER_SECONDS)
    except httpx.HTTPError:
        return None
    return time.monotonic()


def beats(url: str, pool: str, worker: str, authorization: str | None) -> object:
    """When the server has last heard of a worker: a sign of the worker's life.

    Args:
        url: of the server's API.
        pool: the work pool of the worker.
        worker: its name.
        authorization: `user:password` that the server asks for.

    Returns:
        That moment. Where the server does not say, it is now: nothing is known against the worker.
    """
    user, _, password = (authorization or "").partition(":")
    try:
        answer = httpx.post(
            f"{url}/work_pools/{pool}/workers/filter",
            json={},
            auth=(user, password) if authorization else None,
            timeout=ANSWER_SECONDS,
        ).raise_for_status()
    except httpx.HTTPError:
        return time.monotonic()
    return next((each["last_heartbeat_time"] for each in answer.json() if each["name"] == worker), None)
