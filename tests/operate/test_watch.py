"""Parts that hang."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments import watch
from deployments.parts import Part
from deployments.watch import Watch, answers, beats, tend


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
    deadline = time.monotonic() + 30
    while part.tend() != "started again":
        assert time.monotonic() < deadline
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


def test_one_that_was_suspended_together_with_who_watches_it_has_its_time_again(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STOOD_STILL_SECONDS", 1.0)
    watched = Watch(part, lambda: "an old heartbeat", starting=600)
    assert watched.look() is None
    # Nobody looks, for longer than a part may be silent.
    time.sleep(1.5)
    assert watched.look() is None
    assert part.runs
    assert "has not answered for" in look_until_ended(watched)


def test_what_stands_in_the_way_of_a_start_is_told_once_and_it_is_tried_again(part: Part, tmp_path: Path) -> None:
    logs, away = part.log.parent, tmp_path.with_name(f"{tmp_path.name}-away")
    told = list[str]()
    written = list[int]()
    assert part.running is not None
    first = part.running.pid

    def say(name: str, line: str) -> None:
        told.append(line)
        if "tries again" in line:
            away.rename(logs)
        elif line == "started again":
            return
        else:
            # No log can be written there, as on a disk that is full.
            logs.rename(away)

    def changed() -> None:
        assert part.running is not None
        written.append(part.running.pid)
        if part.running.pid != first:
            raise KeyboardInterrupt

    part.kill()
    once_ended(part)
    with pytest.raises(KeyboardInterrupt):
        tend([Watch(part, time.monotonic, 600)], changed, say)
    assert [line.partition(" ")[0] for line in told] == ["ended", "cannot", "started"]
    assert written[-1] == part.running.pid != first


def test_a_server_that_is_away_says_nothing_against_a_worker() -> None:
    assert answers("http://127.0.0.1:9/api/health") is None
    first, second = (beats("http://127.0.0.1:9/api", "default", "anybody", None) for _ in range(2))
    assert first is not None
    assert first != second
