"""Tiny trained classifiers, and releases that were really built from them; once for all tests of the block."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.handoff import ModelFacts, ReleaseFacts
from schemas.recipe import Recipe

RECIPE = {"name": "tiny", "train": {"max_length": 24}, "data": {"source": "/home/me/rows.csv"}}

MORE: dict[str, dict[str, object]] = {
    "multilabel": {"train": {"max_length": 24, "task": "multilabel"}},
    "pairs": {"data": {"source": "/home/me/rows.csv", "text_pair": "other"}},
}


@dataclass(frozen=True)
class Inputs:
    """The artifacts that block 5 gets, as folders."""

    model: Path
    classifier: Path
    rows: Path
    evaluation: Path
    facts: ModelFacts
    recipe: Recipe

    def build(self, folder: Path) -> "Built":
        from tasks.publish.release import build_release

        lines: list[str] = []
        artifacts = (self.classifier, self.rows, self.evaluation)
        facts = build_release(self.model, self.facts, *artifacts, self.recipe, folder, lines.append)
        return Built(folder, facts, lines, self)


@dataclass(frozen=True)
class Built:
    """A release, and what was said while it was built."""

    folder: Path
    facts: ReleaseFacts
    lines: list[str]
    inputs: Inputs


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, "-m", "tests.publish.tiny_models", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return folder


def inputs(tiny: Path, kind: str) -> Inputs:
    interface = "text_embedding" if kind == "text_embedding" else "bert_encoder"
    facts = ModelFacts.model_validate(
        {"interface": interface, "width": 16, "layers": 2, "parameters": 12_345, "trainable": True}
    )
    model, classifier, rows, evaluation = (tiny / kind / name for name in ("model", "classifier", "rows", "evaluation"))
    if kind in ("multilabel", "pairs"):
        recipe = Recipe.model_validate(RECIPE | MORE[kind])
        return Inputs(tiny / "feature_extraction" / "model", classifier, rows, evaluation, facts, recipe)
    return Inputs(model, classifier, tiny / "rows", evaluation, facts, Recipe.model_validate(RECIPE))


@pytest.fixture(scope="session")
def fine_tuned(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return inputs(tiny, "fine_tuning").build(tmp_path_factory.mktemp("fine_tuned"))


@pytest.fixture(scope="session")
def text_embedding(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return inputs(tiny, "text_embedding").build(tmp_path_factory.mktemp("text_embedding"))


@pytest.fixture(scope="session")
def multilabel(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return inputs(tiny, "multilabel").build(tmp_path_factory.mktemp("multilabel"))


@pytest.fixture(scope="session")
def pairs(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return inputs(tiny, "pairs").build(tmp_path_factory.mktemp("pairs"))
