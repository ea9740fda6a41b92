"""What training minimises."""

from tasks.retrain.tensorflow_setup import Tensor


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_weight: Tensor) -> Tensor:
    """Softmax cross-entropy, each example counting as much as its class does.

    Args:
        logits: float32[n, classes].
        labels: int32[n].
        class_weight: float32[classes].

    Returns:
        float32 scalar: the weighted sum over the batch, divided by the number of examples (not by the sum of their
        weights, which would make an example count more in a batch of light ones).
    """
    import tensorflow as tf

    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses * tf.gather(class_weight, labels))
