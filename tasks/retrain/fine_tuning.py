"""Fine-tuning: encoder and head are trained together, on batches of texts of similar length."""

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
    head: Head,
    train: Examples,
    validation: Examples,
    labels: list[str],
    class_weight: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> list[Epoch]:
    """Train encoder and head; both are left with their best weights.

    Args:
        encoder: the pretrained model.
        head: a fresh head.
        train: the training split.
        validation: the split that early stopping watches.
        labels: class names in class order.
        class_weight: float32[classes], the weight of each class in the loss.
        recipe: a complete train section.
        say: takes progress lines.

    Returns:
        The history.

    Raises:
        TrainingFailed: the loss is not a number.
    """
    assert recipe.epochs and recipe.learning_rate and recipe.warmup_fraction is not None
    variables = [*encoder.variables, *head.variables]
    optimizer = AdamW(variables, recipe.weight_decay)
    run_step = _compile_step(encoder, head, optimizer, class_weight)
    logits = logits_function(encoder, head)
    rows = len(train)
    steps = -(-rows // recipe.batch_size)
    rates = learning_rates(recipe.epochs * steps, recipe.learning_rate, recipe.warmup_fraction)

    def run_epoch(epoch: int) -> tuple[float, float]:
        generator = np.random.default_rng([recipe.seed, epoch])
        progress = Progress(say, f"Epoch {epoch + 1}", rows, "rows")
        total, rate = 0.0, 0.0
        for number, batch in enumerate(training_batches(train.inputs.lengths, recipe.batch_size, generator)):
            step = epoch * steps + number
            rate = float(rates[step])
            loss = float(run_step(train.inputs.batch(batch), train.labels[batch], rate, step))
            require_finite(loss, "training loss", f"step {step + 1}", rate)
            total += loss * len(batch)
            progress.advance(len(batch))
        return total / rows, rate

    def validate() -> Evaluation:
        answers = forward(logits, validation.inputs, len(labels), lambda _: None, "Validation")
        return evaluate(answers, validation.labels, labels)

    state = TrainingState(variables, optimizer)
    return fit(state, run_epoch, validate, epochs=recipe.epochs, patience=recipe.early_stopping_patience, say=say)


def logits_function(encoder: Encoder, head: Head) -> Callable[[Features], Tensor]:
    """The forward pass as it is published, without dropout.

    Args:
        encoder: the model.
        head: its head.

    Returns:
        A function: features -> float32[n, classes].
    """
    import tensorflow as tf

    compiled: Callable[[Features], Tensor] = tf.function(
        lambda features: head.logits(encoder.text_vectors(features, training=False)),
        input_signature=[encoder.signature],
    )
    return compiled


def _compile_step(
    encoder: Encoder, head: Head, optimizer: AdamW, class_weight: npt.NDArray[np.float32]
) -> Callable[[Features, npt.NDArray[np.int32], float, int], Tensor]:
    import tensorflow as tf

    variables = [*encoder.variables, *head.variables]
    # One trace for batches of all lengths: each is padded to its own longest text, no further.
    signature = [
        encoder.signature,
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int64),
    ]

    @tf.function(input_signature=signature)
    def run_step(features: Tensor, truth: Tensor, rate: Tensor, step: Tensor) -> Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            logits = head.logits(encoder.text_vectors(features, training=True), step)
            loss = weighted_cross_entropy(logits, truth, tf.constant(class_weight))
        optimizer.apply(tape.gradient(loss, variables), rate)
        return loss

    compiled: Callable[[Features, npt.NDArray[np.int32], float, int], Tensor] = run_step
    return compiled
