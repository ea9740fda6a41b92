"""What all sections of the recipe have in common."""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Section(BaseModel):
    """A part of the recipe.

    Unknown fields are refused: a misspelt option must not be ignored. Frozen: what was validated is what runs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema that the form in the Prefect UI is made from, and that parameters are checked against.

        A field that is empty unless given is shown as an empty field, and not as a choice between a type and None.
        """
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            others = [each for each in field.get("anyOf", []) if each != {"type": "null"}]
            if field.get("default", ...) is None and len(others) == 1:
                del field["anyOf"], field["default"]
                field.update(others[0])
                if "enum" in field:
                    field["enum"] = [*field["enum"], None]
        return schema

    def as_parameters(self) -> dict[str, Any]:
        """The section for a run that a server is asked for.

        Returns:
            JSON values, without the fields that are empty and empty unless given.
        """
        values = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, Section):
                values[name] = value.as_parameters()
            elif value is None and field.default is None:
                del values[name]
        return values


def text_keys(value: Any) -> Any:
    """A mapping whose keys are text: YAML reads `0: sincere` as a number, and labels are compared as text."""
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: entry for key, entry in value.items()}


def choice(*titles: str) -> Callable[[dict[str, Any]], None]:
    """What a form calls the types that a field may have, which it would name `str`, `int` and `None` otherwise.

    Args:
        *titles: a title for each type, in their order.

    Returns:
        What `Field` takes as `json_schema_extra`.
    """

    def name(schema: dict[str, Any]) -> None:
        for variant, title in zip(schema["anyOf"], titles, strict=True):
            variant["title"] = title

    return name


def from_lines(value: Any, split: Callable[[str], Sequence[str]], line: str, key: str) -> Any:
    """A mapping with text for keys, also from the lines of a form.

    Args:
        value: what was given.
        split: a line -> its key and its value.
        line: what each line is, for the message.
        key: what the keys are, for the message.

    Returns:
        The mapping, or None if there are no lines; anything else as `text_keys` leaves it.

    Raises:
        ValueError: a line is not what it should be, or a key stands in several.
    """
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return text_keys(value)
    pairs = [[part.strip() for part in split(each)] for each in value]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError(f"each line names {line}; otherwise give a mapping")
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError(f"{key} stands in more than one line")
    return mapping or None
