"""The recipe: everything that a person may set for one retraining.

The same model is the YAML file on the command line and the form in the Prefect UI, so each field carries the title
and the description that the form shows. Fields whose default depends on another field are None until validation
fills them in: a validated recipe is complete, and two recipes that mean the same are equal.
"""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

Task = Literal["multiclass", "multilabel"]
Mode = Literal["feature_extraction", "fine_tuning", "partial", "layer_extraction"]
Pooling = Literal["mean", "max", "mean_max", "cls", "pooled"]
Monitor = Literal["macro_f1", "weighted_f1", "accuracy", "loss"]
Block = Literal["download_model", "download_data", "preprocess", "retrain", "publish"]
ModelName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def _text_keys(value: Any) -> Any:
    # YAML reads `0: sincere` as a number: labels are compared as text.
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: entry for key, entry in value.items()}


SAMPLE_NAME = "insincere-questions"
SAMPLE_LABELS = {"0": "sincere", "1": "insincere"}
LABEL_SEPARATOR = ","

# Feature extraction: the head and the patience of the seed course (256-64, patience 2); learning rate and dropout have
# the lowest validation loss, averaged over trec6, sst2 and quora_insincere and three seeds, among 5e-4 and 1e-3 with
# 0.1, 0.3 and 0.5 (docs/benchmarks.md). Fine-tuning: epochs, batch size, learning rate and dropout as Devlin et al.
# 2019, A.2 and A.3 recommend, no hidden layer between encoder and classes, warm-up over a tenth of the steps.
_TUNED: dict[str, Any] = {"hidden": [], "dropout": 0.1, "epochs": 3, "learning_rate": 5e-5, "warmup_fraction": 0.1}
_MODE_DEFAULTS: dict[str, dict[str, Any]] = {
    "feature_extraction": {
        "hidden": [256, 64],
        "dropout": 0.3,
        "epochs": 20,
        "learning_rate": 5e-4,
        "warmup_fraction": 0.0,
    },
    "fine_tuning": _TUNED,
    "partial": _TUNED,
    "layer_extraction": _TUNED,
}
# Fields that some modes have no use for. There they are refused: ignored, they would seem to have had an effect.
_TRAINS_ENCODER = ("fine_tuning", "partial", "layer_extraction")
MEANT_FOR: dict[str, tuple[str, ...]] = {
    "freeze_layers": ("partial", "layer_extraction"),
    "keep_hidden_states": ("partial", "layer_extraction"),
    "layers": ("layer_extraction",),
    "gradual_unfreezing": _TRAINS_ENCODER,
    "layer_decay": _TRAINS_ENCODER,
    "accumulation_steps": _TRAINS_ENCODER,
    "strategy": _TRAINS_ENCODER,
    "precision": _TRAINS_ENCODER,
}


class _Section(BaseModel):
    # Unknown fields are refused: a misspelt option must not be ignored. Frozen: what was validated is what runs.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class ModelRecipe(_Section):
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


class DataRecipe(_Section):
    """The labelled text: one source that is split here, or files that are splits already."""

    source: str | None = Field(
        None,
        title="Data source",
        min_length=1,
        description="`sample` (built in), or a CSV, JSONL or Parquet file, which is then split by preprocess. "
        "Leave empty when train and test files are given.",
    )
    train: str | None = Field(None, title="Training file", min_length=1, description="Rows given for training.")
    validation: str | None = Field(
        None,
        title="Validation file",
        min_length=1,
        description="Rows given for validation; when empty, a part of the training file is used.",
    )
    test: str | None = Field(None, title="Test file", min_length=1, description="Rows given for the test.")
    text: str = Field("text", title="Text column", min_length=1, description="Name of the column that holds the text.")
    label: str = Field("label", title="Label column", min_length=1, description="Name of the column with the label.")
    labels: Annotated[dict[str, str] | None, BeforeValidator(_text_keys)] = Field(
        None,
        title="Classes",
        description="Maps each raw label to the name of its class, in class order; rows with other labels are "
        "quarantined. When empty, every label that occurs is a class.",
    )
    label_separator: str | None = Field(
        None,
        title="Label separator",
        min_length=1,
        description="For `train.task: multilabel`: what stands between the labels of a row; a comma unless given. A "
        "list, in JSONL and Parquet, needs none. A cell with separators alone, or an empty list: none of the classes.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if not any(values.get(field) for field in ("source", "train", "validation", "test")):
            values["source"] = "sample"
        if values.get("source") == "sample" and values.get("labels") is None:
            values["labels"] = SAMPLE_LABELS
        return values

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        given = [name for name in ("train", "validation", "test") if getattr(self, name)]
        if self.source and given:
            raise ValueError(f"source and {given[0]} exclude each other: give one source, or files that are splits")
        if given and not (self.train and self.test):
            raise ValueError("train and test belong together: give both files, or one source")
        if self.labels is not None and len(set(self.labels.values())) < 2:
            raise ValueError("labels must name at least two classes")
        return self


class PreprocessRecipe(_Section):
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
    max_characters: int = Field(
        10_000, title="Longest text", ge=1, description="Texts with more characters are quarantined."
    )

    @model_validator(mode="after")
    def _rows_left_to_train_on(self) -> Self:
        if self.validation_fraction + self.test_fraction > 0.8:
            raise ValueError("validation_fraction + test_fraction must leave at least 0.2 to train on")
        return self


class TrainRecipe(_Section):
    """How the classifier is trained. Fields left empty take the default of the mode."""

    task: Task = Field(
        "multiclass",
        title="Task",
        description="`multiclass`: each text belongs to one of the classes; `multilabel`: to any number of them, or to "
        "none, and each class has a probability of its own.",
    )
    mode: Mode = Field(
        "feature_extraction",
        title="Mode",
        description="`feature_extraction` keeps the encoder as it is and trains a head on its embeddings (seconds to "
        "minutes); `fine_tuning` trains the whole encoder too (better, and much longer); `partial` leaves the lower "
        "layers as they are; `layer_extraction` cuts the encoder off above a layer and trains what is left.",
    )
    freeze_layers: Literal["embeddings"] | Annotated[int, Field(ge=1)] | None = Field(
        None,
        title="Frozen layers",
        description="For `partial`: how many of the lowest layers are left as they are, the embeddings with them; or "
        "`embeddings` alone. Empty: half of the layers.",
    )
    keep_hidden_states: bool = Field(
        True,
        title="Keep hidden states",
        description="Compute what the frozen layers give for each text once and keep it in memory, where it fits, "
        "instead of in every epoch.",
    )
    layers: list[Annotated[int, Field(ge=1)]] | None = Field(
        None,
        title="Layers",
        min_length=1,
        description="For `layer_extraction`: the layers, counted from 1, whose vectors are taken (several are put side "
        "by side); the ones above the highest are not computed. Empty: the middle one.",
    )
    gradual_unfreezing: bool = Field(
        False,
        title="Head first",
        description="Train the head on the frozen encoder first, then everything; not for `feature_extraction`.",
    )
    layer_decay: float = Field(
        1.0,
        title="Learning rate of lower layers",
        gt=0,
        le=1,
        description="Each layer learns at this times the rate of the one above it; the head at the full rate.",
    )
    pooling: Pooling = Field(
        "mean", title="Pooling", description="How token vectors become one text vector (BERT-like encoders only)."
    )
    hidden: list[Annotated[int, Field(ge=1, le=8192)]] | None = Field(
        None, title="Hidden layers", max_length=8, description="Widths of the head's hidden layers."
    )
    dropout: float | None = Field(None, title="Dropout", ge=0, lt=1, description="Dropout rate in the head.")
    activation: Literal["relu", "gelu", "tanh"] = Field(
        "relu", title="Activation", description="Of the head's hidden layers."
    )
    epochs: int | None = Field(None, title="Epochs", ge=1, le=1000, description="Passes over the training rows.")
    batch_size: int = Field(32, title="Batch size", ge=1, le=4096, description="Rows per training step.")
    accumulation_steps: int = Field(
        1,
        title="Parts of a batch",
        ge=1,
        le=4096,
        description="Compute each batch in this many parts, which takes less memory and gives the same step. It is "
        "doubled by itself when memory runs out.",
    )
    learning_rate: float | None = Field(
        None, title="Learning rate", gt=0, le=1, description="Peak learning rate of AdamW."
    )
    warmup_fraction: float | None = Field(
        None, title="Warm-up", ge=0, le=0.5, description="Share of the steps over which the learning rate rises."
    )
    schedule: Literal["linear", "cosine"] = Field(
        "linear", title="Schedule", description="How the learning rate falls to zero after warm-up."
    )
    clip_norm: float | None = Field(
        1.0, title="Clipping", gt=0, description="Largest global norm of a step's gradients; empty: never clipped."
    )
    weight_decay: float = Field(0.01, title="Weight decay", ge=0, le=1, description="AdamW's decoupled weight decay.")
    max_length: Literal["auto"] | Annotated[int, Field(ge=8, le=512)] = Field(
        128,
        title="Longest input",
        description="Tokens per text, with the special ones; the rest is cut. `auto`: long enough for 99 % of the "
        "training texts.",
    )
    label_smoothing: float = Field(
        0.0, title="Label smoothing", ge=0, lt=1, description="Share of the target that is spread over all classes."
    )
    focal_gamma: float = Field(
        0.0,
        title="Focal loss",
        ge=0,
        le=10,
        description="Above 0, examples that are classified well already count less (2 is usual); 0: cross-entropy.",
    )
    class_weights: Annotated[
        Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None, BeforeValidator(_text_keys)
    ] = Field(
        None,
        title="Class weights",
        description="`balanced` weighs each class by the inverse of its share; or a weight for each class by name. "
        "With `multilabel` a weight counts where a row has the class; `balanced`: rows without it per row with it.",
    )
    early_stopping_patience: int | None = Field(
        2,
        title="Patience",
        ge=1,
        description="Stop after this many epochs without a better validation result; empty: never. The best weights "
        "are kept either way.",
    )
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = Field(
        "auto",
        title="Devices",
        description="What the encoder is trained on; `auto` takes a cluster, a TPU or several GPUs if there are any.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="What the encoder's layers are computed in while training; `auto` takes 16 bits where the device "
        "is faster with them. Weights and answers stay in float32.",
    )
    monitor: Monitor = Field(
        "macro_f1", title="Watched metric", description="The validation metric that says which epoch is the best."
    )
    seed: int = Field(42, title="Seed", ge=0, le=2**31 - 1, description="The same seed gives the same model.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = _MODE_DEFAULTS.get(str(values.get("mode") or "feature_extraction"), {})
        return values | {name: default for name, default in defaults.items() if values.get(name) is None}

    @model_validator(mode="after")
    def _fits_the_mode(self) -> Self:
        for field, modes in MEANT_FOR.items():
            if getattr(self, field) != TrainRecipe.model_fields[field].default and self.mode not in modes:
                raise ValueError(f"{field} has no meaning in mode {self.mode}; it is for {', '.join(modes)}")
        if self.mode == "layer_extraction" and self.pooling == "pooled":
            raise ValueError("pooling `pooled` is computed from the last layer; choose another for layer_extraction")
        if isinstance(self.freeze_layers, int) and self.layers and self.freeze_layers > min(self.layers):
            raise ValueError(f"freeze_layers must not exceed the lowest of layers, {min(self.layers)}")
        return self


def _text_of_number(value: Any) -> Any:
    # YAML reads `1` as a number: class names are text.
    return str(value) if type(value) is int else value


class EvaluateRecipe(_Section):
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
    if isinstance(section, _Section):
        return section.model_dump()
    return section if isinstance(section, dict) else None


class Recipe(_Section):
    """Everything that a person may set for one retraining. `{}` is a valid recipe."""

    name: ModelName | None = Field(
        None,
        title="Model name",
        description="Name under which versions are published: small letters, digits and hyphens.",
    )
    model: ModelRecipe = Field(default_factory=ModelRecipe, title="Model")
    data: DataRecipe = Field(default_factory=lambda: DataRecipe.model_validate({}), title="Data")
    preprocess: PreprocessRecipe = Field(default_factory=PreprocessRecipe, title="Preprocess")
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
