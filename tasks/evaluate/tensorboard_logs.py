"""Logs for TensorBoard, from what training left behind. Equal trainings give equal bytes.

Three runs, because TensorBoard draws the same tag of several runs into one chart:

- `train`: loss and learning rate of each step, loss of each epoch, a sentence on how training went;
- `validation`: every metric of each epoch;
- `test`: the final figures, rows with what was answered, a picture of what was decided, and the hyperparameters, so
  that the HParams page shows the settings beside the final figures alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from schemas.train_recipe import Task
from tasks.evaluate.answers import read_answers
from tasks.evaluate.event_file import EventFile
from tasks.evaluate.learning_curves import chance_of_each, chance_of_one, diagnose
from tasks.evaluate.reading import READINGS
from tasks.evaluate.tensorboard_page import multiclass_page, multilabel_page


def write_tensorboard_logs(
    classifier: Path, rows: Path, recipe: Mapping[str, Any], folder: Path, task: Task = "multiclass"
) -> None:
    """Write the content of a `tensorboard` artifact.

    Args:
        classifier: folder of a `classifier` artifact.
        rows: folder of the `rows` artifact that it was trained on.
        recipe: the recipe's train section as JSON values; lists and mappings are shown as JSON, None is left out.
        folder: an empty folder.
        task: whether each text belongs to one class, or to any number of them.

    Raises:
        CorruptArtifact: classifier and rows do not belong together.
        InvalidData: the test split has no rows.
    """
    labels: list[str] = json.loads((classifier / "classifier.json").read_bytes())["labels"]
    history: list[dict[str, Any]] = json.loads((classifier / "history.json").read_bytes())
    steps = pl.read_parquet(classifier / "steps.parquet")
    last_step = history[-1]["step"]
    kept_step = next(entry["step"] for entry in history if entry["best"])
    answers = read_answers(rows, classifier, "test", len(labels), READINGS[task])
    if task == "multilabel":
        held_out = pl.read_parquet(classifier / "answers" / "validation.parquet", columns=["label"])
        chance = chance_of_each(READINGS[task].truth(held_out["label"], len(labels)))
        page = multilabel_page(answers, labels)
    else:
        chance, page = chance_of_one(len(labels)), multiclass_page(answers, labels)
    with EventFile(folder / "train") as train:
        for step, loss, learning_rate in steps.select("step", "loss", "learning_rate").iter_rows():
            train.scalars(step, {"step/loss": loss, "step/learning_rate": learning_rate})
        for entry in history:
            train.scalars(entry["step"], {"epoch/loss": entry["train_loss"]})
        train.text(last_step, "diagnosis", diagnose(history, chance))
    with EventFile(folder / "validation") as validation:
        for entry in history:
            metrics = {f"epoch/{name}": value for name, value in sorted(entry["validation"].items())}
            validation.scalars(entry["step"], metrics)
    with EventFile(folder / "test") as test:
        test.hyperparameters(recipe)
        test.scalars(kept_step, {f"test/{name}": value for name, value in page.figures.items()})
        test.text(kept_step, "test/rows", page.rows)
        test.text(kept_step, "test/most confident mistakes", page.mistakes)
        test.image(kept_step, f"test/{page.title}", page.picture)
