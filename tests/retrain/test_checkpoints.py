"""Training that goes on where it was: what is kept, what is found again, and what happens when it cannot be kept."""

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubtune.storage import Store
from hubtune.storage.artifact import TaskKey, task_key
from tasks.retrain.checkpoints import Checkpoints
from tasks.retrain.fit import Epoch, TrainingState
from tasks.retrain.optimizer import AdamW
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.validation import ValidationMetrics
from tests.retrain import every_mode
from tests.retrain.processes import Process, end, said, start
from tests.retrain.runs import Tuned, tune

KEY = task_key("retrain.train", 1, {"seed": 1}, [])
OTHER = task_key("retrain.train", 1, {"seed": 2}, [])


@dataclass
class Keeping:
    """Checkpoints of one training, in a store of its own, and what they said."""

    store: Store
    lines: list[str]

    def of(self, key: TaskKey = KEY, every: float = 0.0, least: float = 0.0) -> Checkpoints:
        return Checkpoints(self.store, key, self.lines.append, every, least)

    def kept(self) -> list[Path]:
        folder = Path(self.store.root, "artifacts", "checkpoint")
        return sorted(path for path in folder.glob("*") if not path.name.startswith(".")) if folder.exists() else []


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(Store.open(str(tmp_path / "store")), [])


def new_state() -> TrainingState:
    tf = start_tensorflow()
    variables = [tf.Variable(np.ones((3, 2), np.float32), name="kernel"), tf.Variable(np.zeros(2, np.float32))]
    state = TrainingState(variables, AdamW(variables, 0.01), np.linspace(1, 0.1, 10, dtype=np.float32))
    state.best = state.weights()
    return state


def step(state: TrainingState, size: float) -> None:
    import tensorflow as tf

    gradients = [tf.fill(variable.shape, size) for variable in state.variables]
    state.optimizer.apply(gradients, tf.constant(state.rates[len(state.losses)]))
    state.losses.append(np.float32(size / 3))


def trained() -> TrainingState:
    """A state in the middle of its second epoch."""
    state = new_state()
    for size in (1.0, -0.3, 7.0):
        step(state, size)
    state.best = state.weights()
    step(state, 2.0)
    metrics = ValidationMetrics(loss=1 / 3, accuracy=0.1, macro_f1=0.7, weighted_f1=2 / 3)
    state.epoch, state.parts = 1, 4
    state.history.append(Epoch(1, 3, float(state.rates[2]), 0.123456789, metrics))
    return state


def require_equal(found: TrainingState, expected: TrainingState) -> None:
    for name, value in expected.arrays().items():
        assert found.arrays()[name].tobytes() == value.tobytes(), name
    assert found.arrays().keys() == expected.arrays().keys()
    assert (found.epoch, found.parts, found.history) == (expected.epoch, expected.parts, expected.history)
    assert found.optimizer.steps == expected.optimizer.steps
    assert found.losses == expected.losses


def test_what_is_kept_comes_back_bit_for_bit_and_goes_on_the_same(keeping: Keeping) -> None:
    state, again = trained(), new_state()
    keeping.of().offer(state, epoch_ended=False)
    assert keeping.of().restore(again)
    require_equal(again, state)
    for each in (state, again):
        step(each, -5.0)
    require_equal(again, state)
    assert keeping.lines == []


def test_there_is_nothing_to_go_on_from_at_first(keeping: Keeping) -> None:
    state = new_state()
    assert not keeping.of().restore(state)
    require_equal(state, new_state())


def test_another_recipe_does_not_find_it(keeping: Keeping) -> None:
    keeping.of().offer(trained(), epoch_ended=False)
    assert not keeping.of(OTHER).restore(new_state())
    keeping.of(OTHER).discard()
    assert keeping.of().restore(new_state())


def test_a_state_of_another_precision_is_left_out(keeping: Keeping) -> None:
    keeping.of().offer(trained(), epoch_ended=False)
    state = new_state()
    state.precision = "bfloat16"
    assert not keeping.of().restore(state)
    assert state.losses == []
    state.products_only = True
    assert not keeping.of().restore(state)
    told = "the checkpoint was computed in float32, this device computes in {}: training begins from the start"
    assert keeping.lines == [told.format("bfloat16"), told.format("bfloat16 products")]
    keeping.of().offer(state, epoch_ended=False)
    assert keeping.of().restore(state)
    state.products_only = False
    assert not keeping.of().restore(state)


def test_one_state_is_left_and_none_in_the_end(keeping: Keeping) -> None:
    checkpoints, state = keeping.of(), trained()
    for size in (1.0, 2.0, 3.0):
        checkpoints.offer(state, epoch_ended=False)
        assert len(keeping.kept()) == 1
        step(state, size)
    checkpoints.offer(state, epoch_ended=True)
    checkpoints.offer(state, epoch_ended=True)  # nothing has changed: it is the same artifact
    assert len(keeping.kept()) == 1
    # Another process goes on, and removes what this one left.
    later, again = keeping.of(), new_state()
    assert later.restore(again)
    require_equal(again, state)
    step(again, 4.0)
    later.offer(again, epoch_ended=True)
    assert len(keeping.kept()) == 1
    keeping.of().discard()
    assert keeping.kept() == []
    assert not keeping.of().restore(new_state())
    keeping.of().discard()  # it may be gone already
    assert keeping.lines == []


def test_a_state_is_kept_when_the_last_one_is_old_enough(keeping: Keeping) -> None:
    state = trained()
    keeping.of(every=1000.0, least=1000.0).offer(state, epoch_ended=True)
    keeping.of(every=1000.0, least=0.0).offer(state, epoch_ended=False)
    assert keeping.kept() == []
    keeping.of(every=1000.0, least=0.0).offer(state, epoch_ended=True)
    assert len(keeping.kept()) == 1


@pytest.mark.parametrize("damage", ["arrays.safetensors", "state.json", "manifest.json", "lost"])
def test_a_damaged_state_is_left_out_and_this_is_said(damage: str, keeping: Keeping) -> None:
    keeping.of().offer(trained(), epoch_ended=False)
    (folder,) = keeping.kept()
    if damage == "lost":
        (folder / "state.json").unlink()
    else:
        content = bytearray((folder / damage).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / damage).write_bytes(content)
    state, checkpoints = new_state(), keeping.of()
    assert not checkpoints.restore(state)
    require_equal(state, new_state())
    said = list(keeping.lines)
    # Training begins from the start, and its states are kept where the damaged one lay.
    other = trained()
    checkpoints.offer(other, epoch_ended=False)
    assert keeping.of().restore(state)
    require_equal(state, other)
    # A log line would not do: nobody sees those of the process that trains.
    assert len(said) == 1
    assert "begins from the start" in said[0]


def test_a_state_that_was_discarded_is_not_called_damaged(keeping: Keeping, caplog: pytest.LogCaptureFixture) -> None:
    keeping.of().offer(trained(), epoch_ended=False)
    keeping.of().discard()
    assert not keeping.of().restore(new_state())
    keeping.of().discard()
    assert keeping.lines == []
    assert caplog.messages == []


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Writing more into a file fails, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small disk")
    try:
        (folder / "other").write_bytes(b"0" * 56 * 1024)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


ONE_EPOCH: dict[str, Any] = {"epochs": 1, "batch_size": 120}


NOT_KEPT = "no checkpoint could be kept, training goes on without: "


def test_on_a_disk_that_is_full_nothing_is_kept(tmp_path: Path) -> None:
    keeping, large = Keeping(Store.open(str(tmp_path / "disk" / "store")), []), trained()
    large.best = [np.zeros(10_000, np.float32)]
    with full_disk(tmp_path / "disk"):
        keeping.of().offer(large, epoch_ended=True)
    (line,) = keeping.lines
    assert line.startswith(NOT_KEPT)


def test_a_store_that_is_not_there_does_not_end_the_training(tmp_path: Path, model: Path, tokens: Path) -> None:
    without_a_store = tune(model, tokens, **ONE_EPOCH)
    (tmp_path / "file").write_text("this is no folder")
    keeping = Keeping(Store.open(str(tmp_path / "file" / "store")), [])
    tuned = tune(model, tokens, keeping.of(), **ONE_EPOCH)
    assert tuned.state.losses == without_a_store.state.losses
    *states, took = keeping.lines
    assert len(states) == 3  # two steps, and the end of the epoch
    assert all(line.startswith(NOT_KEPT) for line in states)
    assert took.startswith("how long the training took could not be noted: ")


def test_a_store_that_comes_back_takes_the_next_state(keeping: Keeping) -> None:
    state, checkpoints = trained(), keeping.of()
    checkpoints.offer(state, epoch_ended=False)
    with files_no_larger_than(100):
        step(state, 1.0)
        checkpoints.offer(state, epoch_ended=False)
    assert len(keeping.lines) == 1
    assert len(keeping.kept()) == 1
    again = new_state()
    assert keeping.of().restore(again)
    assert again.optimizer.steps == 4, "the last state that could be kept"
    checkpoints.offer(state, epoch_ended=False)
    assert keeping.of().restore(again)
    require_equal(again, state)
    assert len(keeping.kept()) == 1


def test_a_batch_that_was_kept_names_its_rows(keeping: Keeping) -> None:
    uri = keeping.of().keep_batch(np.array([7, 3, 5]), 11, float("nan"), 0.25)
    assert uri is not None
    assert np.load(Path(uri) / "rows.npy").tolist() == [7, 3, 5]
    manifest = json.loads((Path(uri) / "manifest.json").read_bytes())
    assert '"step": 12' in json.dumps(manifest)
    with files_no_larger_than(10):
        assert keeping.of().keep_batch(np.arange(100), 11, float("nan"), 0.25) is None
    assert keeping.lines[0].startswith("the batch could not be kept: ")


def test_going_on_within_an_epoch_gives_the_same_weights(
    keeping: Keeping, model: Path, tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.retrain.lagging_rows.WINDOW", 3)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 60, "accumulation_steps": 2}
    whole = tune(model, tokens, **settings)

    class Stopping(Checkpoints):
        """Interrupts the training after a step."""

        last = 0

        def offer(self, state: TrainingState, *, epoch_ended: bool) -> None:
            super().offer(state, epoch_ended=epoch_ended)
            if len(state.losses) == self.last:
                raise KeyboardInterrupt

        def restore(self, state: TrainingState) -> bool:
            found = super().restore(state)
            restored.append(len(state.losses))
            return found

    # In the first epoch, at its end, in the second epoch; each goes on from the one before.
    restored: list[int] = []
    for last in (1, 4, 6):
        checkpoints = Stopping(keeping.store, KEY, print, 0, 0)
        checkpoints.last = last
        with pytest.raises(KeyboardInterrupt):
            tune(model, tokens, checkpoints, **settings)
    assert restored == [0, 1, 4]
    journal = Path(keeping.store.root, "journal", "trainings")
    assert not journal.exists()
    resumed = tune(model, tokens, keeping.of(), **settings)
    noted = json.loads((journal / f"{KEY.digest}.json").read_bytes())
    assert noted["rows"] == 120, "two steps of 60 were left"
    assert noted["seconds"] > 0
    assert "going on from a checkpoint: 1 epochs and 6 steps were done before" in resumed.lines[0]
    require_same(resumed, whole)


def require_same(found: Tuned, expected: Tuned) -> None:
    assert found.state.losses == expected.state.losses
    assert found.state.history == expected.state.history
    for name, value in (expected.weights | expected.head.weights()).items():
        assert np.array_equal((found.weights | found.head.weights())[name], value), name


KILLED = [("feature_extraction", 8), ("fine_tuning", 12), ("partial", 13)]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "last"), KILLED)
def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_been(
    mode: str, last: int, runs: list[Path], model: Path, rows: Path, tokens: Path, tmp_path: Path
) -> None:
    (tmp_path / "embeddings").symlink_to(runs[0] / "embeddings")

    def train(last: int) -> Process:
        folders = (model, rows, tokens, tmp_path)
        # A killed process leaves TensorFlow's temporary files behind.
        return start("tests.retrain.every_mode", *folders, mode, tmp_path / "store", last, TMPDIR=str(tmp_path))

    killed = train(last)
    assert killed.stdout is not None
    lines = []
    for line in killed.stdout:
        lines.append(line)
        # Two steps before it stands still, so that the signal comes at any moment of a step, or of a checkpoint.
        if line.startswith("kept step") and int(line.split()[2]) >= last - 2:
            os.kill(killed.pid, signal.SIGKILL)
            break
    lines.append(said(killed))
    assert killed.returncode == -signal.SIGKILL, lines
    undisturbed = runs[0] / mode
    assert not list((tmp_path / mode).iterdir())

    (out,) = end(train(10**6))
    assert "going on from a checkpoint: 1 epochs and " in out
    written = sorted(path.relative_to(undisturbed) for path in undisturbed.rglob("*.*"))
    assert sorted(path.relative_to(tmp_path / mode) for path in (tmp_path / mode).rglob("*.*")) == written
    for path in written:
        assert (tmp_path / mode / path).read_bytes() == (undisturbed / path).read_bytes(), path
    keeping = Keeping(Store.open(str(tmp_path / "store")), [])
    Checkpoints(keeping.store, every_mode.key(mode), print).discard()
    assert len(keeping.kept()) <= 1
