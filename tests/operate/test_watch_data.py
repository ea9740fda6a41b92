"""The watch over data: a retraining when enough rows are new, and only then."""

from pathlib import Path
from typing import Any

import pytest

from tests.operate.conftest import Json, Stage

pytestmark = pytest.mark.slow


def write(path: Path, rows: int) -> None:
    lines = [f"Is {number} a good number?,{'odd' if number % 2 else 'even'}" for number in range(rows)]
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")


def test_a_retraining_is_started_when_enough_rows_are_new(stage: Stage, tmp_path: Path) -> None:
    data = tmp_path / "numbers.csv"
    recipe = stage.recipe(epochs=1) | {"name": "numbers", "data": {"source": str(data)}}

    def watch(**parameters: Any) -> Json:
        run = stage.ended(stage.start("Watch data/data-watch", {"recipe": recipe, **parameters}))
        assert run["state"]["name"] == "Completed", run["state"]
        return run

    def retrainings() -> list[Json]:
        # By their recipe: a run that no worker has taken yet has another name.
        runs: list[Json] = stage.post("/flow_runs/filter", {"flows": {"name": {"any_": ["Retrain"]}}})
        return [run for run in runs if run["parameters"]["recipe"].get("name") == "numbers"]

    write(data, 200)
    assert "200 new rows for numbers: a retraining starts with 201" in watch(min_new_rows=201)["state"]["message"]
    assert retrainings() == []
    first = watch()["state"]["message"]
    assert first.startswith("200 new rows for numbers: a retraining is started: ")
    again = watch()["state"]["message"]
    (run,) = retrainings()
    assert run["id"] in first
    assert run["id"] in again
    assert stage.ended(run)["state"]["name"] == "Completed"
    assert watch(min_new_rows=1)["state"]["message"].startswith("0 new rows")
    write(data, 230)
    assert watch()["state"]["message"].startswith("30 new rows")
    assert len(retrainings()) == 1
