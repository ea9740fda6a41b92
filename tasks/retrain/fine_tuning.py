"""Fine-tuning: encoder and head are trained together."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from schemas.recipe import TrainRecipe
from tasks.retrain.batches import training_batches
from tasks.retrain.encoder import Encoder
from tasks.retrain.evaluate import Evaluation, evaluate
from tasks.retrain.examples import Examples, Features
from tasks.retrain.fit import Epoch, TrainingState, fit, require_finite
from tasks.retrain.forward import forward
from tasks.retrain.head import Head
from tasks.retrain.loss import weighted_cross_entropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.schedule import learning_rates
from tasks.retrain.tensorflow_setup import Tensor


def fine_tune(
    encoder: Encoder,
    width: int,
    train: Examples,
    validation: Examples,
    labels: list[str],
    class_weight: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> tuple[Head, list[Epoch]]:
    """Train an encoder and a head on labelled texts.

    Args:
        encoder: the pretrained encoder; its variables hold the best weights when this returns.
        width: of its text vectors.
        train: the training split.
        validation: the split that early stopping watches.
        labels: class names in class order.
        class_weight: float32[classes], the weight of each class in the loss.
        recipe: a complete train section.
        say: takes progress lines.

    Returns:
        The head with its best weights, and the history.

    Raises:
        TrainingFailed: the loss is not a number.
    """
    assert recipe.epochs is not None
    assert recipe.learning_rate is not None
    assert recipe.hidden is not None
    assert recipe.warmup_fraction is not None
    head = Head(width, recipe.hidden, len(labels), dropout=recipe.dropout or 0.0, seed=recipe.seed, drop_input=True)
    state = TrainingState(variables := [*encoder.variables, *head.variables], AdamW(variables, recipe.weight_decay))
    take_step = _compile_step(encoder, head, state, class_weight)
    compute_logits = compile_logits(encoder, head)
    lengths = train.inputs.lengths
    steps = -(-len(train) // recipe.batch_size)
    rates = learning_rates(recipe.epochs * steps, recipe.learning_rate, recipe.warmup_fraction)

    def run_epoch(epoch: int) -> tuple[float, float]:
        batches = training_batches(lengths, recipe.batch_size, np.random.default_rng([recipe.seed, epoch]))
        epoch_rates = rates[epoch * steps : (epoch + 1) * steps]
        progress = Progress(say, f"Epoch {epoch + 1}", len(train), "rows")
        total = 0.0
        for step, rows in enumerate(batches):
            features, truth = train.inputs.batch(rows), train.labels[rows]
            loss = take_step(features, truth, epoch_rates[step], epoch * steps + step).numpy()
            require_finite(loss[None], epoch, step, epoch_rates)
            total += float(loss) * len(rows)
            progress.advance(len(rows))
        return total / len(train), float(epoch_rates[-1])

    def validate() -> Evaluation:
        logits = forward(compute_logits, validation.inputs, len(labels), say, "Validation")
        return evaluate(logits, validation.labels, labels)

    history = fit(state, run_epoch, validate, epochs=recipe.epochs, patience=recipe.early_stopping_patience, say=say)
    return head, history


def compile_logits(encoder: Encoder, head: Head) -> Callable[[Features], Tensor]:
    """The forward pass as it is deployed, without any dropout: features -> float32[n, classes]."""
    import tensorflow as tf

    @tf.function(input_signature=[encoder.signature], autograph=False)
    def compute_logits(features: Tensor) -> Tensor:
        return head.logits(encoder.text_vectors(features, training=False))

    compiled: Callable[[Features], Tensor] = compute_logits
    return compiled


def _compile_step(
    encoder: Encoder, head: Head, state: TrainingState, class_weight: npt.NDArray[np.float32]
) -> Callable[[Features, npt.NDArray[np.int32], np.float32, int], Tensor]:
    import tensorflow as tf

    # Batch size and length are open in the signature: there is one trace, and batches are padded to their own length
    # and no further (1.14 times as fast as lengths in multiples of 8, 1.28 times as powers of two).
    signature = [
        encoder.signature,
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int64),
    ]

    @tf.function(input_signature=signature, autograph=False)
    def take_step(features: Tensor, truth: Tensor, learning_rate: Tensor, step: Tensor) -> Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(state.variables)
            logits = head.logits(encoder.text_vectors(features, training=True), step)
            loss = weighted_cross_entropy(logits, truth, class_weight)
        state.optimizer.apply(tape.gradient(loss, state.variables), learning_rate)
        return loss

    compiled: Callable[[Features, npt.NDArray[np.int32], np.float32, int], Tensor] = take_step
    return compiled
