"""AdamW (Loshchilov & Hutter 2019) with clipping by the global norm."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.retrain.lagging_rows import LaggingRows, Taken, bring_up
from tasks.retrain.precision import LossScale
from tasks.retrain.tensorflow_setup import Tensor

# Kingma & Ba 2015, section 2.
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
_NOT_DECAYED = ("bias", "beta", "gamma", "layer_norm", "layernorm")


def is_decayed(name: str, rank: int) -> bool:
    """Whether weight decay pulls on a variable: not on biases and layer normalisation (Devlin et al. 2019, A.2 code).

    Args:
        name: the variable's name.
        rank: its number of dimensions. Some encoders keep biases per head, with two.

    Returns:
        True for kernels and embedding tables.
    """
    return rank > 1 and not any(word in name.lower() for word in _NOT_DECAYED)


class AdamW:
    """AdamW over a fixed list of variables. Steps are taken inside a `tf.function`.

    Variables are written through their handles, so that each replica of a distribution strategy updates its own copy:
    gradients are equal on all of them by then, and so the copies stay equal.

    Args:
        variables: what is trained.
        weight_decay: the decay of one step is this times the learning rate.
        clip_norm: the largest global norm of the gradients; larger ones are scaled down to it. None: never.
        rates: what each variable's learning rate is multiplied by; None: 1 for all.
        loss_scale: what the loss is multiplied by; a step whose gradients overflow is then left out. None: nothing.
        lagging: that of the variables whose rows lag behind (see `LaggingRows`): a table of which a step needs a few
            rows. None, or one that is not trained: none of them does.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        weight_decay: float,
        clip_norm: float | None = 1.0,
        rates: Sequence[float] | None = None,
        loss_scale: LossScale | None = None,
        lagging: Any = None,
    ) -> None:
        import tensorflow as tf

        assert lagging is None or loss_scale is None, "a step that is left out is none that rows could have missed"
        self._trained, self._weight_decay, self._clip_norm = list(variables), weight_decay, clip_norm
        self.loss_scale = loss_scale
        self._rates = list(rates) if rates is not None else [1.0] * len(self._trained)
        self._decayed = [is_decayed(variable.name, len(variable.shape)) for variable in self._trained]

        def moments() -> list[Any]:
            return [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in self._trained]

        self._first, self._second = moments(), moments()
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.lagging: LaggingRows | None = None
        for variable, first, second in zip(self._trained, self._first, self._second, strict=True):
            if variable is lagging:
                self.lagging = LaggingRows(variable, first, second, (BETA_1, BETA_2), EPSILON)

    @property
    def state(self) -> list[Any]:
        """Everything but the trained variables that the next step depends on."""
        scale = [] if self.loss_scale is None else self.loss_scale.state
        return [self._step, *self._first, *self._second, *scale]

    @property
    def state_of_rows(self) -> dict[str, npt.NDArray[Any]]:
        """Of the table whose rows lag behind, the same by name, and its number among the variables."""
        if self.lagging is None:
            return {}
        (number,) = (place for place, variable in enumerate(self._trained) if variable is self.lagging.table)
        state = {name: variable.numpy() for name, variable in self.lagging.state.items()}
        return {name: np.asarray(value) for name, value in (state | {"table": number}).items()}

    def restore_rows(self, kept: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go back to what `state_of_rows` gave; the variables, and their moments in `state`, are there already.

        Where rows lagged behind and do not here, since the devices are others, they are brought up to date.
        """
        import tensorflow as tf

        if self.lagging is not None and kept:
            for name, variable in self.lagging.state.items():
                variable.assign(kept[name])
        elif self.lagging is not None:
            self.lagging.begin_anew()
        elif kept:
            number = int(kept["table"])
            variables = [each[number] for each in (self._trained, self._first, self._second)]
            rows = Taken(tf.range(len(kept["last"])), *(variable.numpy() for variable in variables))
            _, *values = bring_up(rows, kept, (BETA_1, BETA_2), EPSILON)
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return int(self._step.numpy())

    def release(self) -> None:
        """Let the moments go: there is no further step."""
        self._first, self._second, self.lagging = [], [], None

    def settle(self) -> None:
        """Bring all rows up to date that lag behind: the variables are then what the steps have made of them."""
        if self.lagging is not None:
            self.lagging.settle()

    def apply(self, gradients: Sequence[Tensor | None], learning_rate: Tensor, taken: Taken | None = None) -> Tensor:
        """Take one step.

        Args:
            gradients: one for each variable; None where the loss does not depend on it, which leaves it as it is.
            learning_rate: float32 scalar.
            taken: rows of the variable that lags behind, whose gradient then is one for these rows alone; all others
                have a gradient of zero. None where no rows lag behind.

        Returns:
            The global norm of the gradients before clipping; float32 scalar, not finite if one of them is not.
        """
        import tensorflow as tf

        assert (taken is None) == (self.lagging is None)
        dense = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in gradients]
        norm = tf.linalg.global_norm([gradient for gradient in dense if gradient is not None])
        # Nothing is written before all gradients are there: where memory runs out, the step did not happen.
        with tf.control_dependencies([norm]):
            if self.loss_scale is None:
                self._update(dense, norm, learning_rate, taken)
            else:
                finite = tf.math.is_finite(norm)
                tf.cond(finite, lambda: self._update(dense, norm, learning_rate, None), lambda: None)
                self.loss_scale.follow(finite)
        return norm

    def _update(
        self, gradients: Sequence[Tensor | None], norm: Tensor, learning_rate: Tensor, taken: Taken | None
    ) -> None:
        import tensorflow as tf

        step = _read(self._step) + 1
        tf.raw_ops.AssignVariableOp(resource=self._step.handle, value=step)
        # Once for all variables: each operation that is traced costs time before the first step.
        scale = 1.0 if self._clip_norm is None else self._clip_norm / tf.maximum(norm, self._clip_norm)
        beta_1, beta_2 = tf.constant(BETA_1), tf.constant(BETA_2)
        beta_1_power, beta_2_power = (tf.pow(beta, tf.cast(step, tf.float32)) for beta in (beta_1, beta_2))
        # The op adds epsilon before v's bias is corrected (the paper's second form, "epsilon hat"); this makes it the
        # first form.
        epsilon = EPSILON * tf.sqrt(1.0 - beta_2_power)
        rates = {share: learning_rate * share for share in dict.fromkeys(self._rates)}
        kept = {share: 1.0 - rate * self._weight_decay for share, rate in rates.items()}
        slots = zip(self._trained, gradients, self._first, self._second, self._decayed, self._rates, strict=True)
        for variable, gradient, first, second, decayed, share in slots:
            if gradient is None:
                continue
            if taken is not None and self.lagging is not None and variable is self.lagging.table:
                left = kept[share] if decayed else tf.constant(1.0)
                corrections = (1.0 - beta_1_power, 1.0 - beta_2_power)
                moved = _moved(taken, gradient * scale, rates[share], left, corrections)
                self.lagging.step(step, rates[share], left)
                self.lagging.put(moved)
                continue
            if decayed and self._weight_decay:
                tf.raw_ops.AssignVariableOp(resource=variable.handle, value=_read(variable) * kept[share])
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=rates[share],
                beta1=beta_1,
                beta2=beta_2,
                epsilon=epsilon,
                grad=gradient if self._clip_norm is None else gradient * scale,
            )


def _moved(taken: Taken, gradient: Tensor, rate: Tensor, kept: Tensor, corrections: tuple[Tensor, Tensor]) -> Taken:
    """The rows after a step, in which each has a gradient."""
    import tensorflow as tf

    first = taken.first + (gradient - taken.first) * (1.0 - BETA_1)
    second = taken.second + (tf.square(gradient) - taken.second) * (1.0 - BETA_2)
    values = taken.values * kept - rate / corrections[0] * first / (tf.sqrt(second / corrections[1]) + EPSILON)
    return Taken(taken.rows, values, first, second)


def _read(variable: Any) -> Tensor:
    import tensorflow as tf

    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)
