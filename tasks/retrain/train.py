"""Examples + encoder -> a trained and evaluated classifier. The mode decides what is trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hubtune.progress import Say
from schemas.handoff import SPLITS, ClassifierFacts, ModelFacts, Split
from schemas.recipe import TrainRecipe
from tasks.retrain.class_weights import class_weights
from tasks.retrain.classifier_files import (
    write_description,
    write_predictions,
    write_results,
    write_weights,
)
from tasks.retrain.embeddings import Embeddings
from tasks.retrain.encoder import load_encoder, require_trainable
from tasks.retrain.evaluate import Evaluation, evaluate
from tasks.retrain.examples import Examples, read_examples, read_labels
from tasks.retrain.feature_extraction import Embedded, train_head
from tasks.retrain.fine_tuning import compile_logits, fine_tune
from tasks.retrain.fit import Epoch, best_epoch
from tasks.retrain.forward import forward
from tasks.retrain.head import Weights
from tasks.retrain.tensorflow_setup import start_tensorflow


@dataclass(frozen=True)
class _Trained:
    head: Weights
    encoder: Weights
    history: list[Epoch]
    logits: dict[Split, npt.NDArray[np.float32]]


def train(
    model: Path,
    facts: ModelFacts,
    rows: Path,
    tokens: Path | None,
    embeddings: list[Path],
    recipe: TrainRecipe,
    folder: Path,
    say: Say,
) -> ClassifierFacts:
    """Train a classifier, keep its best weights and evaluate them.

    Args:
        model: a `model` artifact.
        facts: its facts.
        rows: a `rows` artifact.
        tokens: its `tokens` artifact, for a BERT-like encoder.
        embeddings: `embeddings` artifacts that know every text, for feature extraction.
        recipe: a complete train section.
        folder: where the content of the `classifier` artifact is written.
        say: takes progress lines.

    Returns:
        Epochs, the best of them, and metrics by split. Fine-tuning leaves the training split out: evaluating it would
        take about as long as a third of an epoch.

    Raises:
        InvalidRecipe: class weights for a class that does not exist.
        InvalidData: a split has no rows.
        UnsupportedModel: fine-tuning of a model without trainable variables.
        TrainingFailed: the loss is not a number.
    """
    labels = read_labels(rows)
    examples = {split: read_examples(tokens or rows, split) for split in SPLITS}
    weights = class_weights(recipe.class_weights, labels, examples["train"].labels)
    start_tensorflow()
    if recipe.mode == "feature_extraction":
        trained = _train_head(embeddings, examples, labels, weights, recipe, say)
    else:
        trained = _fine_tune(model, facts, examples, labels, weights, recipe, say)

    evaluations: dict[Split, Evaluation] = {
        split: evaluate(logits, examples[split].labels, labels) for split, logits in trained.logits.items()
    }
    best = best_epoch(trained.history)
    write_weights(folder, trained.head, trained.encoder)
    write_description(folder, facts, labels, list(trained.encoder), recipe)
    write_results(folder, labels, trained.history, best, evaluations)
    write_predictions(folder, examples["test"], trained.logits["test"])
    metrics = {split: evaluation.metrics for split, evaluation in evaluations.items()}
    test = metrics["test"]
    say(f"test: accuracy {test.accuracy:.4f}, macro-F1 {test.macro_f1:.4f} on {test.rows:,} rows")
    return ClassifierFacts(
        mode=recipe.mode, labels=labels, epochs=len(trained.history), best_epoch=best, metrics=metrics
    )


def _train_head(
    embeddings: list[Path],
    examples: dict[Split, Examples],
    labels: list[str],
    weights: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> _Trained:
    known = Embeddings(embeddings)
    embedded = {split: Embedded(known.look_up(part.keys), part.labels) for split, part in examples.items()}
    head, history = train_head(embedded["train"], embedded["validation"], labels, weights, recipe, say)
    logits = {split: head.logits(part.vectors).numpy() for split, part in embedded.items()}
    return _Trained(head.weights(), {}, history, logits)


def _fine_tune(
    model: Path,
    facts: ModelFacts,
    examples: dict[Split, Examples],
    labels: list[str],
    weights: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> _Trained:
    encoder = load_encoder(model, facts, recipe.pooling, recipe.seed)
    require_trainable(encoder, facts)
    train, validation = examples["train"], examples["validation"]
    head, history = fine_tune(encoder, facts.width, train, validation, labels, weights, recipe, say)
    compute_logits = compile_logits(encoder, head)
    held_out: tuple[Split, ...] = ("validation", "test")
    logits = {
        split: forward(compute_logits, examples[split].inputs, len(labels), say, f"Evaluation on {split}")
        for split in held_out
    }
    return _Trained(
        head.weights(), {variable.name: variable.numpy() for variable in encoder.variables}, history, logits
    )
