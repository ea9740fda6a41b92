"""docs/recipe.md lists every field as the code has it; `python tests/docs/test_recipe_page.py` prints the page."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"

INTRODUCTION = """# The recipe

Everything that may be set for one retraining. `{}` is a valid recipe; fields without a default of their own take the
one that suits the mode. Unknown fields, impossible combinations and values out of range are refused before anything
runs. On the command line, `--set section.field=value` overrides the file.
"""


def page() -> str:
    defaults = {
        mode: Recipe.model_validate({"train": {"mode": mode}}).model_dump()
        for mode in ("feature_extraction", "fine_tuning")
    }
    sections = [INTRODUCTION]
    for name, field in Recipe.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            rows = [_row(inner, section, [default[name] for default in defaults.values()]) for inner in _names(section)]
            sections.append(f"## {name}\n\n{section.__doc__}\n\n" + _HEADER + "\n".join(rows) + "\n")
        else:
            sections.append(_HEADER + _row(name, Recipe, list(defaults.values())) + "\n")
    return "\n".join(sections)


_HEADER = "| field | default | |\n| --- | --- | --- |\n"


def _names(section: type[BaseModel]) -> list[str]:
    return list(section.model_fields)


def _row(name: str, section: type[BaseModel], defaults: list[dict[str, Any]]) -> str:
    field = section.model_fields[name]
    values = list(dict.fromkeys(_shown(default[name]) for default in defaults))
    both = (
        values[0]
        if len(values) == 1 or name == "mode"
        else f"{values[0]}; fine-tuning: {values[1] or 'follows from the model'}"
    )
    text = f"{field.description} {_allowed(section, name)}".strip().replace("|", "\\|")
    return f"| `{name}` | {both} | {text} |"


def _shown(value: object) -> str:
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _allowed(section: type[BaseModel], name: str) -> str:
    schema = section.model_json_schema()["properties"][name]
    variants = [schema, *schema.get("anyOf", [])]
    choices = [choice for variant in variants for choice in variant.get("enum", [])]
    if choices:
        return "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    for variant in variants:
        low = variant.get("minimum", variant.get("exclusiveMinimum"))
        high = variant.get("maximum", variant.get("exclusiveMaximum"))
        if low is not None and high is not None:
            return f"From {low} to {high}."
        if low is not None:
            return f"At least {low}." if "minimum" in variant else f"More than {low}."
    return ""


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    print(page(), end="")
