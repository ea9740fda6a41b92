"""The pretrained encoder as training sees it: features in, one vector per text out, and the variables to train."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hubtune.errors import UnsupportedModel
from schemas.handoff import ModelFacts
from schemas.train_recipe import Pooling, TrainRecipe
from tasks.bert import Bert, read_weights
from tasks.pooling import text_vector, vector_width
from tasks.retrain.layered_encoder import LayeredEncoder
from tasks.retrain.plan import Plan
from tasks.retrain.precision import Precision
from tasks.retrain.seeded_model import load_seeded
from tasks.retrain.tensorflow_setup import Tensor


class Encoder(Protocol):
    """A pretrained model with a text vector as its output."""

    width: int
    """Of the text vectors."""
    signature: Any
    """TensorSpecs of the features: batch size and length are left open, so that one trace serves all batches."""
    in_lanes: bool
    """Whether parts of a batch can be computed side by side. What arrived as a SavedModel may hold look-up tables,
    which are used by one at a time, and random ops that count how often they were asked."""

    @property
    def words(self) -> Any:
        """The table of word vectors, a variable of which a step may give rows instead (`WORD_VECTORS`); or None."""
        ...

    @property
    def groups(self) -> Sequence[Sequence[Any]]:
        """The variables from the input to the output: the embeddings', then each layer's; or all in one group."""
        ...

    def text_vectors(self, features: Tensor, step: Tensor | None) -> Tensor:
        """Compute float32[n, width] from features; with a step's number (int64 scalar), with the encoder's dropout."""
        ...


def load_encoder(
    model: Path,
    facts: ModelFacts,
    recipe: TrainRecipe,
    plan: Plan,
    precision: Precision = "float32",
    *,
    products_only: bool = False,
    pairs: bool = False,
) -> Encoder:
    """Load the pretrained model of a `model` artifact.

    Args:
        model: the artifact's folder.
        facts: its facts.
        recipe: pooling and seed.
        plan: the layers that are taken and the ones that stay frozen.
        precision: what its layers are computed in while training; float32 where they are not known one by one.
        products_only: whether it is their products alone that are computed in it.
        pairs: whether it will be given pairs of texts.

    Returns:
        The encoder.

    Raises:
        UnsupportedModel: the layers cannot be told apart, and the plan needs them one by one; or the encoder knows one
            segment alone, and is to read pairs.
    """
    if facts.interface == "text_embedding":
        import tensorflow_text  # noqa: F401  (registers ops that text-embedding modules may use)

        return _TextEmbedding(load_seeded(model / "module", recipe.seed), facts.width)
    known = read_weights(model)
    if known is not None:
        config, weights = known
        bert = Bert(config, weights, max(plan.layers) if plan.layers else None)
        if pairs and config.type_vocab_size < 2:
            raise UnsupportedModel(
                "the encoder was pretrained on single texts: it has no vector for a second segment",
                where="model.source",
                remedy="use an encoder that knows two segments, or leave data.text_pair out",
            )
        return LayeredEncoder(
            bert,
            recipe.pooling,
            plan.layers,
            plan.frozen_groups,
            recipe.seed,
            precision,
            products_only=products_only,
            pairs=pairs,
        )
    if plan.layers:
        raise UnsupportedModel(
            "the encoder is a SavedModel in one piece: the layers above the one that is taken would be computed too",
            where="train.mode: layer_extraction",
            remedy="use another mode, or an encoder that hubtune converts itself (model.source: starter)",
        )
    return _SavedEncoder(load_seeded(model / "encoder", recipe.seed), facts.width, recipe.pooling)


def trained_groups(encoder: Encoder, frozen_groups: int, facts: ModelFacts) -> list[list[Any]]:
    """The groups of variables that are trained.

    Args:
        encoder: the loaded model.
        frozen_groups: how many groups, from the input on, stay as they are.
        facts: what was found when the model arrived.

    Returns:
        The remaining groups.

    Raises:
        UnsupportedModel: there is nothing to train, two variables have the same name, or the groups are not known.
    """
    groups = [list(group) for group in encoder.groups][frozen_groups:]
    names = [variable.name for group in encoder.groups for variable in group]
    twice = [name for name in names if names.count(name) > 1]
    if frozen_groups and len(encoder.groups) == 1:
        found = "has variables whose names do not tell which layer they belong to"
    elif not facts.trainable or not names:
        found = "was exported without trainable variables"
    elif twice:
        found = f"has {names.count(twice[0])} trainable variables named {twice[0]!r}"
    else:
        return groups
    raise UnsupportedModel(
        f"the model ({facts.interface}, {facts.parameters:,} parameters) {found}",
        where="train.mode",
        remedy="use train.mode: feature_extraction, or another model.source",
    )


class _SavedEncoder:
    """A BERT-like encoder that arrived as a SavedModel: its graph is what was traced when it was exported."""

    def __init__(self, model: Any, width: int, pooling: Pooling) -> None:
        import tensorflow as tf

        self._model, self._pooling = model, pooling
        self.width = vector_width(width, pooling)
        self.groups = _groups(list(model.trainable_variables))
        self.in_lanes, self.words = False, None
        ids = tf.TensorSpec([None, None], tf.int32)
        self.signature = {"input_word_ids": ids, "input_mask": ids, "input_type_ids": ids}

    def text_vectors(self, features: Tensor, step: Tensor | None) -> Tensor:
        outputs = self._model(features, training=step is not None)
        return text_vector(outputs, features["input_mask"], self._pooling)


class _TextEmbedding:
    def __init__(self, module: Any, width: int) -> None:
        import tensorflow as tf

        self._module, self.width = module, width
        variables = list(getattr(module, "trainable_variables", ()))
        self.groups = [variables]
        self.in_lanes, self.words = False, None
        self.signature = tf.TensorSpec([None], tf.string)

    def text_vectors(self, features: Tensor, step: Tensor | None) -> Tensor:
        del step  # TF Hub's text embeddings take the strings alone; they have no dropout to switch on.
        return self._module(features)


def _groups(variables: list[Any]) -> list[list[Any]]:
    """Embeddings, layer by layer, and the rest with the last layer; one group if the names do not tell the layers."""
    layer = re.compile(r"(?:^|[/_.])layer[_.]*(\d+)(?:[/_.]|$)")
    numbers = [int(found[1]) if (found := layer.search(variable.name)) else None for variable in variables]
    known = sorted({number for number in numbers if number is not None})
    if not known:
        return [variables]
    groups: list[list[Any]] = [[] for _ in range(len(known) + 1)]
    for variable, number in zip(variables, numbers, strict=True):
        if number is not None:
            groups[known.index(number) + 1].append(variable)
        else:
            groups[0 if "embedding" in variable.name else -1].append(variable)
    return groups
