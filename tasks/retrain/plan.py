"""What a recipe means for a model: which layers are computed, which of them are trained, and how fast they learn."""

from dataclasses import dataclass

from hubtune.errors import InvalidRecipe, UnsupportedModel
from schemas.handoff import ModelFacts
from schemas.train_recipe import TrainRecipe

# Devlin et al. 2019, A.3, choose among 2e-5, 3e-5 and 5e-5 for encoders of a width of 768 and more. For smaller ones
# Turc et al. 2019 try 1e-4 and 3e-4 too; with the starter, whose width is 384, 1e-4 is better (docs/decisions.md).
_BASE_WIDTH = 768
_LEARNING_RATE, _LEARNING_RATE_BELOW = 5e-5, 1e-4


@dataclass(frozen=True)
class Plan:
    """What a mode means for a model.

    Args:
        frozen_groups: how many groups of variables (the embeddings, then the layers) stay as they are.
        layers: numbers of the layers whose vectors are taken, counted from 1; None: the model's own output.
    """

    frozen_groups: int
    layers: list[int] | None


def make_plan(facts: ModelFacts, recipe: TrainRecipe) -> Plan:
    """Bring recipe and model together.

    Args:
        facts: of the model.
        recipe: a complete train section.

    Returns:
        The plan.

    Raises:
        UnsupportedModel: the mode needs layers and the model has none.
        InvalidRecipe: a layer is named that the model does not have.
    """
    if recipe.mode in ("feature_extraction", "fine_tuning"):
        return Plan(0, None)
    if facts.layers is None:
        raise UnsupportedModel(
            f"the model ({facts.interface}) does not tell its layers",
            where=f"train.mode: {recipe.mode}",
            remedy="use feature_extraction or fine_tuning, or a BERT-like encoder",
        )
    layers = None
    if recipe.mode == "layer_extraction":
        layers = sorted(set(recipe.layers or [max(1, facts.layers // 2)]))
        _require(max(layers), facts.layers, "train.layers")
    frozen = 0
    if recipe.freeze_layers == "embeddings":
        frozen = 1
    elif recipe.freeze_layers is not None:
        _require(recipe.freeze_layers, min(layers or [facts.layers]), "train.freeze_layers")
        frozen = recipe.freeze_layers + 1
    elif recipe.mode == "partial":
        frozen = facts.layers // 2 + 1
    return Plan(frozen, layers)


def with_learning_rate(facts: ModelFacts, recipe: TrainRecipe) -> TrainRecipe:
    """Fill in the learning rate, where the recipe leaves it to the model.

    Args:
        facts: of the model.
        recipe: a train section.

    Returns:
        A complete train section.
    """
    if recipe.learning_rate is not None:
        return recipe
    small = facts.interface == "bert_encoder" and facts.width < _BASE_WIDTH
    return recipe.model_copy(update={"learning_rate": _LEARNING_RATE_BELOW if small else _LEARNING_RATE})


def _require(number: int, most: int, field: str) -> None:
    if number > most:
        raise InvalidRecipe(
            f"{field} names layer {number}, and {most} is the highest that it can be here",
            where=field,
            remedy=f"choose from 1 to {most}",
        )
