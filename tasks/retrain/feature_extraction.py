"""Feature extraction: the encoder stays as it is, and a head is trained on its text vectors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hubtune.progress import Progress, Say
from schemas.recipe import TrainRecipe
from tasks.retrain.evaluate import Evaluation, evaluate
from tasks.retrain.fit import Epoch, TrainingState, fit, require_finite
from tasks.retrain.head import Head
from tasks.retrain.optimizer import AdamW
from tasks.retrain.schedule import learning_rates

# Steps inside one call of TensorFlow: enough that the call costs nothing, few enough for live progress.
_STEPS_PER_CALL = 1024


@dataclass(frozen=True)
class Vectors:
    """Text vectors and classes of one split: float32[n, width], int32[n]."""

    vectors: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


def train_head(
    train: Vectors,
    validation: Vectors,
    labels: list[str],
    weights: npt.NDArray[np.float32],
    recipe: TrainRecipe,
    say: Say,
) -> tuple[Head, list[Epoch]]:
    """Train a head on text vectors.

    Args:
        train: the training split.
        validation: the split that early stopping watches.
        labels: class names in class order.
        weights: float32[classes], the weight of each class in the loss.
        recipe: the head's layers, epochs, rates.
        say: takes progress lines.

    Returns:
        The head with the best weights, taking vectors as they come from the encoder; and the history.
    """
    import tensorflow as tf

    # Each dimension to mean 0 and deviation 1; folded into the first layer when training is over.
    mean, deviation = train.vectors.mean(axis=0), train.vectors.std(axis=0) + 1e-6
    features = tf.constant((train.vectors - mean) / deviation)
    truth, class_weight = tf.constant(train.labels), tf.constant(weights)
    held_out = tf.constant((validation.vectors - mean) / deviation)

    width, hidden = train.vectors.shape[1], recipe.hidden or []
    head = Head(width, hidden, len(labels), dropout=recipe.dropout, seed=recipe.seed, drop_input=False)
    optimizer = AdamW(head.variables, recipe.weight_decay)
    rows, batch = len(train.labels), recipe.batch_size
    steps_per_epoch = -(-rows // batch)
    assert recipe.epochs is not None
    assert recipe.learning_rate is not None
    rates = learning_rates(recipe.epochs * steps_per_epoch, recipe.learning_rate, recipe.warmup_fraction or 0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None]), tf.TensorSpec([], tf.int64)])  # fmt: skip
    def run_steps(order, step_rates, first_step):  # type: ignore
        losses = tf.TensorArray(tf.float32, size=tf.shape(order)[0])
        for step in tf.range(tf.shape(order)[0]):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(head.variables)
                chosen = tf.gather(truth, order[step])
                logits = head.logits(tf.gather(features, order[step]), first_step + tf.cast(step, tf.int64))
                losses_ = tf.nn.sparse_softmax_cross_entropy_with_logits(chosen, logits)
                loss = tf.reduce_mean(losses_ * tf.gather(class_weight, chosen))
            optimizer.apply(tape.gradient(loss, head.variables), step_rates[step])
            losses = losses.write(step, loss)
        return losses.stack()
    return head, []
