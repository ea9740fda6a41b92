"""The trained classifier as TensorFlow code again: what both exports are traced from."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hubtune.errors import CorruptArtifact
from schemas.train_recipe import Pooling, Task
from tasks.dense import activate
from tasks.pooling import text_vector

Tensor = Any
"""A TensorFlow value. TensorFlow has no type stubs and is imported only inside the functions that use it."""


class TrainedClassifier(BaseModel):
    """`classifier.json` of a classifier artifact, as block 4 writes it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    task: Task
    interface: Literal["bert_encoder", "text_embedding"]
    pooling: Pooling | None
    layers: list[int] | None
    labels: list[str]
    hidden: list[int]
    activation: Literal["relu", "gelu", "tanh"]
    max_length: int | None
    pairs: bool = False
    variables: list[str]


@dataclass(frozen=True)
class ClassifierGraph:
    """The pretrained model with its trained weights, and the head."""

    trained: TrainedClassifier
    pretrained: Any
    head: list[tuple[Any, Any]]
    """Kernel and bias of each dense layer; the last one gives the logits."""

    def encode(self, input_ids: Tensor, attention_mask: Tensor, type_ids: Tensor | None) -> Tensor:
        """Text vectors of a BERT-like encoder.

        Args:
            input_ids: int32[n, length], token ids.
            attention_mask: int32[n, length], 1 for tokens and 0 for padding.
            type_ids: int32[n, length], 1 for the second text of a pair; None where texts are single, and 0 throughout.

        Returns:
            float32[n, width].
        """
        import tensorflow as tf

        features = {
            "input_word_ids": input_ids,
            "input_mask": attention_mask,
            "input_type_ids": tf.zeros_like(input_ids) if type_ids is None else type_ids,
        }
        switches = inspect.signature(self.pretrained.__call__).parameters
        outputs = self.pretrained(features, **({"training": False} if "training" in switches else {}))
        assert self.trained.pooling is not None  # an encoder's classifier was trained with one
        return text_vector(outputs, attention_mask, self.trained.pooling, self.trained.layers)

    def classify(self, vectors: Tensor) -> Tensor:
        """The head.

        Args:
            vectors: float32[n, width].

        Returns:
            Probabilities, float32[n, classes]: those of one class of several, or with `multilabel` of each for itself.
        """
        import tensorflow as tf

        *hidden, (kernel, bias) = self.head
        for hidden_kernel, hidden_bias in hidden:
            vectors = activate(tf.matmul(vectors, hidden_kernel) + hidden_bias, self.trained.activation)
        to_probabilities = tf.sigmoid if self.trained.task == "multilabel" else tf.nn.softmax
        return to_probabilities(tf.matmul(vectors, kernel) + bias)


def read_trained(classifier: Path) -> TrainedClassifier:
    """Read what was trained.

    Args:
        classifier: folder of a classifier artifact.

    Returns:
        The description that block 4 wrote.
    """
    return TrainedClassifier.model_validate_json((classifier / "classifier.json").read_bytes())


def load_classifier(model: Path, classifier: Path) -> ClassifierGraph:
    """Put pretrained model, trained weights and head together.

    Args:
        model: folder of the model artifact.
        classifier: folder of the classifier artifact.

    Returns:
        The classifier, with the weights that were evaluated.

    Raises:
        CorruptArtifact: the weights do not belong to the model.
    """
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers ops that text-embedding modules may use
    from safetensors.numpy import load_file

    trained = read_trained(classifier)
    source = model / ("encoder" if trained.interface == "bert_encoder" else "module")
    pretrained = tf.saved_model.load(str(source))
    if trained.variables:
        _assign(pretrained, trained.variables, load_file(classifier / "encoder.safetensors"), classifier)
    weights = load_file(classifier / "head.safetensors")
    names = [*(f"dense_{number}" for number in range(len(trained.hidden))), "logits"]
    parts = [f"{name}/{part}" for name in names for part in ("kernel", "bias")]
    if sorted(parts) != sorted(weights):
        raise _mismatch(f"the head holds {sorted(weights)}, not {sorted(parts)}", classifier / "head.safetensors")
    variables = [tf.Variable(weights[part], trainable=False, name=f"head/{part}") for part in parts]
    return ClassifierGraph(trained, pretrained, list(zip(variables[::2], variables[1::2], strict=True)))


def _assign(pretrained: Any, names: list[str], values: dict[str, Any], classifier: Path) -> None:
    where = classifier / "encoder.safetensors"
    # Not all of them need be there: lower layers may have been left as they were.
    variables = {variable.name: variable for variable in pretrained.trainable_variables}
    for name in names:
        variable = variables.get(name)
        if variable is None or name not in values:
            raise _mismatch(f"the model has no trainable variable {name!r}, or the weights do not", where)
        if tuple(variable.shape) != values[name].shape:
            raise _mismatch(f"{name} has shape {values[name].shape} instead of {tuple(variable.shape)}", where)
        variable.assign(values[name])


def _mismatch(what: str, where: Path) -> CorruptArtifact:
    return CorruptArtifact(what, where=str(where), remedy="run again with --refresh retrain")
