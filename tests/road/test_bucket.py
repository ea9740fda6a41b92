"""The whole road with its store in a bucket: one setting, and the same digests as in a folder."""

from pathlib import Path

import pytest

from tests.gcs_fake import GcsFake
from tests.road.conftest import Finished, Road, digests, states

pytestmark = pytest.mark.slow


def test_a_bucket_holds_the_same_as_a_folder(finished: Finished, tmp_path: Path) -> None:
    other, completed = finished
    with GcsFake() as fake:
        fake.create_bucket("models")
        road = Road(
            tmp_path,
            other.prefect,
            other.settings,
            store="gs://models/hubtune",
            extra={"STORAGE_EMULATOR_HOST": fake.url},
        )
        report = road.report()
        assert set(states(report).values()) == {"Completed"}
        assert digests(report) == digests(completed)
        assert report["version"] == 1
        assert set(states(road.report()).values()) == {"Cached"}
        result = road.run("predict", "insincere-questions", "How far is it to the sea?")
        assert result.returncode == 0, result.stderr
