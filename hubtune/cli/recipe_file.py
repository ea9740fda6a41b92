"""From a YAML file and `--set FIELD=VALUE` to a validated recipe; every problem is told before anything runs."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from hubtune.errors import InvalidRecipe
from schemas.recipe import Recipe


def load_recipe(path: Path | None, settings: Sequence[str]) -> Recipe:
    """Read and validate a recipe.

    Args:
        path: a YAML file, or None for the default recipe.
        settings: `FIELD=VALUE` pairs that override the file; FIELD is a dotted path, VALUE is YAML.

    Returns:
        The complete recipe.

    Raises:
        InvalidRecipe: with every problem that was found: path in the recipe, value, what is allowed.
    """
    values = _read(path) if path else {}
    for setting in settings:
        _apply(values, setting)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = [_problem(dict(detail)) for detail in error.errors(include_url=False)]
        raise InvalidRecipe(
            "the recipe is not valid:\n" + "\n".join(f"  - {problem}" for problem in problems),
            where=_origin(path, settings),
            remedy="correct the fields named above; nothing was started",
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidRecipe(
            f"the recipe {str(path)!r} does not exist",
            where=f"looked in {Path.cwd()}",
            remedy="give the path of a YAML file; see examples/recipes",
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRecipe(
            f"the recipe cannot be read: {error}", where=str(path), remedy="make it a YAML file in UTF-8"
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidRecipe(
            f"the recipe is a {type(values).__name__}, not a mapping of fields",
            where=str(path),
            remedy="write `field: value` lines; see examples/recipes",
        )
    return values


def _apply(values: dict[str, Any], setting: str) -> None:
    field, separator, text = setting.partition("=")
    parts = field.strip().split(".")
    if not separator or not all(parts):
        raise InvalidRecipe(f"{setting!r} is not FIELD=VALUE", where="--set", remedy="for example --set train.epochs=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    section = values
    for part in parts[:-1]:
        inner = section.get(part)
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            raise InvalidRecipe(
                f"{field!r} reaches into {part!r}, which holds {inner!r}",
                where="--set",
                remedy=f"set {part} to a mapping, or leave it out of the recipe",
            )
        section = inner
    section[parts[-1]] = value


def _problem(detail: dict[str, Any]) -> str:
    location = tuple(str(part) for part in detail["loc"] if not str(part).startswith(("dict[", "literal[")))
    path = ".".join(location) or "recipe"
    if detail["type"] == "extra_forbidden":
        allowed = _fields(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        return f"{path}: unknown field{hint} Fields here: {', '.join(allowed)}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] in ("value_error", "missing") or not location:
        return f"{path}: {message}"
    return f"{path}: {detail['input']!r} is not allowed: {message}"


def _fields(location: Sequence[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _origin(path: Path | None, settings: Sequence[str]) -> str:
    origins = [str(path)] if path else ["the default recipe"]
    # Names alone: a value may be what must not be shown.
    return " with ".join([*origins, *(f"--set {setting.partition('=')[0]}" for setting in settings)])
