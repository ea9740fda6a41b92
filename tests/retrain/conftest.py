"""TensorFlow as block 4 starts it, and the small inputs, made once for all tests of the block."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.retrain import training_step
from tasks.retrain.tensorflow_setup import LANES, start_tensorflow
from tasks.retrain.tokenise import tokenise
from tests.retrain import small_inputs
from tests.retrain.every_mode import SETTINGS
from tests.retrain.processes import end, start
from tests.retrain.runs import Run, Training, run_training


@pytest.fixture(scope="package", autouse=True)
def _tensorflow_left_as_it_was() -> Iterator[None]:
    yield
    # Deterministic ops are switched on for a whole process, which is one of its own in a run, but not in a test run:
    # other blocks' tests train foreign models with unseeded dropout.
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None:
        config.disable_op_determinism()


@pytest.fixture(scope="package", autouse=True)
def _one_lane() -> Iterator[None]:
    """What trains within a test's own process has one lane, which is traced in two thirds of the time, and one thread.

    Nor are its graphs optimised, which takes a tenth of the time of these small trainings. Processes of their own have
    graphs and as many lanes as in a run, and so many have tests that ask for `two_lanes`.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training_step, "LANES", 1)
        patched.setenv("TF_NUM_INTRAOP_THREADS", "1")  # several processes test side by side
        options = start_tensorflow().config.optimizer
        before = options.get_experimental_options()
        options.set_experimental_options({"disable_meta_optimizer": True})
        yield
        options.set_experimental_options({"disable_meta_optimizer": before.get("disable_meta_optimizer", False)})


@pytest.fixture
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_step, "LANES", LANES)


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.write_topics(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def three_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two layers none lies between others; three take half as long again to trace."""
    return small_inputs.write_model(tmp_path_factory.mktemp("three_layers"), 3)


@pytest.fixture(scope="session")
def saved_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.without_layers(model, tmp_path_factory.mktemp("saved_model") / "model")


@pytest.fixture(scope="session")
def steady_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.without_dropout(model, tmp_path_factory.mktemp("steady_model") / "model")


@pytest.fixture(scope="session")
def tokens(model: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    tokenise(model, rows, small_inputs.MAX_LENGTH, small_inputs.POSITIONS, folder, print)
    return folder


@pytest.fixture(scope="session")
def runs(model: Path, rows: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every mode in a process of its own; and `layer_extraction` in two, at the same time, so that each disturbs the
    other's timing. (That the other modes repeat is seen where their trainings are killed.)
    """
    folders = [tmp_path_factory.mktemp("run") for _ in range(2)]
    for mode in SETTINGS:
        both = folders if mode == "layer_extraction" else folders[:1]
        end(*(start("tests.retrain.every_mode", model, rows, tokens, folder / "out", mode) for folder in both))
    return [folder / "out" for folder in folders]


@pytest.fixture
def training(rows: Path, tokens: Path, tmp_path: Path) -> Training:
    numbers = itertools.count()

    def run(model: Path, **settings: Any) -> Run:
        folder = tmp_path / f"run_{next(numbers)}"
        folder.mkdir()
        return run_training(model, rows, tokens, folder, **settings)

    return run
