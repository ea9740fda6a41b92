"""The pretrained encoder as training sees it: features in, one vector per text out, and the variables to train."""

from pathlib import Path
from typing import Any, Protocol

from hubtune.errors import UnsupportedModel
from schemas.handoff import ModelFacts
from schemas.recipe import Pooling
from tasks.pooling import text_vector
from tasks.retrain.seeded_model import load_seeded
from tasks.retrain.tensorflow_setup import Tensor


class Encoder(Protocol):
    """A pretrained model with a text vector as its output."""

    variables: list[Any]
    """The trainable variables, in the loaded model's order."""
    signature: Any
    """TensorSpecs of the features: batch size and length are left open, so that one trace serves all batches."""

    def text_vectors(self, features: Tensor, training: bool) -> Tensor:
        """Compute float32[n, width] from features; `training` switches the encoder's own dropout on."""
        ...


def load_encoder(model: Path, facts: ModelFacts, pooling: Pooling, seed: int) -> Encoder:
    """Load the pretrained model of a `model` artifact.

    Args:
        model: the artifact's folder.
        facts: its facts.
        pooling: how token vectors become a text vector; of no meaning to a text-embedding module.
        seed: seeds the encoder's own dropout.

    Returns:
        The encoder.
    """
    if facts.interface == "bert_encoder":
        return _BertEncoder(load_seeded(model / "encoder", seed), pooling)
    import tensorflow_text  # noqa: F401  (registers ops that text-embedding modules may use)

    return _TextEmbedding(load_seeded(model / "module", seed))


def require_trainable(encoder: Encoder, facts: ModelFacts) -> None:
    """Refuse to fine-tune a model that has nothing to tune, or whose trained weights could not be told apart.

    Args:
        encoder: the loaded model.
        facts: what was found when the model arrived.

    Raises:
        UnsupportedModel: there are no trainable variables, or two of them have the same name.
    """
    names = [variable.name for variable in encoder.variables]
    twice = [name for name in names if names.count(name) > 1]
    if not facts.trainable or not names:
        found = "was exported without trainable variables"
    elif twice:
        found = f"has {names.count(twice[0])} trainable variables named {twice[0]!r}"
    else:
        return
    raise UnsupportedModel(
        f"the model ({facts.interface}, {facts.parameters:,} parameters) {found}",
        where="train.mode: fine_tuning",
        remedy="use train.mode: feature_extraction, or another model.source",
    )


class _BertEncoder:
    def __init__(self, model: Any, pooling: Pooling) -> None:
        import tensorflow as tf

        self._model, self._pooling = model, pooling
        self.variables = list(model.trainable_variables)
        ids = tf.TensorSpec([None, None], tf.int32)
        self.signature = {"input_word_ids": ids, "input_mask": ids, "input_type_ids": ids}

    def text_vectors(self, features: Tensor, training: bool) -> Tensor:
        outputs = self._model(features, training=training)
        return text_vector(outputs, features["input_mask"], self._pooling)


class _TextEmbedding:
    def __init__(self, module: Any) -> None:
        import tensorflow as tf

        self._module = module
        self.variables = list(getattr(module, "trainable_variables", ()))
        self.signature = tf.TensorSpec([None], tf.string)

    def text_vectors(self, features: Tensor, training: bool) -> Tensor:
        # TF Hub's text embeddings take the strings alone; they have no dropout to switch on.
        return self._module(features)
