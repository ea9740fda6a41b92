"""What a mode means for a model: which layers are computed, and which of them are trained."""

from dataclasses import dataclass

from hubtune.errors import InvalidRecipe, UnsupportedModel
from schemas.handoff import ModelFacts
from schemas.train_recipe import TrainRecipe


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


def _require(number: int, most: int, field: str) -> None:
    if number > most:
        raise InvalidRecipe(
            f"{field} names layer {number}, and {most} is the highest that it can be here",
            where=field,
            remedy=f"choose from 1 to {most}",
        )
