"""The task that publishes, with a release that was really built: versions, messages, and the report of each run."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from hubtune.errors import StoreUnavailable
from hubtune.inference.classifier import FORMAT, NORMALISATION
from hubtune.storage import Artifact, PublishedModel, Store, task_key
from schemas.handoff import SPLITS, ClassifierFacts, EvaluationFacts, QuarantineFacts, RowsFacts, TensorBoardFacts
from tasks import execution
from tasks.publish import task
from tests.publish.conftest import Built
from tests.publish.test_history import PRODUCER, Published
from tests.publish.tiny_models import LABELS

pytestmark = pytest.mark.slow

LOGGER = logging.getLogger("test")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str, str]]:
    """The reports that were shown: there is neither a run nor its page here."""
    reports: list[tuple[str, str, str]] = []
    monkeypatch.setenv("HUBTUNE_STORE", str(tmp_path / "store"))
    for module in (task, execution):
        monkeypatch.setattr(module, "get_run_logger", lambda: LOGGER)
    monkeypatch.setattr(task, "show_report", lambda *report: reports.append(report))
    monkeypatch.setattr(task, "emit_event", lambda event, resource, payload: None)
    return reports


@pytest.fixture
def told(shown: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events of new versions: there is no server that takes them here."""
    del shown
    events: list[str] = []
    monkeypatch.setattr(
        task, "emit_event", lambda event, resource, payload: events.append(resource["prefect.resource.name"])
    )
    return events


def put(store: Store, kind: str, source: Path, facts: Any) -> Artifact:
    with store.scratch() as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        return store.put(kind, folder, producer=PRODUCER, facts=facts)


def prepared(store: Store, built: Built) -> tuple[Any, ...]:
    """Everything that the task is given, in the store. The release is known already: others test how it is built."""
    inputs = built.inputs
    trained = {"mode": "fine_tuning", "labels": LABELS, "epochs": 1, "best_epoch": 1}
    trained |= {"parameters": 1, "trained_parameters": 1, "precision": "float32"}
    turned_away = QuarantineFacts(rows_in=140, rows_out=135, quarantined=5, duplicates=0, reasons={"null_text": 5})
    metrics = {split: each for split, each in built.facts.metrics.items() if split in SPLITS}
    model = put(store, "model", inputs.model, inputs.facts)
    rows = put(store, "rows", inputs.rows, RowsFacts(train=45, validation=45, test=45, labels=LABELS))
    classifier = put(store, "classifier", inputs.classifier, ClassifierFacts.model_validate(trained))
    evaluation = put(store, "evaluation", inputs.evaluation, EvaluationFacts(metrics=metrics))
    logs = put(store, "tensorboard", inputs.rows, TensorBoardFacts(epochs=1))
    quarantine = put(store, "quarantine", inputs.rows, turned_away)
    of_key = [model, rows, classifier, evaluation]
    with store.scratch() as folder:
        shutil.copytree(built.folder, folder, dirs_exist_ok=True)
        release = store.put("release", folder, producer=PRODUCER, inputs=[*of_key, logs], facts=built.facts)
    parameters = {"name": "tiny", "format": FORMAT, "normalisation": NORMALISATION}
    store.remember(task_key("publish", task.VERSION, parameters, of_key), {"release": release})
    return model, rows, classifier, evaluation, logs, quarantine, inputs.recipe


def test_each_run_shows_one_report_that_is_whole(fine_tuned: Built, shown: list[tuple[str, str, str]]) -> None:
    store = Store.open()
    before = Published(store, "tiny")
    before.publish(0.25, before.put_rows("others"), ["one", "<two>"])
    arguments = prepared(store, fine_tuned)
    macro_f1 = f"{fine_tuned.facts.metrics['test'].macro_f1:.3f}"
    evaluation = (fine_tuned.inputs.evaluation / "report.md").read_text(encoding="utf-8")

    first = task.publish_model.fn(*arguments)
    assert not isinstance(first, dict)
    said = f"version 2 published: test macro-F1 {macro_f1}, 0.250 before on other rows"
    assert (first.name, first.message) == ("Completed", said)
    ((report, key, description),) = shown
    assert (key, description) == ("evaluation-tiny", f"tiny: {said}")
    assert report.startswith("# tiny, version 2\n")
    assert "## Beside version 1 of " in report
    assert "Version 1 had other classes (one, &lt;two&gt;)" in report
    assert "| null text | 5 |" in report
    assert report.endswith(evaluation)

    again = task.publish_model.fn(*arguments)
    assert not isinstance(again, dict)
    assert (again.name, again.message) == (
        "Cached",
        said.replace("version 2 published", "already published as version 2"),
    )
    assert shown[1][0].endswith(evaluation)
    assert "## Beside version 1 of " in shown[1][0]
    assert execution.outputs_of(again) == execution.outputs_of(first)


def test_a_damaged_version_before_fails_no_run(fine_tuned: Built, shown: list[tuple[str, str, str]]) -> None:
    store = Store.open()
    before = Published(store, "tiny")
    before.publish(0.25, before.put_rows("others"))
    (Path(store.root) / "models" / "tiny" / "1" / "manifest.json").write_text("{")
    state = task.publish_model.fn(*prepared(store, fine_tuned))
    assert not isinstance(state, dict)
    macro_f1 = f"{fine_tuned.facts.metrics['test'].macro_f1:.3f}"
    # A damaged version keeps its number: its next publication mends it.
    assert state.message == f"version 2 published: test macro-F1 {macro_f1}"
    assert "Left out, because the store cannot tell how good it was: version 1." in shown[0][0]


def test_a_report_that_cannot_be_put_together_fails_no_run(
    fine_tuned: Built, shown: list[tuple[str, str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    store = Store.open()
    arguments = prepared(store, fine_tuned)
    (Path(store.root) / "artifacts" / "evaluation" / arguments[3].digest / "report.md").write_text("other")
    state = task.publish_model.fn(*arguments)
    assert not isinstance(state, dict)
    assert (state.name, state.message) == ("Completed", "version 1 published")
    assert PublishedModel(store, "tiny").versions() == [1]
    assert shown == []
    assert "there is no report on this run: " in caplog.text
    assert "report.md" in caplog.text


def test_only_new_versions_are_told_of(fine_tuned: Built, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = (*prepared(Store.open(), fine_tuned), True)
    # As with `--refresh publish`, but for the work itself: it takes half a minute, and its result is known.
    monkeypatch.setattr(task, "run_once", lambda *given, **more: execution.outputs_of(execution.run_once(*given)))
    first = task.publish_model.fn(*arguments)
    again = task.publish_model.fn(*arguments)
    assert not isinstance(first, dict)
    assert not isinstance(again, dict)
    assert (first.name, again.name) == ("Completed", "Completed")
    assert again.message == str(first.message).replace("version 1 published", "already published as version 1")
    assert told == ["Version 1 of tiny"]


@pytest.mark.parametrize("retryable", [False, True])
def test_a_run_that_cannot_publish_shows_what_was_judged(
    retryable: bool, fine_tuned: Built, shown: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = prepared(Store.open(), fine_tuned)

    def refuse(*_: Any) -> None:
        raise StoreUnavailable("no answer", where="here") if retryable else ValueError("a bug")

    monkeypatch.setattr(PublishedModel, "publish", refuse)
    with pytest.raises((StoreUnavailable, ValueError)):
        task.publish_model.fn(*arguments)
    # While it will be tried again, there is no report.
    assert len(shown) == (0 if retryable else 1)
    monkeypatch.setattr(task, "RETRY", {"retries": -1})
    with pytest.raises((StoreUnavailable, ValueError)):
        task.publish_model.fn(*arguments)
    assert shown[-1][0].startswith("# tiny, not published")
    assert ("no answer" if retryable else "ValueError: a bug") in shown[-1][0]
