"""Prepares small data sets as TensorFlow Datasets does, in a process of its own: `... FOLDER`."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

TRAIN = [(f"Is {number} a prime?", number % 2) for number in range(40)]
TEST = [("Is that so?", -1), ("Où ça?", 1)]


class TinyQuestions(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Questions with a class, a number, a flag, a list of classes, and what is no single value."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("plain", "other")]  # noqa: RUF012

    def _info(self) -> Any:
        features = {
            "text": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["no", "yes"]),
            "number": tfds.features.Scalar(np.int32),
            "share": tfds.features.Scalar(np.float32),
            "odd": tfds.features.Scalar(np.bool_),
            "tags": tfds.features.Sequence(tfds.features.ClassLabel(names=["a", "b"])),
            "pixels": tfds.features.Tensor(shape=(2, 2), dtype=np.uint8),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples(TRAIN), "test": self._generate_examples(TEST)}

    def _generate_examples(self, rows: list[tuple[str, int]]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, (text, label) in enumerate(rows):
            pixels = [[number % 7] * 2] * 2
            tags = [[], ["a"], ["b", "a"]][number % 3]
            yield number, {
                "text": text, "label": label, "number": number, "share": number / 4, "odd": number % 2 == 1,
                "tags": tags, "pixels": pixels,
            }  # fmt: skip


if __name__ == "__main__":
    for config in ("plain", "other"):
        TinyQuestions(config=config, data_dir=sys.argv[1]).download_and_prepare()
    TinyQuestions(config="plain", data_dir=f"{sys.argv[1]}/array", file_format="array_record").download_and_prepare()
