"""The whole road with its store in a bucket: one setting, and the same digests as in a folder."""

from typing import Any

import pytest

from tests.road.conftest import ALL_CACHED, TASKS, Finished, Road, digests, states

pytestmark = pytest.mark.slow


def test_two_first_runs_at_once_end_the_same(at_once: tuple[Road, list[dict[str, Any]]]) -> None:
    _, (one, other) = at_once
    for task in TASKS:
        assert "Completed" in {states(one)[task], states(other)[task]}
    assert digests(one) == digests(other)
    assert one["metrics"] == other["metrics"]
    assert {one["version"], other["version"]} == {1}


def test_a_bucket_holds_the_same_as_a_folder(finished: Finished, at_once: tuple[Road, list[dict[str, Any]]]) -> None:
    _, in_a_folder = finished
    road, (in_the_bucket, _) = at_once
    # Nothing disturbed the runs in the bucket, and those in the folder were killed in every block.
    assert digests(in_the_bucket) == digests(in_a_folder)
    assert in_the_bucket["metrics"] == in_a_folder["metrics"]
    assert states(road.report()) == ALL_CACHED
    result = road.run("predict", "insincere-questions", "How far is it to the sea?")
    assert result.returncode == 0, result.stderr
