"""Several devices give what one gives; what a TPU runs has fixed shapes and no strings."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from hubtune.errors import InvalidRecipe
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import TokenIds, read_examples
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.fine_tuning import _padded
from tasks.retrain.hidden_states import compute_hidden_states
from tasks.retrain.layered_encoder import LayeredEncoder, UpperLayers
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.plan import Plan
from tasks.retrain.strategy import is_first_worker, open_strategy
from tasks.retrain.tensorflow_setup import LANES, start_tensorflow
from tasks.retrain.training_step import NO_WORDS, TrainingStep, lanes
from tests.retrain.graphs import DYNAMIC
from tests.retrain.processes import Process, end, said, start
from tests.retrain.small_inputs import EVEN, FACTS, LABELS, MAX_LENGTH, WIDTH, part_of, recipe

pytestmark = pytest.mark.slow
DISTRIBUTED = "tests.retrain.distributed"


@pytest.fixture(scope="module")
def alone(steady_model: Path, rows: Path, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    (out,) = end(start(DISTRIBUTED, "one_device", steady_model, rows, tokens, folder))
    assert "training on one device" in out
    return folder


def answers(folder: Path) -> NDArray[np.float32]:
    return np.array(pl.read_parquet(folder / "answers" / "test.parquet")["logits"].to_list(), np.float32)


def require_the_same(folder: Path, alone: Path) -> None:
    names = [path.parent.name for path in folder.glob("*/steps.parquet")]
    assert names != []
    for name in names:
        # Not the weights: where a gradient is 0 but for rounding, Adam scales the rounding up.
        np.testing.assert_allclose(answers(folder / name), answers(alone / "whole"), atol=2e-3)
        losses, expected = (
            pl.read_parquet(each / "steps.parquet")["loss"] for each in (folder / name, alone / "whole")
        )
        np.testing.assert_allclose(losses, expected, atol=1e-3)


def test_parts_give_what_the_whole_gives(alone: Path) -> None:
    require_the_same(alone, alone)


def test_two_devices_give_what_one_gives(
    steady_model: Path, rows: Path, tokens: Path, alone: Path, tmp_path: Path
) -> None:
    (out,) = end(start(DISTRIBUTED, "mirrored", steady_model, rows, tokens, tmp_path))
    assert "training on 2 devices: /device:CPU:0, /device:CPU:1" in out
    require_the_same(tmp_path, alone)


@pytest.mark.usefixtures("two_lanes")
def test_lanes_are_for_processors_and_for_layers_that_are_known(model: Path, saved_model: Path) -> None:
    start_tensorflow()
    settings = recipe(mode="fine_tuning")
    layered, in_one_piece = (load_encoder(folder, FACTS, settings, Plan(0, None)) for folder in (model, saved_model))
    assert (lanes(None, layered), lanes(None, in_one_piece)) == (LANES, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="which cores a process may use is known on Linux alone")
@pytest.mark.parametrize(
    ("cores", "in_lanes", "threads"), [(2, True, "1"), (1, True, "1"), (3, True, None), (2, False, None)]
)
def test_operations_are_divided_unless_each_lane_has_a_core(cores: int, in_lanes: bool, threads: str | None) -> None:
    # MOCK: how many cores there are. TensorFlow, which takes seconds to import, is left out.
    program = f"""
import os, sys
from unittest import mock
os.environ.pop("TF_NUM_INTRAOP_THREADS", None)
os.sched_getaffinity = lambda _: set(range({cores}))
sys.modules["tensorflow"] = mock.Mock()
from tasks.retrain.tensorflow_setup import start_tensorflow
start_tensorflow(in_lanes={in_lanes})
print(os.environ.get("TF_NUM_INTRAOP_THREADS"))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(threads)]


def start_workers(folder: Path, *inputs: Path, store: Path | None = None) -> list[Process]:
    """Two workers on this machine, each with a folder of its own."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)]
    cluster = {"cluster": {"worker": addresses}}
    return [
        start(
            DISTRIBUTED,
            "multi_worker",
            *inputs,
            folder / str(index),
            *([store] if store else []),
            TF_CONFIG=json.dumps(cluster | {"task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]


def test_two_workers_of_which_one_is_lost_and_comes_back_give_what_one_gives(
    steady_model: Path, rows: Path, tokens: Path, alone: Path, tmp_path: Path
) -> None:
    inputs = (steady_model, rows, tokens)
    survivor, lost = start_workers(tmp_path, *inputs, store=tmp_path / "store")
    assert lost.stdout is not None
    for line in lost.stdout:
        if line == "step 18 is done\n":
            lost.kill()
            break
    said(lost)
    told = said(survivor)
    assert survivor.returncode == 1
    assert "WorkerDied: another worker was lost in step" in told

    outs = end(*start_workers(tmp_path, *inputs, store=tmp_path / "store"))
    assert "training on 2 devices of 2 workers" in outs[0]
    steps = {
        line for out in outs for line in out.splitlines() if line.startswith("going on from a checkpoint: 1 epochs")
    }
    assert len(steps) == 1, "both go on from the same step"
    require_the_same(tmp_path / "0", alone)
    require_equal_files(tmp_path / "1", tmp_path / "0")


def require_equal_files(folder: Path, expected: Path) -> None:
    written = sorted(path.relative_to(expected) for path in expected.rglob("*.*"))
    assert sorted(path.relative_to(folder) for path in folder.rglob("*.*")) == written
    for path in written:
        assert (folder / path).read_bytes() == (expected / path).read_bytes(), path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("mirrored", "there is one device"), ("multi_worker", "TF_CONFIG names no cluster"), ("tpu", "TPU_NAME")],
)
def test_devices_that_are_not_there_are_refused(wanted: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start_tensorflow()
    for name in ("TF_CONFIG", "TPU_NAME", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidRecipe, match=found):
        open_strategy(wanted, print)  # type: ignore[arg-type]


WORKERS = {"worker": ["a:1", "b:1"]}


@pytest.mark.parametrize(
    ("config", "wanted", "first"),
    [
        ({}, "auto", True),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 0}}, "auto", True),
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 1}}, "multi_worker", False),
        # It trains for itself, as the other one does.
        ({"cluster": WORKERS, "task": {"type": "worker", "index": 1}}, "one_device", True),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, "auto", True),
        ({"cluster": WORKERS | {"chief": ["c:1"]}, "task": {"type": "chief", "index": 0}}, "auto", True),
        ({"cluster": WORKERS | {"chief": ["c:1"]}, "task": {"type": "worker", "index": 0}}, "auto", False),
    ],
)
def test_one_of_a_cluster_keeps_the_checkpoints(
    config: dict[str, Any], wanted: Any, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert is_first_worker(wanted) is first


@pytest.mark.parametrize("config", ["{", "[]", '{"cluster": []}', '{"cluster": {"worker": 3}}'])
def test_a_cluster_that_cannot_be_read_is_refused(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InvalidRecipe, match="TF_CONFIG cannot be read"):
        is_first_worker("auto")


def test_the_step_of_a_tpu_has_fixed_shapes_and_no_strings_and_compiles(steady_model: Path, tokens: Path) -> None:
    tf = start_tensorflow()
    train = read_examples(tokens, "train")
    results = []
    for fixed in (False, True):
        settings = recipe(mode="fine_tuning", dropout=0)
        encoder = load_encoder(steady_model, FACTS, settings, Plan(0, None))
        head = new_head(encoder.width, len(LABELS), settings, drop_input=True)
        variables = [*(each for group in trained_groups(encoder, 0, FACTS) for each in group), *head.variables]
        optimizer = AdamW(variables, settings.weight_decay)
        step = TrainingStep(encoder, head, variables, optimizer, SoftmaxCrossEntropy(EVEN))
        rows = np.arange(29)
        part = part_of(train, rows)
        draw, others = np.int64(3), (np.float32(len(rows)), np.float32(1e-3), NO_WORDS)
        if not fixed:
            loss = step.take([part], others[1], 3)
        else:
            lane = (*_padded(*part, 32, MAX_LENGTH), draw)
            compiled = tf.function(step.whole, jit_compile=True, autograph=False)
            traced = compiled.get_concrete_function([lane], *others)
            operations = traced.graph.get_operations()
            assert len(operations) > 100
            assert [each.name for each in operations if any(out.dtype == tf.string for out in each.outputs)] == []
            assert DYNAMIC & {each.type for each in operations} == set()
            assert all(tensor.shape.is_fully_defined() for tensor in traced.inputs if tensor.dtype != tf.resource)
            loss = compiled([lane], *others).numpy()
        results.append((loss, head.weights()["logits/kernel"], encoder.groups[1][0].numpy()))
    (plain, *weights), (xla, *same) = results
    assert xla == pytest.approx(plain, rel=1e-4)
    for weight, other in zip(weights, same, strict=True):
        np.testing.assert_allclose(other, weight, atol=2e-4)


def test_hidden_states_are_padded_to_the_fixed_shapes_of_a_tpu(steady_model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(steady_model, FACTS, recipe(mode="partial"), Plan(2, None))
    assert isinstance(encoder, LayeredEncoder)
    train = read_examples(tokens, "train")
    assert isinstance(train.inputs, TokenIds)
    states = compute_hidden_states(encoder, train.inputs, lambda line: None, training=True)
    upper, rows = UpperLayers(encoder), np.arange(5)
    features = states.batch(rows)
    wider, truth, weights = _padded(features, train.labels[rows], np.ones(5, np.float32), 8, MAX_LENGTH)
    assert {name: value.shape for name, value in wider.items()} == {
        "hidden": (8 * MAX_LENGTH, WIDTH),
        "input_mask": (8, MAX_LENGTH),
    }
    assert len(truth) == 8
    assert weights.tolist() == [1] * 5 + [0] * 3
    vectors = upper.text_vectors(wider, None)[:5]
    np.testing.assert_allclose(vectors, upper.text_vectors(features, None), atol=1e-5)
