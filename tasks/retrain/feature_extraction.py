"""Feature extraction: the encoder stays as it is, and a head is trained on its text vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from schemas.train_recipe import TrainRecipe
from tasks.retrain.fit import Keeper, TrainingState, fit, require_finite
from tasks.retrain.head import Head
from tasks.retrain.loss import Loss
from tasks.retrain.optimizer import AdamW
from tasks.retrain.schedule import learning_rates
from tasks.retrain.tensorflow_setup import Tensor
from tasks.retrain.truth import RowWeights, Truth
from tasks.retrain.validation import ValidationMetrics
from tasks.retrain.validation import validate as compare

# Steps inside one call of TensorFlow: enough that the call costs nothing, few enough for live progress.
_STEPS_PER_CALL = 512
# Deviation of the head's inputs. At 1 the default learning rate is too high (on sst2 and quora_insincere the first
# epoch was the best one); without centring and scaling, 25-dimensional GloVe vectors, whose mean is large, lost 3
# points of accuracy on trec6. At 0.3, about the deviation of the starter's vectors, both are as good as they come.
_INPUT_DEVIATION = 0.3
# Deviation of vectors as a share of their size, below which they count as the same: rounding, which differs between an
# encoder and its exported form by some 3e-6 of that size, would be blown up to differences that can be seen.
_LEAST_DEVIATION = 1e-4


@dataclass(frozen=True)
class Embedded:
    """Text vectors (float32[n, width]) and classes of one split, and how much each row counts (None: the same)."""

    vectors: npt.NDArray[np.float32]
    labels: Truth
    weights: RowWeights | None = None


def train_head(
    train: Embedded,
    validation: Embedded,
    classes: int,
    loss: Loss,
    recipe: TrainRecipe,
    keeper: Keeper | None,
    say: Say,
) -> tuple[Head, TrainingState]:
    """Train a head on text vectors.

    Args:
        train: the training split.
        validation: the split that early stopping watches.
        classes: how many there are.
        loss: what is minimised.
        recipe: a complete train section.
        keeper: keeps the state now and then; None: it is not kept.
        say: takes progress lines.

    Returns:
        The head with its best weights, which takes vectors as the encoder gives them; and the state at the end.

    Raises:
        TrainingFailed: the loss is not a number.
    """
    import tensorflow as tf

    assert recipe.epochs is not None
    assert recipe.learning_rate is not None
    assert recipe.warmup_fraction is not None
    mean, scale = _standardisation(train.vectors, say)
    held_out = tf.constant((validation.vectors - mean) / scale)
    head = new_head(train.vectors.shape[1], classes, recipe, drop_input=False)
    optimizer = AdamW(head.variables, recipe.weight_decay, recipe.clip_norm)
    rows, batch_size, epochs = len(train.labels), recipe.batch_size, recipe.epochs
    vectors = tf.constant((train.vectors - mean) / scale)
    weights = tf.ones(rows) if train.weights is None else tf.constant(train.weights)
    run_steps = _compile_steps(head, optimizer, vectors, tf.constant(train.labels), weights, loss)
    steps = -(-rows // batch_size)
    rates = learning_rates(recipe.epochs * steps, recipe.learning_rate, recipe.warmup_fraction, recipe.schedule)
    state = TrainingState(head.variables, optimizer, rates)

    def run_epoch() -> tuple[float, float]:
        epoch = state.epoch
        order = np.random.default_rng([recipe.seed, epoch]).permutation(rows)
        epoch_rates = rates[epoch * steps : (epoch + 1) * steps]
        part = (epoch / epochs, (epoch + 1) / epochs)
        progress = Progress(say, f"Epoch {epoch + 1}/{epochs}", rows, "rows", part=part)
        total = 0.0
        for first, batches in _calls(order, batch_size):
            losses = run_steps(batches, epoch_rates[first : first + len(batches)], epoch * steps + first).numpy()
            require_finite(losses, list(batches), state, keeper)
            state.losses += list(losses)
            state.rows += batches.size
            total += float(losses.astype(np.float64).sum()) * batches.shape[1]
            progress.advance(batches.size)
        return total / rows, float(epoch_rates[-1])

    def validate() -> ValidationMetrics:
        return compare(head.logits(held_out).numpy(), validation.labels)

    fit(state, run_epoch, validate, recipe, keeper, say)
    head.standardise_input(mean, scale)
    return head, state


def new_head(width: int, classes: int, recipe: TrainRecipe, *, drop_input: bool) -> Head:
    """The head that a recipe asks for, with its first weights."""
    assert recipe.hidden is not None
    return Head(
        width,
        recipe.hidden,
        classes,
        dropout=recipe.dropout or 0.0,
        seed=recipe.seed,
        drop_input=drop_input,
        activation=recipe.activation,
    )


def _standardisation(vectors: npt.NDArray[np.float32], say: Say) -> tuple[npt.NDArray[np.float32], np.float32]:
    """The mean of each dimension, and one scale for all of them, which bring vectors of any encoder to like figures.

    One scale and not one for each dimension: encoders have dimensions that hardly vary, and there a deviation would
    blow rounding errors up.
    """
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = float(np.sqrt(((vectors - mean) ** 2).mean(dtype=np.float64)))
    size = float(np.sqrt((vectors**2).mean(dtype=np.float64)))
    if deviation <= _LEAST_DEVIATION * size:
        say("the encoder gives all texts nearly the same vector, so little can be told from it; is it the right model?")
        return mean, np.float32(1.0)
    return mean, np.float32(deviation / _INPUT_DEVIATION)


def _compile_steps(
    head: Head, optimizer: AdamW, vectors: Tensor, labels: Tensor, weights: Tensor, loss: Loss
) -> Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32], int], Tensor]:
    """Training steps as one TensorFlow function: a Python call for each step would take longer than the step."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None]), tf.TensorSpec([], tf.int64)]

    # Without AutoGraph, which takes seconds to translate all that is called in here.
    @tf.function(input_signature=signature, autograph=False)
    def run_steps(batches: Tensor, rates: Tensor, first_step: Tensor) -> Tensor:
        steps = tf.shape(batches)[0]

        def take(number: Tensor, losses: Any) -> tuple[Tensor, Any]:
            rows = batches[number]
            truth = tf.gather(labels, rows)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(head.variables)
                logits = head.logits(tf.gather(vectors, rows), first_step + tf.cast(number, tf.int64))
                value = loss.sum(logits, truth, tf.gather(weights, rows)) / tf.cast(tf.size(rows), tf.float32)
            optimizer.apply(tape.gradient(value, head.variables), rates[number])
            return number + 1, losses.write(number, value)

        empty = tf.TensorArray(tf.float32, size=steps)
        _, losses = tf.while_loop(lambda number, _: number < steps, take, [tf.constant(0), empty])
        return losses.stack()

    compiled: Callable[[npt.NDArray[np.int64], npt.NDArray[np.float32], int], Tensor] = run_steps
    return compiled


def _calls(order: npt.NDArray[np.int64], batch_size: int) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """An epoch's batches, stacked in calls: (first step, int64[steps, batch_size]); the rest is a call by itself."""
    full = len(order) // batch_size
    batches = order[: full * batch_size].reshape(full, batch_size)
    calls = [(first, batches[first : first + _STEPS_PER_CALL]) for first in range(0, full, _STEPS_PER_CALL)]
    rest = order[full * batch_size :]
    return [*calls, (full, rest[None, :])] if len(rest) else calls
