"""The drift section of the recipe: how far the rows may be from those that the published version was trained on."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from schemas.section import Section, choice

DriftFigure = Literal["labels", "length", "vocabulary", "words"]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# Above 0.25 a population stability index says that a population has shifted, between 0.1 and 0.25 that it may be worth
# a look (Siddiqi, Credit Risk Scorecards, 2006).
_SHIFTED = 0.25


class DriftLimits(Section):
    """When a figure is too far above what chance gives."""

    warn: Limit | None = Field(
        _SHIFTED,
        title="Warning limit",
        description="Figures that are further than this above what chance gives are named in a warning; empty: never. "
        "With a lower `fail`, that one.",
        json_schema_extra=choice("Limit", "Never"),
    )
    fail: Limit | None = Field(
        None,
        title="Failure limit",
        description="The run fails before it trains when a figure is further than this above what chance gives; empty: "
        "never.",
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return _filled(values, _SHIFTED, None) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _warns_before_it_fails(self) -> Self:
        if self.warn is not None and self.fail is not None and self.fail < self.warn:
            raise ValueError(f"fail must not be smaller than warn: {self.fail:g} and {self.warn:g}")
        return self


def _a_field_for_each_figure(schema: dict[str, Any]) -> None:
    """A form for the mapping. None of its fields has a default: it would be given in place of the general one."""
    limits = {
        name: {
            "type": "number",
            "minimum": 0,
            "title": str(field.title),
            "description": f"Empty: as for all figures ({name}).",
        }
        for name, field in DriftLimits.model_fields.items()
    }
    single = {"type": "object", "properties": limits, "additionalProperties": False}
    schema.pop("propertyNames", None)
    schema["properties"] = {
        figure: {"title": figure.capitalize(), "description": f"Limits of the figure `{figure}`."} | single
        for figure in get_args(DriftFigure)
    }
    schema["additionalProperties"] = False


class DriftRecipe(DriftLimits):
    """How far the rows may be from those of the latest published version: in labels, length, vocabulary and words."""

    figures: dict[DriftFigure, DriftLimits] = Field(
        default_factory=dict,
        title="Limits of single figures",
        description="Other limits for some of the figures: `labels`, `length`, `vocabulary`, `words`. What is left out "
        "of `warn` and `fail` there is as for all.",
        json_schema_extra=_a_field_for_each_figure,
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_figures(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("figures"), dict):
            return values
        # Now, and not where they are used: a recipe that is written out and read again means the same.
        general = _filled(values, _SHIFTED, None)
        figures = {
            figure: _filled(own, general["warn"], general["fail"]) if isinstance(own, dict) else own
            for figure, own in values["figures"].items()
        }
        return values | {"figures": figures}

    def limits_of(self, figure: DriftFigure) -> DriftLimits:
        """The limits that hold for a figure."""
        return self.figures.get(figure, self)


def _filled(given: Mapping[str, Any], warn: Any, fail: Any) -> dict[str, Any]:
    """Limits with what was left out. Who gives a lower `fail` alone need not know what `warn` is otherwise."""
    filled = {"warn": warn, "fail": fail, **given}
    most, least = _number(filled["fail"]), _number(filled["warn"])
    if "warn" not in given and most is not None and least is not None and most < least:
        filled["warn"] = filled["fail"]
    return filled


def _number(value: Any) -> float | None:
    try:
        return float(value)  # YAML reads 1e-4 as text
    except (TypeError, ValueError):
        return None
