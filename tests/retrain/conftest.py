"""TensorFlow as block 4 starts it, and the small inputs, made once for all tests of the block."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.retrain.tokenise import tokenise
from tests.retrain import small_inputs


@pytest.fixture(scope="package", autouse=True)
def _tensorflow_left_as_it_was() -> Iterator[None]:
    yield
    # Deterministic ops are switched on for a whole process, which is one of its own in a run, but not in a test run:
    # other blocks' tests train foreign models with unseeded dropout.
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None:
        config.disable_op_determinism()


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.write_topics(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inputs.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tokens(model: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    tokenise(model, rows, small_inputs.MAX_LENGTH, folder, print)
    return folder
