"""Examples + pretrained model -> a trained classifier. The mode decides what is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.progress import Say
from schemas.handoff import SPLITS, ClassifierFacts, ModelFacts, Split
from schemas.train_recipe import TrainRecipe
from tasks.bert import ARCHITECTURE, WORDS, read_weights
from tasks.retrain.classifier_files import write_answers, write_description, write_history, write_weights
from tasks.retrain.embeddings import Embeddings
from tasks.retrain.encoder import Encoder, load_encoder, trained_groups
from tasks.retrain.examples import (
    Examples,
    Inputs,
    TokenIds,
    are_pairs,
    read_examples,
    read_labels,
    restrict_vocabulary,
)
from tasks.retrain.feature_extraction import Embedded, train_head
from tasks.retrain.fine_tuning import fine_tune
from tasks.retrain.fit import Keeper, TrainingState, best_epoch
from tasks.retrain.forward import forward
from tasks.retrain.head import Weights
from tasks.retrain.hidden_states import compute_hidden_states, fit_into_memory
from tasks.retrain.layered_encoder import LayeredEncoder, UpperLayers
from tasks.retrain.loss import Loss, make_loss
from tasks.retrain.plan import Plan, make_plan, with_learning_rate
from tasks.retrain.precision import choose_precision
from tasks.retrain.strategy import on_processors, open_strategy, scope
from tasks.retrain.summary import summarise
from tasks.retrain.tensorflow_setup import leave_graphs_as_they_are, start_tensorflow
from tasks.retrain.truth import require_task


@dataclass(frozen=True)
class _Trained:
    head: Weights
    encoder: Weights
    state: TrainingState
    logits: dict[Split, npt.NDArray[np.float32]]


def train(
    model: Path,
    facts: ModelFacts,
    rows: Path,
    tokens: Path | None,
    embeddings: list[Path],
    recipe: TrainRecipe,
    keeper: Keeper | None,
    folder: Path,
    say: Say,
) -> ClassifierFacts:
    """Train a classifier, keep its best weights, and let it answer the validation and the test split.

    Args:
        model: a `model` artifact.
        facts: its facts.
        rows: a `rows` artifact.
        tokens: its `tokens` artifact, for a BERT-like encoder.
        embeddings: `embeddings` artifacts that know every text, for feature extraction.
        recipe: a train section; its learning rate may be left to the model.
        keeper: keeps the state of training now and then; None: it is not kept.
        folder: where the content of the `classifier` artifact is written.
        say: takes progress lines.

    Returns:
        Epochs, the best of them, and how many parameters there are and were trained.

    Raises:
        InvalidRecipe: class weights for a class, or a layer, that does not exist; rows of the other task.
        InvalidData: a split has no rows.
        UnsupportedModel: the mode needs variables or layers that the model does not show.
        TrainingFailed: the loss is not a number, or memory ran out.
    """
    labels = read_labels(rows)
    examples = {split: read_examples(tokens or rows, split, len(labels)) for split in SPLITS}
    require_task(examples["train"].labels, recipe.task)
    recipe = with_learning_rate(facts, recipe)
    say(f"learning rate {recipe.learning_rate:g}")
    loss = make_loss(recipe, labels, examples["train"].labels)
    plan = make_plan(facts, recipe)
    in_lanes = recipe.mode != "feature_extraction" and (model / ARCHITECTURE).exists()
    start_tensorflow(in_lanes=in_lanes, deterministic=recipe.deterministic)
    if recipe.mode == "feature_extraction":
        trained = _train_head(facts, embeddings, examples, len(labels), loss, recipe, keeper, say)
    else:
        strategy = open_strategy(recipe.strategy, say)
        with scope(strategy):
            trained = _tune(model, facts, plan, examples, len(labels), loss, recipe, keeper, say, strategy)

    best = best_epoch(trained.state.history, recipe.monitor)
    write_weights(folder, trained.head, trained.encoder)
    pairs = are_pairs(examples["train"].inputs)
    write_description(folder, facts, labels, list(trained.encoder), recipe, plan, trained.state.precision, pairs)
    write_history(folder, trained.state, recipe.monitor)
    for split, logits in trained.logits.items():
        write_answers(folder, split, examples[split], logits)
    head = sum(value.size for value in trained.head.values())
    changed = head + sum(value.size for value in trained.encoder.values())
    return ClassifierFacts(
        mode=recipe.mode,
        labels=labels,
        epochs=trained.state.epoch,
        best_epoch=best,
        parameters=facts.parameters + head,
        trained_parameters=changed,
        precision=trained.state.precision,
    )


def _train_head(
    facts: ModelFacts,
    embeddings: list[Path],
    examples: dict[Split, Examples],
    classes: int,
    loss: Loss,
    recipe: TrainRecipe,
    keeper: Keeper | None,
    say: Say,
) -> _Trained:
    known = Embeddings(embeddings)
    embedded = {
        split: Embedded(known.look_up(part.keys), part.labels, part.weights) for split, part in examples.items()
    }
    assert recipe.hidden is not None
    say(summarise([], 0, facts.parameters, embedded["train"].vectors.shape[1], recipe.hidden, classes))
    head, state = train_head(embedded["train"], embedded["validation"], classes, loss, recipe, keeper, say)
    held_out: tuple[Split, ...] = ("validation", "test")
    logits = {split: head.logits(embedded[split].vectors).numpy() for split in held_out}
    return _Trained(head.weights(), {}, state, logits)


def _tune(
    model: Path,
    facts: ModelFacts,
    plan: Plan,
    examples: dict[Split, Examples],
    classes: int,
    loss: Loss,
    recipe: TrainRecipe,
    keeper: Keeper | None,
    say: Say,
    strategy: Any,
) -> _Trained:
    inputs: dict[Split, Inputs] = {split: part.inputs for split, part in examples.items()}
    precision, products_only = choose_precision(recipe.precision, model, strategy, say), on_processors(strategy)
    loaded = load_encoder(
        model,
        facts,
        recipe,
        plan,
        precision,
        products_only=products_only,
        pairs=are_pairs(inputs["train"]),
    )
    encoder: Encoder = loaded
    words: npt.NDArray[np.int32] | None = None
    trained_groups(loaded, plan.frozen_groups, facts)  # refuses before anything is computed
    assert recipe.hidden is not None
    say(summarise(loaded.groups, plan.frozen_groups, facts.parameters, loaded.width, recipe.hidden, classes))
    texts = [part.inputs for part in examples.values() if isinstance(part.inputs, TokenIds)]
    if isinstance(loaded, LayeredEncoder):
        if on_processors(strategy):
            leave_graphs_as_they_are()
        if not plan.frozen_groups:
            # The table of word vectors is half of a small encoder. Rows of words that do not occur in training have
            # no gradient: without them, each step has less to update. They stay as they are, where weight decay alone
            # would shrink them, by some 1e-4 in a run.
            words, others, renumbered = restrict_vocabulary(texts[0], texts[1:])  # training is the first split
            loaded.bert.restrict_words(words, others)
            inputs = dict(zip(examples, renumbered, strict=True))
        elif recipe.keep_hidden_states:
            if fit_into_memory(texts, loaded.bert.config.hidden_size):
                inputs = {
                    split: compute_hidden_states(loaded, text, say, training=split == "train")
                    for split, text in zip(examples, texts, strict=True)
                }
                encoder = UpperLayers(loaded)
            else:
                say("what the frozen layers give does not fit into the free memory: it is computed in every epoch")
    groups = trained_groups(encoder, plan.frozen_groups, facts)
    head, state, compute_logits = fine_tune(
        encoder,
        groups,
        (inputs["train"], examples["train"].labels, examples["train"].weights),
        (inputs["validation"], examples["validation"].labels),
        classes,
        loss,
        recipe,
        keeper,
        say,
        strategy,
        precision,
        products_only=products_only,
    )
    state.release()
    held_out: tuple[Split, ...] = ("validation", "test")
    logits = {
        split: forward(compute_logits, inputs[split], classes, say, f"Answers on {split}", 1.0) for split in held_out
    }
    weights = {variable.name: variable.numpy() for group in groups for variable in group}
    if words is not None:
        name = f"{WORDS}:0"
        table = _pretrained_words(model)
        table[words] = weights[name]
        weights[name] = table
    return _Trained(head.weights(), weights, state, logits)


def _pretrained_words(model: Path) -> npt.NDArray[np.float32]:
    """The whole table of word vectors, read again: for as long as training takes, its memory is of better use."""
    known = read_weights(model)
    assert known is not None
    return next(values for name, values in known[1] if name == WORDS)
