"""What is written for TensorBoard, read back with TensorBoard's own reader."""

import hashlib
import html
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from hubtune.errors import CorruptArtifact
from tasks.evaluate.tensorboard_logs import write_tensorboard_logs
from tests.evaluate.small_artifacts import Part, usual_topics, write
from tests.evaluate.trained_by_hand import LABELS, write_classifier, write_rows

RECIPE: dict[str, Any] = {
    "mode": "fine_tuning",
    "learning_rate": 5e-5,
    "epochs": 4,
    "hidden": [256, 64],
    "class_weights": {"b": 1.0, "a": 2.0},
    "gradual_unfreezing": False,
    "early_stopping_patience": None,
}
TEXTS = [f"Is question {number} | a *real* one, or <script>alert({number})</script>?" for number in range(60)]


def trained(folder: Path, texts: list[str] = TEXTS, **arguments: Any) -> tuple[Path, Path]:
    rows, classifier = folder / "rows", folder / "classifier"
    write_rows(rows, texts)
    write_classifier(classifier, rows, **arguments)
    return classifier, rows


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_tensorboard_logs(*trained(folder), RECIPE, folder / "logs")
    return folder / "logs"


@pytest.fixture(autouse=True, scope="module")
def tensorboard_by_itself() -> None:
    """TensorBoard without TensorFlow, as where only TensorBoard is installed; that also spares its import."""
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of itself
        import tensorboard.plugin_util  # noqa: F401


def read(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"tensors": 0, "scalars": 0, "images": 0})
    events.Reload()
    return events


def test_steps_and_epochs_of_training(logs: Path) -> None:
    train = read(logs / "train")
    assert sorted(train.Tags()["scalars"]) == ["epoch/loss", "step/learning_rate", "step/loss"]
    losses = train.Scalars("step/loss")
    assert [event.step for event in losses] == list(range(1, 41))
    assert [event.value for event in losses] == pytest.approx([2 / np.sqrt(step) for step in range(1, 41)])
    assert train.Scalars("step/learning_rate")[0].value == pytest.approx(1e-3)
    epochs = [(event.step, event.value) for event in train.Scalars("epoch/loss")]
    assert epochs == [(10, 1.0), (20, 0.5), (30, pytest.approx(1 / 3)), (40, 0.25)]
    # No clock is read: an event's time is its step.
    assert [event.wall_time for event in losses] == [event.step for event in losses]


def test_validation_lies_over_training_in_one_chart(logs: Path) -> None:
    validation = read(logs / "validation")
    assert sorted(validation.Tags()["scalars"]) == ["epoch/accuracy", "epoch/loss", "epoch/macro_f1"]
    losses = validation.Scalars("epoch/loss")
    assert [event.step for event in losses] == [event.step for event in read(logs / "train").Scalars("epoch/loss")]
    assert losses[0].value == pytest.approx(1.22)


def test_the_sentence_on_training(logs: Path) -> None:
    sentence = shown(text(read(logs / "train"), "diagnosis"))
    # Validation loss is 1.22, 0.68, 0.58, 0.62.
    assert "Over-fitting since epoch 4: validation loss rose from 0.58 in epoch 3 to 0.62" in sentence


def test_final_figures(logs: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    truth, logits = answers(logs.parent / "classifier")
    probabilities = np.exp(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))
    predicted = probabilities.argmax(axis=1)
    test = read(logs / "test")
    found = {tag: test.Scalars(tag) for tag in test.Tags()["scalars"]}
    assert {tag: [event.step for event in events] for tag, events in found.items()} == {
        "test/accuracy": [30],
        "test/loss": [30],
        "test/macro_f1": [30],
    }
    assert found["test/accuracy"][0].value == pytest.approx(accuracy_score(truth, predicted))
    assert found["test/macro_f1"][0].value == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert found["test/loss"][0].value == pytest.approx(log_loss(truth, probabilities, labels=[0, 1, 2]))


def test_rows_are_shown_as_they_are(logs: Path) -> None:
    table = shown(text(read(logs / "test"), "test/rows"))
    # Three classes, some six rows of each; a row for the titles.
    assert table.count("<tr>") == 1 + 18
    assert table.count("<td>Is question ") == 18
    assert "<script>" not in table
    assert "| a *real* one, or <script>alert(" in html.unescape(table)
    assert "<em>" not in table
    # A bar in a text opens no column.
    assert table.count("<td") == 18 * 4
    for label in LABELS:
        assert f"<td>{label}</td>" in html.unescape(table)


def test_the_most_confident_mistakes_come_first(logs: Path) -> None:
    markdown = text(read(logs / "test"), "test/most confident mistakes")
    probabilities = [float(line.split("|")[-2]) for line in markdown.splitlines()[2:]]
    assert probabilities == sorted(probabilities, reverse=True)
    truth, logits = answers(logs.parent / "classifier")
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = chances.max(axis=1)[chances.argmax(axis=1) != truth]
    assert probabilities == pytest.approx(sorted(wrong, reverse=True)[:20], abs=5e-4)


def test_the_confusion_matrix_is_a_picture(logs: Path) -> None:
    test = read(logs / "test")
    assert test.Tags()["images"] == ["test/confusion matrix"]
    (image,) = test.Images("test/confusion matrix")
    assert image.encoded_image_string.startswith(b"\x89PNG\r\n\x1a\n")
    assert (image.width, image.height) == (600, 480)


def test_hyperparameters(logs: Path) -> None:
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

    content = read(logs / "test").SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    found = parse_session_start_info_plugin_data(content)
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in found.hparams.items()}
    assert values == {
        "mode": "fine_tuning",
        "learning_rate": 5e-5,
        "epochs": 4,
        "hidden": "[256, 64]",
        "class_weights": '{"a": 2.0, "b": 1.0}',
        "gradual_unfreezing": False,
    }
    # Two trainings with the same settings are two trials, and not the mean of both.
    assert found.group_name == ""


def test_one_epoch_no_mistakes_one_row_and_scripts_that_the_font_lacks(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", ["Wo ist der Bahnhof?", "駅はどこですか"], ["ja", "はい 🙂"])
    write_classifier(tmp_path / "classifier", tmp_path / "rows", epochs=1, right=2)
    write_tensorboard_logs(tmp_path / "classifier", tmp_path / "rows", {}, tmp_path / "logs")
    test = read(tmp_path / "logs" / "test")
    assert "駅はどこですか" in text(test, "test/rows")
    assert test.Tags()["images"]


def test_many_classes(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", TEXTS, [f"class {number}" for number in range(40)])
    write_classifier(tmp_path / "classifier", tmp_path / "rows")
    write_tensorboard_logs(tmp_path / "classifier", tmp_path / "rows", {}, tmp_path / "logs")
    test = read(tmp_path / "logs" / "test")
    assert shown(text(test, "test/rows")).count("<tr>") == 1 + 20
    (image,) = test.Images("test/confusion matrix")
    assert image.width < 2000


def test_rows_of_another_training_are_refused(tmp_path: Path) -> None:
    classifier, _ = trained(tmp_path)
    write_rows(tmp_path / "others", ["Who are you?"])
    with pytest.raises(CorruptArtifact, match="of 1 test rows, 0 are among the 60"):
        write_tensorboard_logs(classifier, tmp_path / "others", RECIPE, tmp_path / "logs")


PROGRAM = """
import json, sys
from pathlib import Path
from tasks.evaluate.tensorboard_logs import write_tensorboard_logs
classifier, rows, folder, recipe = sys.argv[1:]
write_tensorboard_logs(Path(classifier), Path(rows), json.loads(recipe), Path(folder))
print("tensorflow" in sys.modules)
"""


def test_every_process_writes_the_same_bytes_and_none_needs_tensorflow(logs: Path, tmp_path: Path) -> None:
    here = listing(logs)
    assert list(here) == [f"{run}/events.out.tfevents.0.hubtune" for run in ("test", "train", "validation")]
    for seed in ("1", "2"):
        folder = tmp_path / f"logs-{seed}"
        # The settings in another order, as another database or file would give them.
        recipe = json.dumps(dict(sorted(RECIPE.items(), reverse=seed == "2")))
        there = subprocess.run(
            [sys.executable, "-c", PROGRAM, logs.parent / "classifier", logs.parent / "rows", folder, recipe],
            env={"PYTHONHASHSEED": seed, "HOME": str(tmp_path), "TZ": f"UTC{seed}"},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == ["False"]
        assert listing(folder) == here


def listing(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def answers(classifier: Path) -> tuple[Any, Any]:
    table = pl.read_parquet(classifier / "answers" / "test.parquet")
    return table["label"].to_numpy(), np.array(table["logits"].to_list(), np.float64)


def text(events: Any, tag: str) -> str:
    (event,) = events.Tensors(tag)
    (content,) = event.tensor_proto.string_val
    decoded: str = content.decode()
    return decoded


def shown(markdown: str) -> str:
    """The HTML that TensorBoard makes of it."""
    from tensorboard.plugin_util import markdown_to_safe_html

    page: str = markdown_to_safe_html(markdown)
    return page


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    inputs = usual_topics(folder, ["plants", "taxes", "$5 <b>|</b> *maps*"])
    write_tensorboard_logs(inputs.classifier, inputs.rows, RECIPE, folder / "logs", "multilabel")
    return folder / "logs"


def answers_of_each(classifier: Path) -> tuple[Any, Any]:
    answered = pl.read_parquet(classifier / "answers" / "test.parquet")
    belongs = np.array([[index in row for index in range(3)] for row in answered["label"].to_list()])
    return belongs, np.array(answered["logits"].to_list(), np.float64)


def test_figures_where_a_text_may_belong_to_several_classes(several: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    belongs, logits = answers_of_each(several.parent / "classifier")
    said = logits >= 0
    test = read(several / "test")
    found = {tag: test.Scalars(tag)[0].value for tag in test.Tags()["scalars"]}
    losses = [log_loss(belongs[:, index], 1 / (1 + np.exp(-logits[:, index]))) for index in range(3)]
    assert found == {
        "test/accuracy": pytest.approx(accuracy_score(belongs, said)),
        "test/loss": pytest.approx(np.mean(losses)),
        "test/macro_f1": pytest.approx(f1_score(belongs, said, average="macro")),
    }
    # Naming every class of every text would give a macro-F1 of some 0.5; the history says 0.6.
    assert "Still improving" in shown(text(read(several / "train"), "diagnosis"))


def test_rows_show_all_their_classes_with_the_probabilities(several: Path) -> None:
    belongs, logits = answers_of_each(several.parent / "classifier")
    page = shown(text(read(several / "test"), "test/rows"))
    cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page)]
    assert len(cells) % 3 == 0
    assert 5 <= len(cells) // 3 <= 20
    names = ["plants", "taxes", "$5 <b>|</b> *maps*"]
    known = pl.read_parquet(several.parent / "rows" / "test.parquet").sort("key")["text"].to_list()
    for sentence, truth, predicted in zip(cells[::3], cells[1::3], cells[2::3], strict=True):
        row = known.index(sentence)
        chances = 1 / (1 + np.exp(-logits[row]))
        for cell, classes in ((truth, belongs[row]), (predicted, logits[row] >= 0)):
            assert cell == ", ".join(f"{names[index]} ({chances[index]:.3f})" for index in np.flatnonzero(classes))
    # Rows of every class, and one without any.
    assert all(any(name in cell for cell in cells[1::3]) for name in names)
    assert "" in cells[1::3]


def test_wrong_decisions_and_the_picture_of_all_decisions(several: Path) -> None:
    belongs, logits = answers_of_each(several.parent / "classifier")
    test = read(several / "test")
    lines = text(test, "test/most confident mistakes").splitlines()[2:]
    probabilities = [float(line.split("|")[-2]) for line in lines]
    wrong = np.sort(np.abs(logits[(logits >= 0) != belongs]))[::-1][:20]
    expected = 1 / (1 + np.exp(-wrong))
    assert [max(each, 1 - each) for each in probabilities] == pytest.approx(expected.tolist(), abs=1e-3)
    assert all(("wrongly given" in line) == (each >= 0.5) for line, each in zip(lines, probabilities, strict=True))
    assert test.Tags()["images"] == ["test/decisions"]
    (image,) = test.Images("test/decisions")
    assert image.encoded_image_string.startswith(b"\x89PNG\r\n\x1a\n")


def test_answers_without_a_mistake_about_forty_classes(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(40)]
    belongs = [[number % 40] for number in range(80)]
    part = Part([f"text {number}" for number in range(80)], belongs, 6 * np.eye(40)[np.arange(80) % 40] - 3)
    inputs = write(tmp_path, labels, {"train": part, "validation": part, "test": part}, "multilabel")
    write_tensorboard_logs(inputs.classifier, inputs.rows, {}, tmp_path / "logs", "multilabel")
    test = read(tmp_path / "logs" / "test")
    assert text(test, "test/most confident mistakes") == "There are no mistakes on the test rows."
    (image,) = test.Images("test/decisions")
    assert image.height < 2000
