"""Trains on the devices that its arguments name: `... DEVICES MODEL ROWS TOKENS FOLDER`.

DEVICES: `one_device`; `mirrored`, over two logical CPU devices; `multi_worker`, one worker of the cluster in TF_CONFIG.
"""

import sys
from pathlib import Path

from tasks.retrain.tensorflow_setup import start_tensorflow
from tasks.retrain.train import train
from tests.retrain.small_inputs import FACTS, recipe


def main(devices: str, model: Path, rows: Path, tokens: Path, folder: Path) -> None:
    tf = start_tensorflow()
    if devices == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    for name, parts in (("whole", 1), ("in_parts", 3))[: 1 if devices == "multi_worker" else 2]:
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
        (folder / name).mkdir(parents=True)
        train(model, FACTS, rows, tokens, [], settings, None, folder / name, print)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
