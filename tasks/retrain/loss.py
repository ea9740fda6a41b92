"""What training minimises."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.retrain.tensorflow_setup import Tensor


@dataclass(frozen=True)
class Loss:
    """Softmax cross-entropy, each example counting as much as its class does.

    Args:
        class_weight: float32[classes].
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et al. 2016, section 7).
        focal_gamma: above 0, an example counts (1 - p) ** gamma as much, where p is the probability of its class
            (Lin et al. 2017, equation 4).
    """

    class_weight: npt.NDArray[np.float32]
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    def sum(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The weighted losses, summed over the batch.

        Divided by the number of examples it is what is minimised: not by the sum of their weights, which would make an
        example count more in a batch of light ones.

        Args:
            logits: float32[n, classes].
            labels: int32[n]; -1 for rows that are padding, which do not count.

        Returns:
            float32 scalar.
        """
        import tensorflow as tf

        counts = tf.cast(labels >= 0, tf.float32)
        labels = tf.maximum(labels, 0)
        if not self.label_smoothing and not self.focal_gamma:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        else:
            classes = len(self.class_weight)
            target = tf.one_hot(labels, classes)
            smoothed = target * (1 - self.label_smoothing) + self.label_smoothing / classes
            log_probabilities = tf.nn.log_softmax(logits)
            losses = -tf.reduce_sum(smoothed * log_probabilities, axis=1)
            if self.focal_gamma:
                probability = tf.exp(tf.reduce_sum(target * log_probabilities, axis=1))
                # Not quite zero, where the power of a gamma below 1 has no slope.
                losses *= tf.pow(tf.maximum(1 - probability, 1e-6), self.focal_gamma)
        return tf.reduce_sum(losses * counts * tf.gather(self.class_weight, labels))
