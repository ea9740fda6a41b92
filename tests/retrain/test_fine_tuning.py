"""Encoder and head trained together: it learns what a frozen encoder does not know."""

from pathlib import Path

import numpy as np
import pytest

from hubtune.errors import TrainingFailed, UnsupportedModel
from schemas.handoff import Metrics, ModelFacts
from schemas.recipe import TrainRecipe
from tasks.retrain.encoder import Encoder, load_encoder, require_trainable
from tasks.retrain.evaluate import evaluate
from tasks.retrain.examples import read_examples
from tasks.retrain.fine_tuning import compile_logits, fine_tune
from tasks.retrain.fit import Epoch, best_epoch
from tasks.retrain.forward import forward
from tasks.retrain.tensorflow_setup import start_tensorflow
from tests.retrain.small_inputs import FACTS, LABELS, WIDTH, recipe

MODULE = Path(__file__).parents[2] / ".." / "shared" / "models" / "glove_twitter_12k_dim25"


def tuned(encoder: Encoder, width: int, texts: Path, settings: TrainRecipe) -> tuple[list[Epoch], dict[str, Metrics]]:
    train, validation = read_examples(texts, "train"), read_examples(texts, "validation")
    weights = np.ones(len(LABELS), np.float32)
    head, history = fine_tune(encoder, width, train, validation, LABELS, weights, settings, lambda line: None)
    metrics = {}
    for split in ("validation", "test"):
        examples = read_examples(texts, split)
        logits = forward(compile_logits(encoder, head), examples.inputs, len(LABELS), lambda line: None, "")
        metrics[split] = evaluate(logits, examples.labels, LABELS).metrics
    return history, metrics


def test_it_learns_and_leaves_encoder_and_head_with_the_best_weights(model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, "mean", seed=1)
    before = [variable.numpy() for variable in encoder.variables]
    settings = recipe(mode="fine_tuning", learning_rate=2e-2, epochs=6, batch_size=16, early_stopping_patience=None)
    history, metrics = tuned(encoder, WIDTH, tokens, settings)
    best = best_epoch(history)
    assert metrics["validation"] == history[best - 1].validation
    assert metrics["test"].accuracy > 0.85
    changed = {
        variable.name.split(":")[0]: not np.array_equal(variable.numpy(), first)
        for variable, first in zip(encoder.variables, before, strict=True)
    }
    # Mean pooling does not read the pooler.
    assert all(other for name, other in changed.items() if not name.startswith("pooler/"))


def test_a_diverged_run_says_so(model: Path, tokens: Path) -> None:
    start_tensorflow()
    encoder = load_encoder(model, FACTS, "mean", seed=1)
    encoder.variables[0].assign(encoder.variables[0] * np.float32(np.inf))
    settings = recipe(mode="fine_tuning", warmup_fraction=0.5)
    with pytest.raises(TrainingFailed, match="training loss is nan at step 1 of epoch 1, where") as failed:
        tuned(encoder, WIDTH, tokens, settings)
    assert failed.value.where == "train.learning_rate"


@pytest.mark.skipif(not MODULE.is_dir(), reason="../shared/models is not here")
def test_text_embedding_modules_are_tuned_too(rows: Path, tmp_path: Path) -> None:
    start_tensorflow()
    (tmp_path / "module").symlink_to(MODULE.resolve())
    facts = ModelFacts(interface="text_embedding", width=25, parameters=298_150, trainable=True)
    encoder = load_encoder(tmp_path, facts, "mean", seed=1)
    require_trainable(encoder, facts)
    table = encoder.variables[0].numpy()
    settings = recipe(mode="fine_tuning", learning_rate=3e-2, epochs=4, weight_decay=0.0)
    _, metrics = tuned(encoder, 25, rows, settings)
    assert metrics["test"].accuracy > 0.85
    moved = (encoder.variables[0].numpy() != table).any(axis=1)
    assert 10 < moved.sum() < 60, "only words that occur in the training texts were trained"


def test_a_model_without_trainable_variables_is_refused(model: Path) -> None:
    start_tensorflow()
    frozen = FACTS.model_copy(update={"trainable": False})
    encoder = load_encoder(model, frozen, "mean", seed=1)
    with pytest.raises(UnsupportedModel, match="without trainable variables") as refused:
        require_trainable(encoder, frozen)
    assert "feature_extraction" in refused.value.remedy
    encoder.variables.append(encoder.variables[0])
    with pytest.raises(UnsupportedModel, match="2 trainable variables named 'embeddings/word_embeddings:0'"):
        require_trainable(encoder, FACTS)
