"""The verdict on a comparison, and which rows are compared with."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hubtune.errors import DriftLimitExceeded
from hubtune.storage import Artifact, PublishedModel, Store
from schemas.drift_recipe import DriftRecipe
from tasks.drift import task
from tests.storage.content import put

DRIFT = Artifact(
    kind="drift",
    digest="1" * 64,
    uri="store/artifacts/drift/1",
    facts={"reference": "0" * 64, "labels": 0.3, "length": 0.1, "vocabulary": 0.27, "words": 0.5}
    | {"by_chance": {"labels": 0.0, "length": 0.05, "vocabulary": 0.02, "words": 0.45}},
)


@pytest.fixture(autouse=True)
def _outside_of_a_run(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    monkeypatch.setattr(task, "get_run_logger", lambda: logging.getLogger("test"))
    with caplog.at_level("WARNING"):
        yield


@pytest.mark.parametrize(
    ("limits", "warning"),
    [
        ({}, "trained on: labels 0.3 (0 by chance; the limit is 0.25 above it); see"),
        (
            {"warn": 0.1, "fail": 0.5},
            "labels 0.3 (0 by chance; the limit is 0.1 above it), "
            "vocabulary 0.27 (0.02 by chance; the limit is 0.1 above it); see",
        ),
        (
            {"figures": {"labels": {"warn": None}, "words": {"warn": 0.01}}},
            "trained on: words 0.5 (0.45 by chance; the limit is 0.01 above it); see",
        ),
        ({"warn": None, "figures": {"length": {"warn": 0.02, "fail": None}}}, "trained on: length 0.1 (0.05"),
        ({"figures": {"labels": {"warn": 0.4}}}, ""),
        ({"warn": 0.3}, ""),
        ({"warn": None}, ""),
        ({"warn": None, "fail": 0.3}, ""),
    ],
)
def test_figures_above_the_limit_are_named_in_a_warning(
    limits: dict[str, Any], warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    task.judge(DRIFT, DriftRecipe(**limits), "rows")
    assert bool(caplog.messages) == bool(warning)
    if warning:
        assert warning in caplog.messages[0]
        assert "store/artifacts/drift/1/report.md" in caplog.messages[0]


def test_figures_above_the_other_limit_fail_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DriftLimitExceeded) as raised:
        task.judge(DRIFT, DriftRecipe(fail=0.2), "these rows")
    assert "labels 0.3 (0 by chance; the limit is 0.2 above it), vocabulary 0.27 (0.02 by" in raised.value.what
    assert raised.value.where == "these rows"
    assert "store/artifacts/drift/1/report.md" in raised.value.remedy
    assert not raised.value.retryable
    assert not caplog.messages


def test_a_figure_may_have_a_limit_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    recipe = DriftRecipe.model_validate({"fail": 0.4, "figures": {"words": {"fail": "0.04"}}})
    # Who gives a lower limit for failing alone is not warned earlier than that.
    assert recipe.figures["words"].warn == 0.04
    assert recipe.limits_of("labels").fail == 0.4
    # Written out, as for a flow's parameters, it means the same.
    assert DriftRecipe.model_validate(recipe.model_dump(mode="json")) == recipe
    with pytest.raises(DriftLimitExceeded) as raised:
        task.judge(DRIFT, recipe, "rows")
    assert raised.value.what.endswith("trained on: words 0.5 (0.45 by chance; the limit is 0.04 above it)")
    assert not caplog.messages


@pytest.mark.parametrize(
    "figures", [{"speed": {"warn": 1}}, {"words": {"warn": 0.5, "fail": 0.1}}, {"words": {"most": 1}}, {"words": 0.1}]
)
def test_limits_that_cannot_be_meant_are_refused(figures: Any) -> None:
    with pytest.raises(ValidationError, match="figures"):
        DriftRecipe.model_validate({"figures": figures})


def test_rows_are_those_of_the_latest_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    store = Store.open()
    mine = put(store, {"train.parquet": b"mine"}, kind="rows")
    assert task.published_rows("questions", mine) is None
    assert not caplog.messages  # a first run
    for text in (b"old", b"new"):
        rows = put(store, {"train.parquet": text}, kind="rows")
        release = put(store, {"saved_model.pb": text}, kind="release", inputs=(rows,))
        PublishedModel(store, "questions").publish(release)
    assert task.published_rows("questions", mine) == rows
    assert task.published_rows("questions", rows) is None
    assert not caplog.messages  # the same rows cannot have drifted
    store.discard(rows)
    assert task.published_rows("questions", mine) is None
    assert "version 2 of questions" in caplog.messages[0]
