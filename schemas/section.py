"""What all sections of the recipe have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the recipe.

    Unknown fields are refused: a misspelt option must not be ignored. Frozen: what was validated is what runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


def text_keys(value: Any) -> Any:
    """A mapping whose keys are text: YAML reads `0: sincere` as a number, and labels are compared as text."""
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: entry for key, entry in value.items()}
