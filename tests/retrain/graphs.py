"""What is in a traced graph: which work a step really is."""

from collections.abc import Sequence
from typing import Any

from tasks.retrain.encoder import Encoder
from tasks.retrain.feature_extraction import new_head
from tasks.retrain.loss import SoftmaxCrossEntropy
from tasks.retrain.optimizer import AdamW
from tasks.retrain.training_step import TrainingStep
from tests.retrain.small_inputs import EVEN, LABELS, recipe

# Their output's shape depends on values, so that no program could be compiled for a TPU.
DYNAMIC = {"Where", "Unique", "UniqueV2", "NonMaxSuppression", "DynamicPartition", "RaggedTensorToTensor"}


def traced_step(encoder: Encoder, groups: Sequence[Sequence[Any]]) -> Any:
    """The graph of an optimiser step over a whole batch."""
    import tensorflow as tf

    head = new_head(encoder.width, len(LABELS), recipe(mode="fine_tuning"), drop_input=True)
    variables = [*(variable for group in groups for variable in group), *head.variables]
    step = TrainingStep(encoder, head, variables, AdamW(variables, 0.01), SoftmaxCrossEntropy(EVEN))
    rows = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)
    lane = (encoder.signature, *rows, tf.TensorSpec([], tf.int64))
    number, words = tf.TensorSpec([]), tf.TensorSpec([None], tf.int32)
    traced = tf.function(step.whole, input_signature=[[lane], number, number, words], autograph=False)
    return traced.get_concrete_function().graph


def count(graph: Any, kind: str) -> int:
    """How many ops of a kind a graph has, the functions that it calls included."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return sum(node.op == kind for node in nodes)
