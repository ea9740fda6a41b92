"""Trains on the devices that its arguments name: DEVICES MODEL ROWS TOKENS FOLDER [STORE].

DEVICES: `one_device`; `mirrored`, over two logical CPU devices; `multi_worker`, one worker of the cluster in TF_CONFIG.
With a store, the state is kept after each step.
"""

from pathlib import Path

from hubtune.storage import Store
from hubtune.storage.artifact import task_key
from tasks.retrain.checkpoints import Checkpoints
from tasks.retrain.fit import TrainingState
from tasks.retrain.strategy import is_first_worker
from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.train import train
from tests.retrain.processes import arguments
from tests.retrain.small_inputs import FACTS, recipe


class Loud(Checkpoints):
    """Says how far each worker is."""

    def offer(self, state: TrainingState, *, epoch_ended: bool) -> None:
        super().offer(state, epoch_ended=epoch_ended)
        print(f"step {len(state.losses)} is done", flush=True)


def main(devices: str, model: Path, rows: Path, tokens: Path, folder: Path, store: Path | None = None) -> None:
    tf = start_tensorflow()
    if devices == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    ways = {"one_device": {"whole": 1, "in_parts": 3}, "mirrored": {"in_parts": 3}, "multi_worker": {"whole": 1}}
    for name, parts in ways[devices].items():
        settings = recipe(
            mode="fine_tuning",
            learning_rate=5e-3,
            epochs=2,
            dropout=0,
            strategy=devices,
            accumulation_steps=parts,
            # The last batch of an epoch has fewer rows than there are replicas and parts.
            batch_size=17,
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        key = task_key("retrain.train", 1, settings.model_dump(), [])
        keeper = Loud(Store.open(str(store)), key, print, 0, 0, writes=is_first_worker("auto")) if store else None
        train(model, FACTS, rows, tokens, [], settings, keeper, folder / name, print)


if __name__ == "__main__":
    devices, *paths = arguments()
    main(devices, *map(Path, paths))
