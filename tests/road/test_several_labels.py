"""Texts of several classes, or of none, from a CSV file to the command line's answers."""

import csv
import json
from pathlib import Path

import pytest

from tests.retrain.small_inputs import LABELS, mixed_topics
from tests.road.conftest import Finished

pytestmark = pytest.mark.slow


def test_several_labels_go_the_whole_road(default: Finished, tmp_path: Path) -> None:
    road = default[0].copy(tmp_path)
    with (tmp_path / "topics.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "topics"])
        for text, labels in mixed_topics()[::6]:
            writer.writerow([text, "; ".join(LABELS[label] for label in labels) or ";"])
    settings = ["name=topics", "data.source=topics.csv", "data.label=topics", "data.label_separator=;"]
    arguments = [argument for setting in [*settings, "train.task=multilabel"] for argument in ("--set", setting)]
    result = road.run("retrain", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    table = result.stdout.partition("A few rows of the test split")[2].partition("What to type next")[0]
    assert all(name in table for name in LABELS)

    (version,) = json.loads(road.run("models", "topics", "--json").stdout)["models"]["topics"]
    assert (version["task"], version["version"]) == ("multilabel", 1)
    assert version["metrics"]["test"]["macro_f1"] > 0.8
    texts = ["Snow and wind all day.", "Soup, to the sound of a violin!", "These stones are numbers."]
    answers = json.loads(road.run("predict", "topics", "--json", *texts).stdout)
    assert [answer["labels"] for answer in answers] == [["weather"], ["food", "music"], []]
    assert all(sorted(answer["probabilities"]) == sorted(LABELS) for answer in answers)
