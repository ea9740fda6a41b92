"""What training minimises."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from schemas.train_recipe import TrainRecipe
from tasks.retrain.class_weights import class_weights, positive_weights
from tasks.retrain.tensorflow_setup import Tensor
from tasks.retrain.truth import Truth

# Of a share that is raised to the power of gamma: not quite zero, where a gamma below 1 has no slope.
_LEAST_SHARE = 1e-6


class Loss(Protocol):
    """What training minimises, summed over rows."""

    @property
    def signature(self) -> Any:
        """TensorSpec of the truth of a batch, whose size is left open."""
        ...

    def sum(self, logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
        """The losses, summed over the batch.

        Divided by the number of examples it is what is minimised.

        Args:
            logits: float32[n, classes].
            truth: as `signature` says.
            weights: float32[n], how much each row counts; 0 for rows that are padding.

        Returns:
            float32 scalar.
        """
        ...


def make_loss(recipe: TrainRecipe, labels: Sequence[str], train: Truth) -> Loss:
    """The loss that suits the task.

    Args:
        recipe: task, class weights, smoothing and gamma.
        labels: class names in class order.
        train: the truth of the training rows.

    Returns:
        The loss.

    Raises:
        InvalidRecipe: a weight is given for a name that is no class.
        InvalidData: the weights are to be balanced, and there are no rows to tell how.
    """
    if recipe.task == "multilabel":
        weights = positive_weights(recipe.class_weights, labels, train)
        return SigmoidCrossEntropy(weights, recipe.label_smoothing, recipe.focal_gamma)
    weights = class_weights(recipe.class_weights, labels, train)
    return SoftmaxCrossEntropy(weights, recipe.label_smoothing, recipe.focal_gamma)


@dataclass(frozen=True)
class SoftmaxCrossEntropy:
    """For one class in each row: each example counts as much as its class does.

    The sum is not divided by the sum of the weights, which would make an example count more in a batch of light ones.

    Args:
        class_weight: float32[classes].
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7).
        focal_gamma: above 0, an example counts (1 - p) ** gamma as much, where p is the probability of its class
            (Lin et al. 2017, equation 4).
    """

    class_weight: npt.NDArray[np.float32]
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    @property
    def signature(self) -> Any:
        """int32[n], the class of each row."""
        import tensorflow as tf

        return tf.TensorSpec([None], tf.int32)

    def sum(self, logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
        """See `Loss.sum`."""
        import tensorflow as tf

        if not self.label_smoothing and not self.focal_gamma:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=truth, logits=logits)
        else:
            classes = len(self.class_weight)
            target = tf.one_hot(truth, classes)
            smoothed = target * (1 - self.label_smoothing) + self.label_smoothing / classes
            log_probabilities = tf.nn.log_softmax(logits)
            losses = -tf.reduce_sum(smoothed * log_probabilities, axis=1)
            if self.focal_gamma:
                probability = tf.exp(tf.reduce_sum(target * log_probabilities, axis=1))
                losses *= tf.pow(tf.maximum(1 - probability, _LEAST_SHARE), self.focal_gamma)
        return tf.reduce_sum(losses * weights * tf.gather(self.class_weight, truth))


@dataclass(frozen=True)
class SigmoidCrossEntropy:
    """For any number of classes in each row: a decision for each class, and the mean over the classes.

    Args:
        positive_weight: float32[classes], how much it counts that a row has the class; that it has not counts 1.
        label_smoothing: share of each target that is spread evenly over having the class and not having it.
        focal_gamma: above 0, a decision counts (1 - p) ** gamma as much, where p is the probability of what is true
            (Lin et al. 2017, equation 4).
    """

    positive_weight: npt.NDArray[np.float32]
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    @property
    def signature(self) -> Any:
        """float32[n, classes], 1 for the classes of a row."""
        import tensorflow as tf

        return tf.TensorSpec([None, len(self.positive_weight)], tf.float32)

    def sum(self, logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
        """See `Loss.sum`."""
        import tensorflow as tf

        smoothed = truth * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = tf.nn.weighted_cross_entropy_with_logits(smoothed, logits, self.positive_weight)
        if self.focal_gamma:
            wrong = tf.sigmoid(logits * (1 - 2 * truth))
            losses *= tf.pow(tf.maximum(wrong, _LEAST_SHARE), self.focal_gamma)
        return tf.reduce_sum(tf.reduce_mean(losses, axis=1) * weights)
