"""One optimiser step over a batch: forward, backward, update; whole or in parts, on one device or on several."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.retrain.encoder import Encoder
from tasks.retrain.examples import Features
from tasks.retrain.head import Head
from tasks.retrain.lagging_rows import Taken
from tasks.retrain.layered_encoder import WORD_VECTORS
from tasks.retrain.loss import Loss
from tasks.retrain.optimizer import AdamW
from tasks.retrain.strategy import on_processors
from tasks.retrain.tensorflow_setup import LANES, Tensor
from tasks.retrain.truth import RowWeights, Truth

Part = tuple[Features, Truth, RowWeights]
"""Features and truth of some rows of a batch, and how much each of them counts."""
Lane = tuple[Tensor, Tensor, Tensor, Tensor]
"""A part, and the number that dropout follows from."""
Words = npt.NDArray[np.int32]
"""The words of a batch: rows of the table that lags behind."""
NO_WORDS: Words = np.empty(0, np.int32)
"""Where no table does."""

# Between the draws of two parts of a step; a run has fewer steps.
_PART = 1 << 40
# Tokens that a lane computes at a time, padding included, or one text: what is kept of them for the backward pass is
# much of what a step needs of memory (docs/benchmarks.md). Among 512, 640 and 1,024, 512 took more time.
LANE_TOKENS = 640


class TrainingStep:
    """Takes optimiser steps.

    Args:
        encoder: gives text vectors.
        head: gives logits.
        variables: what is trained, of both.
        optimizer: over these variables.
        loss: what is minimised.
        strategy: the devices; None: one.
        lanes: how many parts of a batch each device computes side by side (see `lanes`).
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        variables: Sequence[Any],
        optimizer: AdamW,
        loss: Loss,
        strategy: Any = None,
        lanes: int = 1,
    ) -> None:
        import tensorflow as tf

        self._encoder, self._head, self._optimizer, self._loss = encoder, head, optimizer, loss
        self._variables, self._strategy = list(variables), strategy
        self._sums: list[Any] | None = None
        self._graphs: dict[Callable[..., Tensor], Any] = {}
        self.replicas = 1 if strategy is None else int(strategy.num_replicas_in_sync)
        self.at_once = self.replicas * lanes
        self._lanes = lanes
        # Traced once for all lanes.
        self._lane = self._gradients if lanes == 1 else tf.function(self._gradients, autograph=False)
        self._whole = self._compile(self.whole, takes_batch=True, takes_rate=True)
        self._part = self._compile(self._add_part, takes_batch=True, takes_rate=False)
        self._update = self._compile(self._apply_sums, takes_batch=False, takes_rate=True)

    def build(self, least: int, most: int) -> None:
        """Trace the graphs of a step, so that the first one does not take that time.

        With a strategy, they are traced when the first batch is there: shapes follow from it.

        Args:
            least: in how many parts a batch will be computed at least.
            most: and at most.
        """
        if self._strategy is not None:
            return
        if least == 1:
            self._graphs[self.whole].get_concrete_function()
        if most > 1:
            self._clear_sums(NO_WORDS)
            self._graphs[self._add_part].get_concrete_function()
            self._graphs[self._apply_sums].get_concrete_function()

    def parts_of(self, rows: int, length: int) -> int:
        """In how many parts a batch is computed at least, one after the other, so that it does not need much memory.

        Args:
            rows: in the batch.
            length: tokens of each, padding included.

        Returns:
            1 or more; 1 where nothing is computed in lanes: an accelerator is the faster the more it is given, and an
            encoder that arrived as a SavedModel is left as it is.
        """
        if self._lanes == 1:
            return 1
        return -(-rows // (self.at_once * max(1, LANE_TOKENS // length)))

    def take(self, parts: Sequence[Part], rate: np.float32, draw: int) -> np.float32:
        """Take a step.

        Args:
            parts: the batch, in as many parts as it is to be computed in; a multiple of `at_once`, the number of those
                that are computed at the same time.
            rate: the learning rate.
            draw: the step's number within the run; dropout follows from it.

        Returns:
            The mean loss of the batch.
        """
        rows = np.float32(sum(np.count_nonzero(weights) for _, _, weights in parts))
        words = NO_WORDS
        if self._optimizer.lagging is not None:
            if self._optimizer.lagging.must_settle:
                self._optimizer.lagging.settle()
            parts, words = _by_words(parts)
        rounds = [parts[first : first + self.at_once] for first in range(0, len(parts), self.at_once)]
        if len(rounds) == 1:
            return self._whole(self._spread(rounds[0], draw), rows, rate, words)
        self._clear_sums(words)
        losses = [
            self._part(self._spread(pieces, draw + number * self.at_once * _PART), rows, words)
            for number, pieces in enumerate(rounds)
        ]
        self._update(rate, words)
        return np.float32(np.sum(losses))

    def whole(self, lanes: Sequence[Lane], rows: Tensor, rate: Tensor, words: Tensor) -> Tensor:
        """The step as one device traces it: its parts of the batch, ... -> its share of the loss."""
        taken = self._take(words)
        value, gradients = self._summed(lanes, rows, taken)
        self._optimizer.apply(self._over_replicas(gradients), rate, taken)
        return value

    def _take(self, words: Tensor) -> Taken | None:
        lagging = self._optimizer.lagging
        return None if lagging is None else lagging.take(words)

    def _summed(self, lanes: Sequence[Lane], rows: Tensor, taken: Taken | None) -> tuple[Tensor, list[Tensor | None]]:
        """Loss and gradients over all lanes. None of them waits for another: TensorFlow computes them side by side."""
        import tensorflow as tf

        if taken is not None:
            lanes = [({**features, WORD_VECTORS: taken.values}, *others) for features, *others in lanes]
        values, gradients = zip(*(self._lane(*lane, rows) for lane in lanes), strict=True)
        by_variable = zip(*gradients, strict=True)
        return tf.add_n(values), [None if each[0] is None else tf.add_n(each) for each in by_variable]

    def _gradients(
        self, features: Tensor, truth: Tensor, weights: Tensor, draw: Tensor, rows: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        import tensorflow as tf

        # Only what is trained is watched: nothing below the lowest trained layer has a backward pass.
        trained, lagging = self._variables, self._optimizer.lagging
        if lagging is not None and WORD_VECTORS in features:
            trained = [features[WORD_VECTORS] if variable is lagging.table else variable for variable in trained]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            logits = self._head.logits(self._encoder.text_vectors(features, draw), draw)
            value = self._loss.sum(logits, truth, weights) / rows
            scale = None if self._optimizer.loss_scale is None else self._optimizer.loss_scale.value
            target = value if scale is None else value * scale
        found = tape.gradient(target, trained)
        gradients = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]
        if scale is not None:
            gradients = [None if gradient is None else gradient / scale for gradient in gradients]
        return value, gradients

    def _over_replicas(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        import tensorflow as tf

        if self.replicas == 1:
            return gradients
        there = [gradient for gradient in gradients if gradient is not None]
        summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, there))
        return [None if gradient is None else next(summed) for gradient in gradients]

    def _add_part(self, lanes: Sequence[Lane], rows: Tensor, words: Tensor) -> Tensor:
        import tensorflow as tf

        value, gradients = self._summed(lanes, rows, self._take(words))
        assert self._sums is not None
        for total, gradient in zip(self._sums, gradients, strict=True):
            if gradient is not None:
                tf.raw_ops.AssignAddVariableOp(resource=total.handle, value=gradient)
        return value

    def _apply_sums(self, rate: Tensor, words: Tensor) -> Tensor:
        import tensorflow as tf

        assert self._sums is not None
        sums = [tf.raw_ops.ReadVariableOp(resource=total.handle, dtype=tf.float32) for total in self._sums]
        return self._optimizer.apply(self._over_replicas(sums), rate, self._take(words))

    def _clear_sums(self, words: Words) -> None:
        """Zeros where the parts' gradients are summed; also what a part left that did not end."""
        import tensorflow as tf

        lagging = self._optimizer.lagging
        table: Any = None if lagging is None else lagging.table
        zeros = (
            tf.zeros([len(words), *variable.shape[1:]] if variable is table else variable.shape)
            for variable in self._variables
        )
        if self._sums is None:
            shapes = [[None, *each.shape[1:]] if each is table else each.shape for each in self._variables]
            self._sums = [
                tf.Variable(zero, trainable=False, shape=shape) for zero, shape in zip(zeros, shapes, strict=True)
            ]
        else:
            for total, zero in zip(self._sums, zeros, strict=True):
                total.assign(zero)

    def _compile(
        self, work: Callable[..., Tensor], *, takes_batch: bool, takes_rate: bool
    ) -> Callable[..., np.float32]:
        import tensorflow as tf

        number = tf.TensorSpec([], tf.float32)
        if self._strategy is None:
            # Batch size and length are open in the signature: there is one trace, and batches need no padding beyond
            # their own length (in float32 1.14 times as fast as multiples of 8, 1.28 times as powers of two).
            weights = tf.TensorSpec([None], tf.float32)
            lane = (self._encoder.signature, self._loss.signature, weights, tf.TensorSpec([], tf.int64))
            batch = [[lane] * self._lanes, number]
            words = tf.TensorSpec([None], tf.int32)
            signature = [*(batch if takes_batch else []), *([number] if takes_rate else []), words]
            compiled = tf.function(work, input_signature=signature, autograph=False)
            self._graphs[work] = compiled
            return lambda *arguments: compiled(*arguments).numpy()

        @tf.function(reduce_retracing=True, autograph=False)
        def run(*arguments: Tensor) -> Tensor:
            shares = self._strategy.run(work, args=arguments)
            return self._strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None)

        return lambda *arguments: run(*arguments).numpy()

    def _spread(self, pieces: Sequence[Part], draw: int) -> Any:
        """The lanes of each replica; dropout follows from a number of its own in each."""
        import tensorflow as tf

        lanes = [(*piece, np.int64(draw + number * _PART)) for number, piece in enumerate(pieces)]
        if self._strategy is None:
            return lanes

        def value(context: Any) -> Any:
            first = context.replica_id_in_sync_group * self._lanes
            return tf.nest.map_structure(tf.constant, lanes[first : first + self._lanes])

        return self._strategy.experimental_distribute_values_from_function(value)


def _by_words(parts: Sequence[Part]) -> tuple[list[Part], Words]:
    """The parts of a batch with word ids that count among the words of this batch, and these words."""
    ids = [features["input_word_ids"] for features, _, _ in parts]
    words, places = np.unique(np.concatenate([each.ravel() for each in ids]), return_inverse=True)
    numbers = np.split(places.astype(np.int32), np.cumsum([each.size for each in ids])[:-1])
    renumbered = [
        ({**features, "input_word_ids": number.reshape(each.shape)}, truth, weights)
        for (features, truth, weights), each, number in zip(parts, ids, numbers, strict=True)
    ]
    return renumbered, words


def lanes(strategy: Any, encoder: Encoder) -> int:
    """In how many parts each device computes a batch side by side.

    On a processor, two halves of a batch on a core each make 1.06 to 1.18 times as many steps per second as one batch
    whose every operation is divided among two cores (docs/benchmarks.md): its products are too small to divide well,
    and what lies between them is hardly divided at all. An accelerator divides its work by itself.

    Args:
        strategy: the devices; None: one.
        encoder: what is trained.
    """
    return LANES if encoder.in_lanes and on_processors(strategy) else 1
