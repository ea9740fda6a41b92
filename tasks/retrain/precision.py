"""Mixed precision (Micikevicius et al. 2018): 16 bits where the device is faster with them, weights in 32.

On a GPU or a TPU, the layers are computed in 16 bits. A processor has nothing but products that are faster in them
(bfloat16 on those with AMX: four times as fast, where passes over memory in 16 bits are slower); there it is the dense
layers' products alone.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from hubtune.errors import InvalidRecipe, UnsupportedModel
from hubtune.progress import Say
from tasks.bert import ARCHITECTURE
from tasks.retrain.strategy import needs_static_shapes, on_processors
from tasks.retrain.tensorflow_setup import Tensor

Wanted = Literal["auto", "float32", "bfloat16", "float16"]
Precision = Literal["float32", "bfloat16", "float16"]

# Micikevicius et al. 2018, section 3.2, with the constants of Keras' LossScaleOptimizer.
_FIRST_SCALE, _GOOD_STEPS = 2.0**15, 2000
# Compute capability from which an NVIDIA GPU multiplies matrices of these types in hardware.
_BFLOAT16_FROM, _FLOAT16_FROM = (8, 0), (7, 0)
_CPU = Path("/proc/cpuinfo")
# Tokens up to which lengths are even in 16 bits; up to twice as many they are multiples of 4, then of 8. From some 13
# tokens on, what that adds is below 4 % on average.
_SHORT = 32


def choose_precision(wanted: Wanted, model: Path, strategy: Any, say: Say) -> Precision:
    """Which type an encoder's layers are computed in while it is trained. Answers are always computed in float32.

    Args:
        wanted: `auto` takes bfloat16 on a TPU, on GPUs that have it and on a processor with AMX (not in a cluster),
            float16 on older GPUs that have that, and float32 otherwise, also for models whose layers are not known one
            by one.
        model: a `model` artifact's folder.
        strategy: the devices; None: one.
        say: takes a line where it is not float32.

    Returns:
        The type.

    Raises:
        InvalidRecipe: float16 is wanted on a TPU.
        UnsupportedModel: 16 bits are wanted of a SavedModel that was traced with 32.
    """
    if not (model / ARCHITECTURE).exists():
        if wanted not in ("auto", "float32"):
            raise UnsupportedModel(
                f"the model is a SavedModel that computes in float32, and train.precision is {wanted}",
                where="train.precision",
                remedy="leave train.precision at auto, or take an encoder that hubtune converts itself",
            )
        return "float32"
    on_tpu = needs_static_shapes(strategy)
    if wanted == "float16" and on_tpu:
        raise InvalidRecipe(
            "train.precision is float16, which a TPU does not have",
            where="train.precision",
            remedy="use bfloat16 or auto",
        )
    chosen = wanted if wanted != "auto" else "bfloat16" if on_tpu else _of_devices(alone=strategy is None)
    if chosen != "float32":
        parts = "products" if on_processors(strategy) else "layers"
        say(f"mixed precision: {parts} in {chosen}, weights in float32")
    return chosen


def product_in(precision: Precision) -> Callable[[Tensor, Tensor], Tensor]:
    """The product of two matrices that is computed in 16 bits, and so are its gradients.

    Args:
        precision: the type that it is computed in; sums within it are float32 where the processor has such products.

    Returns:
        A function of float32[n, k] and float32[k, m], which gives float32[n, m].
    """
    import tensorflow as tf

    def product(x: Tensor, kernel: Tensor) -> Tensor:
        return tf.cast(tf.matmul(tf.cast(x, precision), tf.cast(kernel, precision)), tf.float32)

    return product


def padded_length(longest: int, precision: Precision, *, products_only: bool) -> int:
    """What length the texts of a batch are padded to.

    Each shape of a product in 16 bits has a kernel of its own, which a processor's library keeps with all that belongs
    to it: some hundred megabytes for the lengths of one data set. It is a good half of that less where short lengths
    are even and longer ones multiples of 4 or 8, at the same speed (docs/decisions.md).

    Args:
        longest: tokens of the longest text.
        precision: what is computed in.
        products_only: whether it is products alone, as on a processor.

    Returns:
        The length, no less than the longest.
    """
    if not products_only or precision == "float32":
        return longest
    multiple = 2 if longest <= _SHORT else 4 if longest <= 2 * _SHORT else 8
    return -(-longest // multiple) * multiple


def _of_devices(*, alone: bool) -> Precision:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        # The workers of a cluster have to agree, and none knows the others' processors.
        return "bfloat16" if alone and _has_amx() else "float32"
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    weakest = min(capabilities)
    return "bfloat16" if weakest >= _BFLOAT16_FROM else "float16" if weakest >= _FLOAT16_FROM else "float32"


def _has_amx() -> bool:
    """Whether oneDNN multiplies bfloat16 in tiles here: the processor can, and nobody has told oneDNN not to."""
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0" or not ("AMX" in allowed or allowed in ("DEFAULT", "ALL")):
        return False
    return _CPU.exists() and "amx_bf16" in _CPU.read_text(encoding="utf-8").split()


class LossScale:
    """A factor on the loss that keeps small gradients from vanishing in float16.

    It is halved when a gradient overflows, and that step is left out; it is doubled after many steps that went well.
    """

    def __init__(self) -> None:
        import tensorflow as tf

        self._scale = tf.Variable(_FIRST_SCALE, trainable=False)
        self._good = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def state(self) -> list[Any]:
        """What the next step depends on."""
        return [self._scale, self._good]

    @property
    def value(self) -> Tensor:
        """The factor: float32 scalar."""
        import tensorflow as tf

        return tf.raw_ops.ReadVariableOp(resource=self._scale.handle, dtype=tf.float32)

    def follow(self, finite: Tensor) -> None:
        """Take note of a step.

        Args:
            finite: bool scalar, whether its gradients were finite.
        """
        import tensorflow as tf

        good = tf.raw_ops.ReadVariableOp(resource=self._good.handle, dtype=tf.int64) + 1
        grows = good >= _GOOD_STEPS
        factor = tf.where(finite, tf.where(grows, 2.0, 1.0), 0.5)
        # Never below 1: there, float16 has no advantage left to lose, and the loss itself has diverged.
        tf.raw_ops.AssignVariableOp(resource=self._scale.handle, value=tf.maximum(self.value * factor, 1.0))
        nothing = tf.zeros([], tf.int64)
        tf.raw_ops.AssignVariableOp(resource=self._good.handle, value=tf.where(finite & ~grows, good, nothing))
