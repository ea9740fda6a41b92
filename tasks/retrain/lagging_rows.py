"""Rows of a table that AdamW moves when they are needed, to where it would have moved them step by step.

A batch uses some hundreds of the many thousand rows of a table of word vectors. The others have a gradient of
zero, and AdamW moves them all the same: by their momentum, and by decay. Here they lag behind, and what a row has
missed is done at once when a batch needs it. Of a row that was moved last in step s, with moments m and v then, each
missed step j = s + 1 ... t does

    m_j = beta_1^(j - s) m,  v_j = beta_2^(j - s) v,
    w_j = k_j w_(j-1) - rate_j / (1 - beta_1^j) m_j / (sqrt(v_j / (1 - beta_2^j)) + epsilon),

where k_j is what decay leaves. With a_j = sqrt(beta_2^(j - s) / (1 - beta_2^j)) all of them do

    w_t = K w_s - m sum_j c_j / (sqrt(v) + epsilon / a_j),  c_j = k_(j+1) ... k_t rate_j beta_1^(j - s)
                                                                   / ((1 - beta_1^j) a_j),

in which nothing but epsilon / a_j keeps the sum from being the same number for all elements. Their mean, weighted by
c_j, stands for them: A = sum c_j, B = sum c_j / a_j,

    w_t = K w_s - A m / (sqrt(v) + epsilon B / A).

That is exact to the first order in epsilon / sqrt(v), and where m is 0. K, A and B depend on s and t alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.retrain.tensorflow_setup import Tensor

# Steps after which all rows are brought up to date. K, A and B are kept for each of them, and a step takes time for
# each (0.6 ms for 1,000); bringing a table up to date takes longer than a step that moves all of it.
WINDOW = 1_000
# Rows that are brought up to date at a time, so that it takes little memory.
_ROWS = 4_096


class Taken(NamedTuple):
    """Rows of a table as they are after the last step.

    Args:
        rows: int32[n], which; each once.
        values: float32[n, width].
        first: float32[n, width], AdamW's first moments.
        second: float32[n, width], and the second ones.
    """

    rows: Tensor
    values: Tensor
    first: Tensor
    second: Tensor


class LaggingRows:
    """A table whose rows lag behind.

    Args:
        table: float32[rows, width], a variable.
        first: its first moments, a variable.
        second: its second moments, a variable.
        betas: the decay rates of the moments.
        epsilon: of AdamW.
    """

    def __init__(self, table: Any, first: Any, second: Any, betas: tuple[float, float], epsilon: float) -> None:
        import tensorflow as tf

        self.table, self._first, self._second = table, first, second
        self._betas, self._epsilon, self._window = betas, epsilon, WINDOW
        # Steps are counted from when all rows were up to date.
        self._since = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._last = tf.Variable(tf.zeros(table.shape[0], tf.int32), trainable=False)
        # K, A and B for rows that were moved last in step 0, 1, ... In 64 bits: they are sums over many steps.
        self._kept = tf.Variable(tf.ones(WINDOW + 1, tf.float64), trainable=False)
        self._sums = tf.Variable(tf.zeros(WINDOW + 1, tf.float64), trainable=False)
        self._scaled_sums = tf.Variable(tf.zeros(WINDOW + 1, tf.float64), trainable=False)
        number = tf.TensorSpec([], tf.int32)
        self._bring_up = tf.function(self._settle_some, input_signature=[number, number], autograph=False)
        self._bring_up.get_concrete_function()
        self._begin_anew = tf.function(self._zero_counts, input_signature=[], autograph=False)
        self._begin_anew.get_concrete_function()

    @property
    def state(self) -> dict[str, Any]:
        """What the next step depends on, beside the table and its moments: variables by name."""
        return {
            "since": self._since,
            "last": self._last,
            "kept": self._kept,
            "sums": self._sums,
            "scaled_sums": self._scaled_sums,
        }

    @property
    def must_settle(self) -> bool:
        """Whether rows lag as far behind as they may: no step can be taken before they are up to date."""
        return int(self._since.numpy()) >= self._window

    def settle(self) -> None:
        """Bring all rows up to date."""
        import tensorflow as tf

        if not self._since.numpy():
            return
        count = self.table.shape[0]
        for begin in range(0, count, _ROWS):
            self._bring_up(tf.constant(begin), tf.constant(min(begin + _ROWS, count)))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take all rows for up to date as they are."""
        self._begin_anew()

    def take(self, rows: Tensor) -> Taken:
        """Some rows, brought up to date; nothing is written.

        Args:
            rows: int32[n], each once.

        Returns:
            What they are.
        """
        import tensorflow as tf

        variables = (self.table, self._first, self._second)
        taken = Taken(rows, *(tf.gather(variable, rows) for variable in variables))
        return bring_up(taken, self.state, self._betas, self._epsilon)

    def step(self, number: Tensor, rate: Tensor, kept: Tensor) -> None:
        """Note that a step is taken: all rows lag behind by one more.

        Args:
            number: int64 scalar, of the step, from 1 on.
            rate: float32 scalar, the table's learning rate.
            kept: float32 scalar, what decay leaves.
        """
        import tensorflow as tf

        beta_1, beta_2 = (tf.constant(beta, tf.float64) for beta in self._betas)
        number, rate, kept = (tf.cast(value, tf.float64) for value in (number, rate, kept))
        lasts = tf.range(self._window + 1)
        missed = tf.cast(self._since + 1 - lasts, tf.float64)
        size = tf.sqrt(tf.pow(beta_2, missed) / (1.0 - tf.pow(beta_2, number)))
        share = rate * tf.pow(beta_1, missed) / ((1.0 - tf.pow(beta_1, number)) * size)
        there = lasts <= self._since
        for variable, value in (
            (self._scaled_sums, self._scaled_sums * kept + share / size),
            (self._sums, self._sums * kept + share),
            (self._kept, self._kept * kept),
        ):
            variable.assign(tf.where(there, value, variable))
        self._since.assign_add(1)

    def put(self, taken: Taken) -> None:
        """Write rows back, as they are after the last step."""
        import tensorflow as tf

        last = tf.fill(tf.shape(taken.rows), tf.convert_to_tensor(self._since))
        values = (taken.values, taken.first, taken.second, last)
        # All or nothing: rows that are half written would count as up to date where memory runs out.
        with tf.control_dependencies(values):
            for variable, value in zip((self.table, self._first, self._second, self._last), values, strict=True):
                tf.raw_ops.ResourceScatterUpdate(resource=variable.handle, indices=taken.rows, updates=value)

    def _settle_some(self, begin: Tensor, end: Tensor) -> None:
        import tensorflow as tf

        self.put(self.take(tf.range(begin, end)))

    def _zero_counts(self) -> None:
        import tensorflow as tf

        ones, *zeros = tf.ones_like(self._kept), *map(tf.zeros_like, (self._last, self._sums, self._scaled_sums))
        with tf.control_dependencies([ones, *zeros]):
            self._kept.assign(ones)
            for variable, zero in zip((self._last, self._sums, self._scaled_sums), zeros, strict=True):
                variable.assign(zero)
            self._since.assign(0)


def bring_up(taken: Taken, state: Mapping[str, Any], betas: tuple[float, float], epsilon: float) -> Taken:
    """Do what rows have missed.

    Args:
        taken: the rows as they were left.
        state: of the table, by the names of `LaggingRows.state`; tensors, variables or arrays.
        betas: the decay rates of the moments.
        epsilon: of AdamW.

    Returns:
        The rows as they are after the last step.
    """
    import tensorflow as tf

    last = tf.gather(state["last"], taken.rows)
    kept, sums, scaled_sums = (tf.gather(state[name], last) for name in ("kept", "sums", "scaled_sums"))
    # A row that has missed nothing: m / sqrt(v) may be 0 / 0, and is to count for nothing.
    shift = tf.where(sums > 0.0, epsilon * scaled_sums / tf.maximum(sums, 1e-300), epsilon)
    missed = tf.cast(state["since"] - last, tf.float64)

    def column(numbers: Tensor) -> Tensor:
        return tf.cast(numbers, tf.float32)[:, tf.newaxis]

    moved = column(sums) * taken.first / (tf.sqrt(taken.second) + column(shift))
    left_1, left_2 = (column(tf.pow(tf.constant(beta, tf.float64), missed)) for beta in betas)
    return Taken(taken.rows, column(kept) * taken.values - moved, taken.first * left_1, taken.second * left_2)
