import re
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubtune.progress import Progress, ProgressLine, Speed, duration


def test_lines_say_how_far_how_fast_and_how_long() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Epoch 2", 4000, "rows", every_seconds=0)
    progress.advance(1024)
    progress.advance(2976)
    progress.finish()
    assert re.fullmatch(r"Epoch 2: 1,024 of 4,000 rows \(26 %\), [\d,.]+ rows/s, \d+ s left", lines[0])
    assert re.fullmatch(r"Epoch 2: 4,000 of 4,000 rows \(100 %\), [\d,.]+ rows/s, 0 s left", lines[1])
    assert re.fullmatch(r"Epoch 2: 4,000 rows done in \d+\.\d s \([\d,.]+ rows/s\)", lines[2])


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ((0.25, 0.5), "4 s left, about 24 s with what follows"),  # 400 rows of this epoch, 2,000 of the two after it
        ((0.75, 1.0), "4 s left"),
        ((0.5, 0.5), "4 s left"),  # beside the work that the bar shows
    ],
)
def test_a_piece_of_the_work_tells_how_long_the_whole_takes(
    monkeypatch: pytest.MonkeyPatch, part: tuple[float, float], left: str
) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr("hubtune.progress.time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    lines: list[str] = []
    progress = Progress(lines.append, "Epoch 2/4", 1000, "rows", every_seconds=0, part=part)
    for _ in range(6):
        progress.advance(100)
    assert lines[-1] == f"Epoch 2/4: 600 of 1,000 rows (60 %), 100 rows/s, {left}"


def test_an_unknown_total_and_bytes() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Download", None, "bytes", every_seconds=0)
    progress.advance(12_345_678)
    progress.finish()
    assert re.fullmatch(r"Download: 12\.3 MB so far, [\d,.]+ MB/s", lines[0])
    # How far it is cannot be told, so nobody may draw a bar.
    assert not any(isinstance(line, ProgressLine) for line in lines)


def test_lines_are_rare() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Embedding", 10_000, "texts", every_seconds=3600)
    for _ in range(10_000):
        progress.advance(1)
    assert lines == []


def test_lines_know_the_share_of_the_whole_work() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Epoch 3", 200, "rows", every_seconds=0, part=(0.5, 0.75))
    progress.advance(50)
    progress.advance(150)
    progress.advance(10)  # more than was announced
    progress.finish()
    assert [line.share for line in lines if isinstance(line, ProgressLine)] == [0.5625, 0.75, 0.75, 0.75]
    assert "(100 %)" in lines[2]


def test_a_line_is_text_and_its_share_is_one() -> None:
    line = ProgressLine("half", 0.5)
    assert (line, line.share, f"{line}!") == ("half", 0.5, "half!")
    assert [ProgressLine("", share).share for share in (-1, 2)] == [0.0, 1.0]


def test_work_that_waits_for_its_first_unit_is_not_called_slow() -> None:
    # Two seconds of tracing, then a steady 100 units a second.
    speed = Speed(1000.0)
    for tick in range(50):
        speed.add(1002.0 + tick / 10, 10.0 * (tick + 1))
        if tick:
            assert speed.per_second() == pytest.approx(100)


def test_the_speed_follows_a_change_within_the_window() -> None:
    speed, done = Speed(0.0), 0.0
    for second in range(1, 601):
        done += 1000
        speed.add(second, done)
    assert speed.per_second() == pytest.approx(1000)
    for second in range(601, 631):
        done += 100
        speed.add(second, done)
    # The mean since the start would still say 957.
    assert speed.per_second() == pytest.approx(100)


def test_what_an_earlier_run_had_done_is_no_speed() -> None:
    speed = Speed(0.0)
    speed.add(0.001, 1e9)
    for second in range(1, 10):
        speed.add(second, 1e9 + 5 * second)
    assert speed.per_second() == pytest.approx(5, rel=0.01)


@given(st.lists(st.tuples(st.floats(1e-3, 1e4), st.integers(0, 10**9)), max_size=200))
def test_the_speed_lies_between_the_slowest_and_the_fastest_step(steps: list[tuple[float, int]]) -> None:
    speed, now, done = Speed(0.0), 0.0, 0
    speeds = []
    for seconds, units in steps:
        now, done = now + seconds, done + units
        speed.add(now, done)
        speeds.append(units / seconds)
    slowest, fastest = min(speeds, default=0), max(speeds, default=0)
    assert slowest * (1 - 1e-6) <= speed.per_second() <= fastest * (1 + 1e-6)


def test_memory_stays_small() -> None:
    speed = Speed(0.0)
    for count in range(100_000):
        speed.add(count / 1000, count)
    assert len(speed._samples) < 60
    assert speed.per_second() == pytest.approx(1000, rel=0.01)


def test_real_time_left_is_about_right() -> None:
    lines: list[str] = []
    progress = Progress(lines.append, "Work", 100, "units", every_seconds=0)
    for _ in range(20):
        time.sleep(0.01)
        progress.advance(1)
    match = re.search(r"\(20 %\), ([\d.]+) units/s, (\d+) s left", lines[-1])
    assert match
    assert float(match[1]) <= 100
    assert int(match[2]) >= 1


def test_long_times_are_told_in_minutes_and_hours() -> None:
    times = [0, 98.7, 125, 3600, 5900, 7500, 86400]
    assert [duration(value) for value in times] == [
        "0 s",
        "99 s",
        "2 min",
        "60 min",
        "98 min",
        "2 h 05 min",
        "24 h 00 min",
    ]
