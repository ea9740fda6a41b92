"""The train section of the recipe: what is trained, and how.

What it leaves empty takes the default of its mode; the learning rate of an encoder, that of the model.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from schemas.section import Section, choice, from_lines

Task = Literal["multiclass", "multilabel"]
Mode = Literal["feature_extraction", "fine_tuning", "partial", "layer_extraction"]
Pooling = Literal["mean", "max", "mean_max", "cls", "pooled"]
Monitor = Literal["macro_f1", "weighted_f1", "accuracy", "loss"]

# Feature extraction: the head and the patience of the seed course (256-64, patience 2); learning rate and dropout have
# the lowest validation loss, averaged over trec6, sst2 and quora_insincere and three seeds, among 5e-4 and 1e-3 with
# 0.1, 0.3 and 0.5 (docs/benchmarks.md). Fine-tuning: epochs, batch size and dropout as Devlin et al. 2019, A.2 and A.3
# recommend, no hidden layer between encoder and classes, warm-up over a tenth of the steps. Its learning rate follows
# from the model (tasks/retrain/plan.py).
_TUNED: dict[str, Any] = {"hidden": [], "dropout": 0.1, "epochs": 3, "warmup_fraction": 0.1}
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
# A class and a number above zero.
_LINE = r"\S.*=\s*(?=[0-9.]*[1-9])([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$"


def _weights(value: Any) -> Any:
    """Weights by class, also from the lines of a form: `insincere = 3`."""
    line = "a class and its weight, as in `insincere = 3`"
    return from_lines(value, lambda each: each.rpartition("=")[::2], line, "a class")


def _lines_of_weights(schema: dict[str, Any]) -> None:
    balanced, mapping, equal = schema["anyOf"]
    lines = {"type": "array", "items": {"type": "string", "pattern": _LINE, "examples": ["insincere = 3"]}}
    schema["anyOf"] = [balanced, lines, mapping, equal]
    choice("Balanced", "Lines", "Mapping", "All equal")(schema)


class TrainRecipe(Section):
    """How the classifier is trained. Fields left empty take the default of the mode, or of the model."""

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
        json_schema_extra=choice("Embeddings alone", "Number of layers", "Half of the layers"),
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
        description="Compute each batch in at least this many parts, which takes less memory and gives the same step. "
        "It is doubled by itself when memory runs out.",
    )
    learning_rate: float | None = Field(
        None,
        title="Learning rate",
        gt=0,
        le=1,
        description="Peak learning rate of AdamW. Empty, where the encoder is trained: 5e-5, and 1e-4 for BERT-like "
        "encoders whose width is below 768.",
    )
    warmup_fraction: float | None = Field(
        None, title="Warm-up", ge=0, le=0.5, description="Share of the steps over which the learning rate rises."
    )
    schedule: Literal["linear", "cosine"] = Field(
        "linear", title="Schedule", description="How the learning rate falls to zero after warm-up."
    )
    clip_norm: float | None = Field(
        1.0,
        title="Clipping",
        gt=0,
        description="Largest global norm of a step's gradients; empty: never clipped.",
        json_schema_extra=choice("Limit", "Never"),
    )
    weight_decay: float = Field(0.01, title="Weight decay", ge=0, le=1, description="AdamW's decoupled weight decay.")
    max_length: Literal["auto"] | Annotated[int, Field(ge=8, le=512)] = Field(
        128,
        title="Longest input",
        description="Tokens per text, or per pair of texts, with the special ones; the rest is cut. `auto`: long "
        "enough for 99 % of the training texts.",
        json_schema_extra=choice("Automatic", "Tokens"),
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
        Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]] | None, BeforeValidator(_weights)
    ] = Field(
        None,
        title="Class weights",
        description="`balanced` weighs each class by the inverse of its share; or a weight for each class by name; in "
        "a form, a line such as `insincere = 3` for each class. With `multilabel` a weight counts where a row has the "
        "class; `balanced`: rows without it per row with it.",
        json_schema_extra=_lines_of_weights,
    )
    early_stopping_patience: int | None = Field(
        2,
        title="Patience",
        ge=1,
        description="Stop after this many epochs without a better validation result; empty: never. The best weights "
        "are kept either way.",
        json_schema_extra=choice("Epochs", "Never"),
    )
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker", "tpu"] = Field(
        "auto",
        title="Devices",
        description="What the encoder is trained on; `auto` takes a cluster, a TPU or several GPUs if there are any.",
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        title="Precision",
        description="What the encoder's layers (on a processor: their dense products) are computed in while training; "
        "`auto` takes 16 bits where the device is faster with them. Weights and answers stay in float32.",
    )
    monitor: Monitor = Field(
        "macro_f1", title="Watched metric", description="The validation metric that says which epoch is the best."
    )
    seed: int = Field(42, title="Seed", ge=0, le=2**31 - 1, description="The same seed gives the same model.")
    deterministic: bool = Field(
        True,
        title="Deterministic",
        description="Equal runs give equal models, bit by bit, on the same kind of device. Off, TensorFlow may take "
        "faster operations whose last digits differ from run to run, and ones that have no deterministic form.",
    )

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
