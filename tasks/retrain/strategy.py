"""On which devices a step is computed: `tf.distribute` beyond one of them."""

import contextlib
import json
import os
from typing import Any, Literal

from hubtune.errors import InvalidRecipe
from hubtune.progress import Say

Wanted = Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"]


def open_strategy(wanted: Wanted, say: Say) -> Any:
    """Set the devices up.

    Args:
        wanted: `auto` takes a cluster where TF_CONFIG describes one, a TPU where one is named, several GPUs where they
            are there, and one device otherwise.
        say: takes a line that says what was taken.

    Returns:
        A `tf.distribute` strategy; None for one device, which needs none.

    Raises:
        InvalidRecipe: what is wanted is not there.
    """
    import tensorflow as tf

    workers, _ = _cluster()
    tpu = os.environ.get("TPU_NAME") or os.environ.get("COLAB_TPU_ADDR")
    # Looking at the devices starts TensorFlow's runtime, which has to know of the cluster before.
    if wanted == "multi_worker" or (wanted == "auto" and workers > 1):
        if workers < 2:
            raise _not_there(wanted, "TF_CONFIG names no cluster", "set TF_CONFIG on each worker, or use one_device")
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        say(f"training on {strategy.num_replicas_in_sync} devices of {workers} workers")
        return strategy
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    chosen = wanted
    if wanted == "auto":
        chosen = "tpu" if tpu else "mirrored" if len(devices) > 1 else "one_device"
    if chosen == "one_device":
        say(f"training on one device: {devices[0].name}")
        return None
    if chosen == "mirrored":
        if len(devices) < 2:
            raise _not_there(wanted, f"there is one device, {devices[0].name}", "use one_device or auto")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        say(f"training on {strategy.num_replicas_in_sync} devices: {', '.join(device.name for device in devices)}")
        return strategy
    if not tpu:
        raise _not_there(wanted, "TPU_NAME names no TPU", "set TPU_NAME (`local` on a TPU VM), or use one_device")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    strategy = tf.distribute.TPUStrategy(resolver)
    say(f"training on {strategy.num_replicas_in_sync} TPU cores of {tpu}")
    return strategy


def is_first_worker(wanted: Wanted) -> bool:
    """Whether this process is the first worker of its cluster, or trains alone.

    Args:
        wanted: as of `open_strategy`.
    """
    workers, first = _cluster()
    return first or workers < 2 or wanted not in ("auto", "multi_worker")


def _cluster() -> tuple[int, bool]:
    """How many workers TF_CONFIG names, and whether this process is the first of them.

    The format is that of tf.distribute.cluster_resolver.TFConfigClusterResolver. A chief is the first of the workers.
    """
    content = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(content)
        cluster, task = config.get("cluster", {}), config.get("task", {})
        kinds = [kind for kind in ("chief", "worker") if cluster.get(kind)]
        first = (task.get("type"), int(task.get("index", 0))) == (kinds[0], 0) if kinds else True
        return sum(len(cluster[kind]) for kind in kinds), first
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidRecipe(
            f"TF_CONFIG cannot be read: {error}",
            where=f"TF_CONFIG={content[:200]}",
            remedy='set it to {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}',
        ) from error


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """Where variables are made: a copy on each device of the strategy."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def on_processors(strategy: Any) -> bool:
    """Whether there is neither a GPU nor a TPU to compute on."""
    import tensorflow as tf

    return not needs_static_shapes(strategy) and not tf.config.list_logical_devices("GPU")


def needs_static_shapes(strategy: Any) -> bool:
    """Whether each new shape would be compiled anew, which takes a TPU half a minute."""
    return type(strategy).__name__ in ("TPUStrategy", "TPUStrategyV2")


def _not_there(wanted: str, found: str, remedy: str) -> InvalidRecipe:
    return InvalidRecipe(f"train.strategy is {wanted}, and {found}", where="train.strategy", remedy=remedy)
