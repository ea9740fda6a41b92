"""Other rows than those that the published version was trained on: compared and judged before they are trained on."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.road.conftest import Finished, digests, kill_once_it_says, states

pytestmark = pytest.mark.slow

COMPARE = "Compare with published data"
QUESTIONS = Path(__file__).parents[2] / "examples" / "questions.csv"


def _part_of_the_sample(folder: Path) -> list[str]:
    """Settings that name a file with the first half of the sample's sound rows."""
    # Some cells are no UTF-8 on purpose: they are left out, as are labels that are none.
    with QUESTIONS.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in ("0", "1") and "\ufffd" not in row["text"]]
    rows = [row for row in rows if row["text"].strip()][:600]
    with (folder / "part.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return [
        f"data.source={folder}/part.csv",
        # The other way round than in the rows that were published: as if the rarer class had become the more frequent.
        "data.labels={1: sincere, 0: insincere}",
        "name=insincere-questions",
    ]


def test_rows_that_are_too_far_from_the_published_ones_are_not_trained_on(finished: Finished, tmp_path: Path) -> None:
    road, first = finished
    road = road.copy(tmp_path)
    settings = _part_of_the_sample(tmp_path)
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    failed = road.report(*arguments, "--set", "drift.fail=0.2", status=1)
    assert failed["error"]["type"] == "DriftLimitExceeded"
    assert "labels 0." in failed["error"]["what"]
    assert states(failed)[COMPARE] == "Failed"
    assert "Tokenise texts" not in states(failed)
    (artifact,) = (road.store_folder / "artifacts" / "drift").iterdir()
    content = json.loads((artifact / "drift.json").read_text(encoding="utf-8"))
    assert content["reference"] == digests(first)["preprocess"]
    assert f"{artifact}/report.md" in failed["error"]["remedy"]

    # Another limit is no other comparison, and this one lets the run go on.
    arguments += ["--set", "drift.warn=0.2"]
    said = kill_once_it_says(road.start("retrain", *arguments), r"Task run 'Tokenise texts-\w+' - the store holds no")
    assert re.findall(rf"Task run '{COMPARE}-\w+' - Finished in state (\w+)", said) == ["Cached"]
    assert "the data is far from what the published version was trained on: " in said
