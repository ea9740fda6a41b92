"""The switch for equal bits. It cannot be taken back in a process, so each way has one of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.retrain.runs import Training

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]
DRAW = """
from tasks.retrain.tensorflow_setup import start_tensorflow
print(start_tensorflow(deterministic={}).random.uniform([]).shape)
"""


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_no_seed_decides_is_refused_where_bits_are_to_be_equal(deterministic: bool) -> None:
    command = [sys.executable, "-c", DRAW.format(deterministic)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode != 0) is deterministic, done.stderr
    assert ("Random ops require a seed" in done.stderr) is deterministic, done.stderr


@pytest.mark.parametrize("settings", [{}, {"deterministic": False}], ids=["default", "off"])
def test_the_recipe_decides(
    settings: dict[str, Any], model: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr("tasks.retrain.train.start_tensorflow", lambda **given: asked.append(given))
    training(model, mode="fine_tuning", epochs=1, **settings)
    assert asked == [{"in_lanes": True, "deterministic": not settings}]
