"""The versions so far: read from a real store, whole and damaged, drawn, and told of beside each other."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hubtune.storage import Artifact, Producer, PublishedModel, Store
from schemas.handoff import Metrics, ReleaseFacts, RowsFacts
from tasks.publish.history import MOST, Past, read_history
from tasks.publish.history_drawing import history_drawing

LABELS = ["sincere", "insincere"]
PRODUCER = Producer(task="by hand", version=1, parameters={})


def metrics(macro_f1: float, rows: int = 100) -> Metrics:
    return Metrics(rows=rows, loss=0.5, accuracy=macro_f1 + 0.05, macro_f1=macro_f1)


class Published:
    """Versions without their weights: what the history reads of them is there."""

    def __init__(self, store: Store, name: str = "questions") -> None:
        self.store, self.model = store, PublishedModel(store, name)

    def put_rows(self, test: str) -> Artifact:
        with self.store.scratch() as folder:
            (folder / "test.parquet").write_text(test)
            facts = RowsFacts(train=800, validation=100, test=100, labels=LABELS)
            return self.store.put("rows", folder, producer=PRODUCER, facts=facts)

    def publish(self, macro_f1: float, rows: Artifact, labels: list[str] = LABELS) -> Artifact:
        figures = {"validation": metrics(macro_f1 + 0.01), "test": metrics(macro_f1)}
        content = {split: each.model_dump() for split, each in figures.items()}
        facts = ReleaseFacts.model_validate(
            {"name": self.model.name, "labels": labels, "engine": "onnx", "metrics": figures}
        )
        with self.store.scratch() as folder:
            (folder / "metrics.json").write_text(json.dumps({"evaluation": content}))
            (folder / "classifier.json").write_text(json.dumps({"labels": labels, "engine": "onnx"}))
            release = self.store.put("release", folder, producer=PRODUCER, inputs=[rows], facts=facts)
        self.model.publish(release)
        return release


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(Store.open(str(tmp_path / "store")))


def test_versions_are_read_with_their_figures(published: Published) -> None:
    first, second = published.put_rows("first"), published.put_rows("second")
    for macro_f1, rows in ((0.8, first), (0.82, first), (0.81, second)):
        published.publish(macro_f1, rows)
    history = read_history(published.model, 3)
    assert [past.version for past in history.versions] == [1, 2, 3]
    assert [past.test.macro_f1 for past in history.versions] == [0.8, 0.82, 0.81]
    assert [past.created for past in history.versions] == [
        published.model.record(number).created for number in (1, 2, 3)
    ]
    one, two, three = history.versions
    assert one.test_rows == two.test_rows != three.test_rows
    assert (history.left_out, history.latest) == ([], 3)
    assert history.of(2) == history.before(3) == two
    assert history.before(1) is None


def test_a_damaged_version_is_left_out_and_said(published: Published) -> None:
    rows = published.put_rows("rows")
    for number in range(4):
        published.publish(0.7 + number / 100, rows)
    root = Path(published.store.root)
    (root / "models/questions/2/manifest.json").write_text("other")
    # Its release was removed, and its own figures are damaged.
    shutil.rmtree(root / "artifacts/release" / published.model.record(3).release)
    (root / "models/questions/3/metrics.json").write_text("other")
    history = read_history(published.model, 4)
    assert [past.version for past in history.versions] == [1, 4]
    assert history.left_out == [2, 3]
    before = history.before(4)
    assert before is not None
    assert before.version == 1


def test_the_figures_of_a_version_outlive_its_artifacts(published: Published) -> None:
    published.publish(0.8, published.put_rows("rows"), ["a", "b"])
    whole = read_history(published.model, 1).versions[0]
    shutil.rmtree(Path(published.store.root) / "artifacts")
    (left,) = read_history(published.model, 1).versions
    assert (left.metrics, left.labels, left.created) == (whole.metrics, ["a", "b"], whole.created)
    # Nobody can tell any more which rows it was tested on.
    assert left.test_rows is None


def test_the_latest_versions_are_read_and_an_older_one_that_was_found(published: Published) -> None:
    rows = published.put_rows("rows")
    for number in range(MOST + 5):
        published.publish(0.5 + number / 100, rows)
    latest = list(range(6, MOST + 6))
    assert [past.version for past in read_history(published.model, MOST + 5).versions] == latest
    assert [past.version for past in read_history(published.model, 3).versions] == [2, 3, *latest]


def past(version: int, macro_f1: float = 0.8, test_rows: str | None = "rows") -> Past:
    figures = {"validation": metrics(macro_f1 + 0.01), "test": metrics(macro_f1)}
    return Past(version, f"2026-07-{version:02}T02:00:00+00:00", LABELS, figures, test_rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "named"), [(2, 2), (9, 5), (30, 8)])
def test_the_drawing_shows_versions_and_days_and_is_the_same_each_time(count: int, named: int) -> None:
    versions = [past(number, 0.7 + number / 100) for number in range(1, count + 1)]
    drawn = history_drawing(versions)
    assert drawn == history_drawing(versions)
    texts = [text.strip() for text in ElementTree.fromstring(drawn).itertext() if text.strip()]
    for title in ("accuracy, test", "macro-F1, test", "accuracy, validation", "macro-F1, validation"):
        assert title in texts
    # The latest one is always named, and not more than there is room for.
    assert f"2026-07-{count:02}" in texts
    assert str(count) in texts
    assert sum(text.startswith("2026-07-") for text in texts) == named
    assert "other test rows" not in texts


def test_the_drawing_marks_other_test_rows_once() -> None:
    versions = [past(number, test_rows="old" if number < 3 else "new") for number in range(1, 6)]
    texts = [text.strip() for text in ElementTree.fromstring(history_drawing(versions)).itertext()]
    assert texts.count("other test rows") == 1
    assert history_drawing(versions) != history_drawing([past(number) for number in range(1, 6)])
