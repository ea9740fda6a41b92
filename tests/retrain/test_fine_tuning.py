"""Encoder and head trained together: it learns what a frozen encoder does not know."""

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubtune.errors import TrainingFailed, UnsupportedModel
from schemas.handoff import ModelFacts
from tasks.retrain.encoder import load_encoder, trained_groups
from tasks.retrain.examples import read_examples
from tasks.retrain.fine_tuning import compile_logits
from tasks.retrain.fit import best_epoch
from tasks.retrain.forward import forward
from tasks.retrain.plan import Plan
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.validation import ValidationMetrics, validate
from tests.retrain.runs import Training, Tuned, pretrained, tune
from tests.retrain.small_inputs import FACTS, LABELS, recipe

MODULE = Path(__file__).parents[2] / ".." / "shared" / "models" / "glove_twitter_12k_dim25"


def judged(tuned: Tuned, texts: Path, split: Any) -> ValidationMetrics:
    examples = read_examples(texts, split)
    logits = forward(compile_logits(tuned.encoder, tuned.head), examples.inputs, len(LABELS), lambda line: None, "")
    return validate(logits, examples.labels)


@pytest.mark.parametrize("kind", ["model", "saved_model"])
def test_it_learns_and_leaves_encoder_and_head_with_the_best_weights(
    kind: str, model: Path, tokens: Path, request: pytest.FixtureRequest
) -> None:
    settings: dict[str, Any] = {"learning_rate": 5e-3, "epochs": 6, "batch_size": 16}
    tuned = tune(request.getfixturevalue(kind), tokens, **settings)
    best = best_epoch(tuned.state.history, "macro_f1")
    assert len(tuned.state.history) == 6
    assert judged(tuned, tokens, "validation") == tuned.state.history[best - 1].validation
    assert judged(tuned, tokens, "test").accuracy > 0.85
    before = pretrained(model)
    # Mean pooling does not read the pooler.
    same = [name for name, value in tuned.weights.items() if np.array_equal(value, before[name])]
    assert all(name.startswith("pooler/") for name in same)
    assert [len(line) for line in tuned.lines if line.startswith("epoch ")] != []
    only_for_training = [weakref.ref(each) for each in (*tuned.state.optimizer.state[1:], *tuned.state.best)]
    assert all(reference() is not None for reference in only_for_training)
    tuned.state.release()
    assert all(reference() is None for reference in only_for_training), "nothing holds their memory any more"


@pytest.mark.parametrize("mode", ["partial", "layer_extraction"])
def test_other_modes_learn_more_than_their_heads(mode: str, model: Path, tokens: Path, training: Training) -> None:
    run = training(model, mode=mode, learning_rate=5e-3, epochs=6, batch_size=16)
    first, best = run.history[0], next(entry for entry in run.history if entry["best"])
    assert best["validation"]["accuracy"] > 0.8
    assert best["train_loss"] < 0.6 * first["train_loss"]


def test_a_diverged_run_says_so_and_keeps_its_batch(model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, recipe(), Plan(0, None))
    table = encoder.groups[0][0]
    table.assign(table * np.float32(np.inf))

    class Record:
        kept: tuple[list[int], int, float, float] | None = None

        def restore(self, state: object) -> bool:
            return False

        def offer(self, state: object, *, epoch_ended: bool) -> None:
            raise AssertionError("there is no step to keep")

        def keep_batch(self, rows: Any, step: int, loss: float, learning_rate: float) -> str | None:
            self.kept = (rows.tolist(), step, loss, learning_rate)
            return "there"

        def note(self, rows: int, seconds: float) -> None:
            raise AssertionError("it did not come to its end")

    record = Record()
    message = "training loss is nan at step 1, in epoch 1, where .*; the rows of the batch lie in there"
    with pytest.raises(TrainingFailed, match=message) as failed:
        tune(model, tokens, record, encoder, warmup_fraction=0.5, batch_size=20)
    assert failed.value.where == "train.learning_rate"
    assert record.kept is not None
    rows, step, loss, rate = record.kept
    assert len(set(rows)) == 20
    assert max(rows) < 240
    assert step == 0
    assert np.isnan(loss)
    assert 0 < rate < 5e-5


@pytest.mark.skipif(not MODULE.is_dir(), reason="../shared/models is not here")
def test_text_embedding_modules_are_tuned_too(rows: Path, tmp_path: Path) -> None:
    start_tensorflow()
    (tmp_path / "module").symlink_to(MODULE.resolve())
    facts = ModelFacts(interface="text_embedding", width=25, parameters=298_150, trainable=True)
    encoder = load_encoder(tmp_path, facts, recipe(), Plan(0, None))
    ((table,),) = trained_groups(encoder, 0, facts)
    before = table.numpy()
    tuned = tune(tmp_path, rows, encoder=encoder, learning_rate=3e-2, epochs=4, weight_decay=0.0)
    assert judged(tuned, rows, "test").accuracy > 0.85
    moved = (table.numpy() != before).any(axis=1)
    assert 10 < moved.sum() < 60, "only words that occur in the training texts were trained"


def test_a_model_without_trainable_variables_is_refused(saved_model: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(saved_model, FACTS, recipe(), Plan(0, None))
    frozen = FACTS.model_copy(update={"trainable": False})
    with pytest.raises(UnsupportedModel, match="without trainable variables") as refused:
        trained_groups(encoder, 0, frozen)
    assert "feature_extraction" in refused.value.remedy
    encoder.groups[-1].append(encoder.groups[0][0])  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedModel, match="2 trainable variables named 'embeddings/word_embeddings:0'"):
        trained_groups(encoder, 0, FACTS)
