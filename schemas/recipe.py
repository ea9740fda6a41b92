"""The recipe: everything that a person may set for one retraining.

The same model is the YAML file on the command line and the form in the Prefect UI, so each field carries the title
and the description that the form shows. Fields whose default depends on another field are None until validation
fills them in: a validated recipe is complete, and two recipes that mean the same are equal.
"""

from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from hubtune.inference.replacements import Replacement
from schemas.data_recipe import DataRecipe
from schemas.drift_recipe import DriftRecipe
from schemas.section import Section
from schemas.train_recipe import TrainRecipe

Block = Literal["download_model", "download_data", "preprocess", "retrain", "publish"]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

SAMPLE_NAME = "insincere-questions"
LABEL_SEPARATOR = ","


class ModelRecipe(Section):
    """The pretrained model that the classifier starts from."""

    source: str = Field(
        "starter",
        title="Pretrained model",
        min_length=1,
        description="`starter` (built in), an http(s) handle such as https://tfhub.dev/..., or a folder or tar.gz "
        "file in TF Hub's SavedModel format. A model is code: name only sources that you trust.",
    )
    preprocessor: str | None = Field(
        None,
        title="Preprocessor",
        min_length=1,
        description="Handle of the preprocessing model that belongs to a BERT-like encoder; needed only where "
        "hubtune does not know it.",
    )

    @field_validator("source", "preprocessor")
    @classmethod
    def _no_password(cls, handle: str | None) -> str | None:
        # Recipes are shown, logged and published.
        if handle is not None and "@" in urlsplit(handle).netloc:
            raise ValueError("user and password do not belong in a recipe; give an address without them")
        return handle


class PreprocessRecipe(Section):
    """How raw rows become clean, split rows."""

    validation_fraction: float = Field(
        0.1, title="Validation share", ge=0.01, le=0.5, description="Share of the texts that is held out to watch."
    )
    test_fraction: float = Field(
        0.1, title="Test share", ge=0.01, le=0.5, description="Share of the texts that is held out for the last word."
    )
    max_quarantine: float = Field(
        0.05, title="Quarantine limit", ge=0, le=1, description="The block fails when a larger share of rows is bad."
    )
    min_characters: int = Field(
        1, title="Shortest text", ge=1, description="Texts with fewer characters are quarantined."
    )
    max_characters: int = Field(
        10_000, title="Longest text", ge=1, description="Texts with more characters are quarantined."
    )
    exact_shares: bool = Field(
        False,
        title="Exact shares",
        description="Whether each class has exactly its shares in each split, instead of on average. What it gives up: "
        "texts change their split when the data changes, so that a version may be tested on what an earlier one "
        "learned.",
    )
    replace: list[Replacement] = Field(
        default_factory=list,
        title="Replacements",
        description="What is replaced in each text, in training and in answering: `html_entities` (`&amp;`) by their "
        "characters, `urls` (web addresses) by the word http, `users` (@name) by @user.",
    )
    near_duplicates: float | None = Field(
        None,
        title="Near duplicates",
        ge=0.5,
        le=0.99,
        description="Similarity from which on two texts with the same classes are nearly the same: one of them is "
        "kept. It is the share of common runs of five characters (Jaccard); 0.8 is a few letters in a sentence. Empty: "
        "only equal texts are duplicates.",
    )
    contract: str | None = Field(
        None,
        title="Contract",
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="`module:name` of a pandera model or schema (pandera.polars) that clean rows must also keep; rows "
        "that break it are quarantined. The module is looked for in the working directory too. It is code: name only "
        "what you trust.",
    )

    @field_validator("replace")
    @classmethod
    def _each_once(cls, value: list[Replacement]) -> list[Replacement]:
        # In one order, so that recipes that mean the same are equal.
        return [each for each in get_args(Replacement) if each in value]

    @model_validator(mode="after")
    def _lengths_leave_texts(self) -> Self:
        if self.min_characters > self.max_characters:
            raise ValueError("min_characters must not be larger than max_characters")
        return self

    @model_validator(mode="after")
    def _rows_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction > 0.8:
            raise ValueError("validation_fraction + test_fraction must leave at least 0.2 to train on")
        return self


def _text_of_number(value: Any) -> Any:
    # YAML reads `1` as a number: class names are text.
    return str(value) if type(value) is int else value


class EvaluateRecipe(Section):
    """How the trained classifier is judged. One of two classes has a threshold; with `multilabel`, each class has."""

    threshold_metric: Literal["f1", "balanced_accuracy", "mcc"] = Field(
        "f1",
        title="Threshold metric",
        description="What a decision threshold is tuned for on the validation rows: F1 of its class, balanced "
        "accuracy, or Matthews' correlation coefficient. The figures at 0.5 are given beside it.",
    )
    positive_class: Annotated[str | None, BeforeValidator(_text_of_number)] = Field(
        None,
        title="Positive class",
        min_length=1,
        description="Name of the class, of two, that the threshold decides about; when empty, the rarer one among the "
        "training rows. Not for `multilabel`.",
    )


def _as_dict(section: Any) -> dict[str, Any] | None:
    """A section as it was given, field by field; None for what is no section."""
    if section is None:
        return {}
    if isinstance(section, Section):
        return section.model_dump()
    return section if isinstance(section, dict) else None


class Recipe(Section):
    """Everything that a person may set for one retraining. `{}` is a valid recipe."""

    name: ModelName | None = Field(
        None,
        title="Model name",
        description="Name under which versions are published: small letters, digits and hyphens.",
    )
    model: ModelRecipe = Field(default_factory=ModelRecipe, title="Model")
    data: DataRecipe = Field(default_factory=lambda: DataRecipe.model_validate({}), title="Data")
    preprocess: PreprocessRecipe = Field(default_factory=PreprocessRecipe, title="Preprocess")
    drift: DriftRecipe = Field(default_factory=DriftRecipe, title="Drift")
    train: TrainRecipe = Field(default_factory=lambda: TrainRecipe.model_validate({}), title="Train")
    evaluate: EvaluateRecipe = Field(default_factory=EvaluateRecipe, title="Evaluate")

    @model_validator(mode="before")
    @classmethod
    def _name_of_the_sample(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("name") is not None:
            return values
        data = _as_dict(values.get("data")) or {}
        other = any(data.get(field) for field in ("train", "validation", "test"))
        if data.get("source") in (None, "sample") and not other:
            return values | {"name": SAMPLE_NAME}
        return values

    @model_validator(mode="before")
    @classmethod
    def _fill_in_separator(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        data, train = (_as_dict(values.get(section)) for section in ("data", "train"))
        # What is no section is refused by its own field.
        if data is None or train is None or train.get("task") != "multilabel":
            return values
        if data.get("label_separator") is None:
            return values | {"data": data | {"label_separator": LABEL_SEPARATOR}}
        return values

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if self.train.task == "multiclass" and self.data.label_separator is not None:
            raise ValueError("data.label_separator has no meaning with train.task multiclass; it is for multilabel")
        if self.train.task == "multilabel" and self.evaluate.positive_class is not None:
            raise ValueError(
                "evaluate.positive_class has no meaning with train.task multilabel: each class has its own threshold"
            )
        return self

    @model_validator(mode="after")
    def _groups_stay_whole(self) -> Self:
        if self.data.group is not None and self.preprocess.exact_shares:
            raise ValueError(
                "preprocess.exact_shares and data.group exclude each other: groups cannot be cut to shares"
            )
        if self.train.task == "multilabel" and self.preprocess.exact_shares:
            raise ValueError(
                "preprocess.exact_shares has no meaning with train.task multilabel: a row has several classes"
            )
        return self

    @model_validator(mode="after")
    def _positive_class_is_one_of_two(self) -> Self:
        positive, labels = self.evaluate.positive_class, self.data.labels
        if positive is not None and labels is not None:
            classes = list(dict.fromkeys(labels.values()))
            if len(classes) != 2 or positive not in classes:
                known = ", ".join(classes)
                raise ValueError(f"evaluate.positive_class {positive!r} is not one of two classes; classes: {known}")
        return self

    @model_validator(mode="after")
    def _named_and_weighed(self) -> Self:
        if self.name is None:
            raise ValueError("name is needed when the data is not the sample: versions are published under it")
        weights, labels = self.train.class_weights, self.data.labels
        if isinstance(weights, dict) and labels is not None:
            unknown = sorted(set(weights) - set(labels.values()))
            if unknown:
                known = ", ".join(dict.fromkeys(labels.values()))
                raise ValueError(f"train.class_weights names {unknown[0]!r}, which is no class; classes: {known}")
        return self
