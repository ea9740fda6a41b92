"""Parts that hang."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments import watch
from deployments.parts import Part
from deployments.watch import Watch, answers, beats


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ, tmp_path, tmp_path)
    part.start()
    yield part
    part.stop(10)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "HUNG_SECONDS", 0.5)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)


def look_until_ended(watched: Watch, seconds: float = 30) -> str:
    deadline = time.monotonic() + seconds
    while (line := watched.look()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return line


def once_ended(part: Part, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while part.runs:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_that_has_fallen_silent_is_ended_and_has_its_time_again_after_a_start(part: Part) -> None:
    signs: list[object] = [1, 2, 2]
    watched = Watch(part, lambda: signs.pop(0) if len(signs) > 1 else signs[0], starting=600)
    assert "has not answered for" in look_until_ended(watched)
    once_ended(part)
    assert watched.look() is None
    while part.tend() != "started again":
        time.sleep(0.05)
    # The last sign is that of the process before.
    time.sleep(0.6)
    assert watched.look() is None
    assert part.runs


def test_one_that_does_not_come_up_is_ended_after_the_time_for_that(part: Part) -> None:
    assert "has not answered for" in look_until_ended(Watch(part, lambda: None, starting=0.2))


def test_one_that_answers_is_left_alone(part: Part) -> None:
    watched = Watch(part, time.monotonic, starting=0.0)
    for _ in range(10):
        time.sleep(0.1)
        assert watched.look() is None
    assert part.runs


def test_a_server_that_is_away_says_nothing_against_a_worker() -> None:
    assert answers("http://127.0.0.1:9/api/health") is None
    first, second = (beats("http://127.0.0.1:9/api", "default", "anybody", None) for _ in range(2))
    assert first is not None
    assert first != second
