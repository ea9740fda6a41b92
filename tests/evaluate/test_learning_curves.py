"""What the curves are said to mean, on histories made by hand, and the picture."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluate.learning_curves import chance_of_each, chance_of_one, diagnose, learning_curves


def history(train: list[float], validation: list[float], macro_f1: list[float] | None = None) -> list[dict[str, Any]]:
    """Entries as `history.json` has them; the epoch with the highest macro-F1 was kept."""
    scores = macro_f1 or [0.8] * len(train)
    best = scores.index(max(scores))
    return [
        {
            "epoch": epoch + 1,
            "step": 32 * (epoch + 1),
            "learning_rate": 1e-3,
            "train_loss": train[epoch],
            "validation": {"loss": validation[epoch], "accuracy": scores[epoch], "macro_f1": scores[epoch]},
            "best": epoch == best,
        }
        for epoch in range(len(train))
    ]


@pytest.mark.parametrize(
    ("train", "validation", "beginning"),
    [
        ([0.7, 0.4, 0.2, 0.1], [0.6, 0.5, 0.55, 0.7], "Over-fitting since epoch 3: "),
        ([0.7, 0.4, 0.2], [0.5, 0.51, 0.6], "Over-fitting since epoch 2: "),
        ([0.7, 0.5], [0.6, 0.5], "Still improving when it stopped: "),
        ([0.7, 0.6, 0.5], [0.7, 0.65, 0.6], "Still improving when it stopped: "),
        # The last epoch is the best, by less than 1 %.
        ([0.7, 0.6, 0.5], [0.7, 0.600, 0.597], "Settled: "),
        # It rises after the best epoch, by less than 5 %.
        ([0.7, 0.6, 0.5], [0.7, 0.60, 0.62], "Settled: "),
        ([0.693, 0.692, 0.690], [0.693, 0.692, 0.691], "Under-fitting: train loss hardly fell"),
        # Two epochs are too few for that.
        ([0.30, 0.29], [0.300, 0.299], "Settled: "),
        ([0.7, 0.5, 0.9], [0.6, 0.5, 0.9], "Unstable: "),
        ([0.5], [0.5], "One epoch only: "),
    ],
)
def test_the_first_rule_that_holds_decides(train: list[float], validation: list[float], beginning: str) -> None:
    sentence = diagnose(history(train, validation))
    assert sentence.startswith(beginning)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_over_fitting_names_the_figures_and_the_epoch_that_was_kept() -> None:
    sentence = diagnose(history([0.7, 0.4, 0.2, 0.1], [0.6, 0.5, 0.55, 0.7], [0.6, 0.7, 0.72, 0.71]))
    assert "rose from 0.5 in epoch 2 to 0.7" in sentence
    assert "weights of epoch 3 were kept" in sentence


@pytest.mark.parametrize(("classes", "macro_f1", "under"), [(2, 0.49, True), (2, 0.6, False), (6, 0.49, False)])
def test_what_is_no_better_than_chance_is_under_fitting(classes: int, macro_f1: float, under: bool) -> None:
    for epochs in (1, 3):
        curve = history([0.7, 0.4, 0.3][:epochs], [0.7, 0.4, 0.3][:epochs], [macro_f1] * epochs)
        assert diagnose(curve, chance_of_one(classes)).startswith("Under-fitting: macro-F1") is under
        assert not diagnose(curve).startswith("Under-fitting")


losses = st.floats(0, 1e30)
entries = st.tuples(losses, losses, st.floats(0, 1))


@given(st.lists(entries, max_size=12), st.none() | st.floats(0, 1))
def test_every_history_gets_a_sentence(epochs: list[tuple[float, float, float]], chance: float | None) -> None:
    columns: list[list[float]] = [[entry[column] for entry in epochs] for column in range(3)]
    sentence = diagnose(history(*columns) if epochs else [], chance)
    assert sentence[0].isupper()
    assert sentence.endswith(".")


@pytest.mark.parametrize("epochs", [1, 2, 40])
@pytest.mark.parametrize("monitor", ["macro_f1", "accuracy", "loss"])
def test_the_picture_is_an_svg_that_does_not_change(epochs: int, monitor: str) -> None:
    falling = [1 / (epoch + 1) for epoch in range(epochs)]
    curve = history(falling, falling, [0.8] * epochs)
    picture = learning_curves(curve, monitor)
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert picture == learning_curves(curve, monitor)
    assert b"<dc:date>" not in picture


PROGRAM = """
import sys
from tasks.evaluate.learning_curves import learning_curves
from tests.evaluate.test_learning_curves import history
sys.stdout.buffer.write(learning_curves(history([0.7, 0.4, 0.3], [0.6, 0.5, 0.6])))
"""


def test_neither_the_process_nor_anybodys_settings_change_the_picture(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\nsvg.hashsalt: another\n")
    here = learning_curves(history([0.7, 0.4, 0.3], [0.6, 0.5, 0.6]))
    for seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONHASHSEED": seed, "MATPLOTLIBRC": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        )
        assert there.stdout == here


def test_the_kept_epoch_is_marked() -> None:
    curve = history([0.7, 0.4, 0.3], [0.6, 0.5, 0.6], [0.6, 0.8, 0.7])
    unmarked = [entry | {"best": False} for entry in curve]
    assert b"stroke-dasharray" in learning_curves(curve)
    assert b"stroke-dasharray" not in learning_curves(unmarked)


def test_chance_where_a_text_may_belong_to_several_classes() -> None:
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    belongs = random.random((20_000, 3)) < [0.7, 0.3, 0.05]
    chance = chance_of_each(belongs)
    # It is what naming every class of every text gives, and what no other frequencies of naming them exceed.
    assert chance == pytest.approx(f1_score(belongs, np.ones_like(belongs), average="macro"))
    for frequencies in random.random((20, 3)):
        said = random.random(belongs.shape) < frequencies
        assert f1_score(belongs, said, average="macro") < chance + 0.01
    assert diagnose(history([0.7], [0.7], [chance]), chance).startswith("Under-fitting: macro-F1")
    assert diagnose(history([0.7], [0.7], [1.2 * chance]), chance).startswith("One epoch only")
