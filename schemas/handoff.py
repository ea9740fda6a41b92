"""What blocks hand to each other: the facts that travel with an artifact, one model for each kind.

Facts are few, small, and follow from the artifact's content alone. The content itself is read from the store. The
docstrings say which files an artifact of that kind holds: that is the contract between two blocks.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from schemas.train_recipe import Task

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

TEXTS = ("text", "text_pair")
"""The columns of raw rows that hold texts; the second one is there for pairs alone."""
SLICE = "slice."
"""What the name of a slice column begins with in artifacts, so that it is no other column's name."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFacts(_Facts):
    """A pretrained model, ready to train on (kind `model`).

    Files of a `bert_encoder`: `encoder/` (SavedModel: input_word_ids, input_mask, input_type_ids -> pooled_output,
    sequence_output, ...), `preprocessor/` (SavedModel: string -> those three), `tokenizer/` (read by
    `hubtune.inference.tokenizer`), and, where `tasks.bert` built the encoder, `architecture.json`. Files of a
    `text_embedding`: `module/` (SavedModel: string[n] -> float32[n, width]).
    """

    interface: Literal["bert_encoder", "text_embedding"]
    width: int
    layers: int | None = None
    parameters: int
    trainable: bool
    vocabulary: int | None = None
    max_positions: int | None = None
    pairs: bool | None = None
    """Whether encoder and preprocessor take two segments; None where nobody looked."""


class RawFacts(_Facts):
    """Rows as they came (kind `raw`).

    Files: Parquet shards `rows/00000.parquet`, ... with the columns `row` (int64, 1-based record number in its
    file), `source` (name of that file), `split` (null, or train, validation, test), `text` and `label` (strings, null
    where the source has none; a list of labels is a JSON array of strings); `text_pair`, `id`, `weight`, `group` and
    `slice.<name>` (strings) where the recipe names such columns.
    """

    rows: int
    files: int
    given_splits: bool


class TextsFacts(_Facts):
    """What is told of the texts of a shard of raw rows by themselves, on a cluster (kind `texts`).

    Files: `texts.parquet`, a row for each of the shard, with the columns `clean` (the normalised text) and `key` (its
    hash); `buckets/00000.parquet`, ... what the rows are judged by, without texts: `index` (position among all rows),
    `row`, `source`, `split`, `label` and `weight` of the raw rows, and the other columns that `tasks.preprocess.texts`
    gives. Which bucket a row is in follows from its key, so that copies of a text are in the same one; rows without a
    key, whose text cannot be read, are spread.
    """

    rows: int


class VerdictsFacts(_Facts):
    """What became of the raw rows of a bucket, on a cluster (kind `verdicts`).

    File: `verdicts.parquet`, a row for each in their order, without texts: `index`, `row`, `source`, `split`, `label`
    and, where there are weights, `weight` as in `texts`; `reason` (null: it is kept), `first_copy` (index of the copy
    that it was left out for), `classes` and `unknown` (JSON arrays: its classes; its labels that are none), `assigned`
    (its split; with `exact_shares` its `position`, by which the ranks are found later), `characters`, `words`, `counts`
    (the weight as a number, where there are weights), and `broken` (null).
    """

    rows: int


class RowsFacts(_Facts):
    """Clean rows (kind `rows`).

    Files: `train.parquet`, `validation.parquet`, `test.parquet` with the columns `key` (binary(16), hash of the
    normalised text), `text` (normalised; of a pair both, as `hubtune.inference.pairs` joins them), `label` (index into
    the classes, int32; with `multilabel` a list of them, ascending, which may be empty), `weight` (float64) where the
    recipe names such a column, and `id` and `slice.<name>` as they came; `labels.json` (class names in order);
    `replace.json` (what was replaced in the texts), where anything is to be.
    """

    train: int
    validation: int
    test: int
    labels: list[str]
    task: Task = "multiclass"


class QuarantineFacts(_Facts):
    """Rows that were turned away, and the report on all rows (kind `quarantine`).

    Files: `quarantine.parquet` (row, source, reason, broken, text, label; `broken` says which check of a contract the
    row breaks; and `text_pair`, `id`, `weight` and `slice.<name>` of the raw rows), `report.json`, `report.md` and
    `report.html` (both with plots inside). Rows whose label is not wanted (`dropped`) are in the counts alone.
    """

    rows_in: int
    rows_out: int
    quarantined: int
    duplicates: int
    near_duplicates: int = 0
    dropped: int = 0
    reasons: dict[str, int]


class DriftFacts(_Facts):
    """How far the training rows are from those that the latest published version was trained on (kind `drift`).

    Files: `drift.json` (the figures, what moved them most, the shares of all classes and lengths), `report.md` and
    `report.html` (both with plots inside). `reference` is the digest of the `rows` artifact that this run's rows were
    compared with; `by_chance` says what each figure would be where nothing but chance differs.
    """

    reference: str
    labels: float
    length: float
    vocabulary: float
    words: float
    by_chance: dict[str, float]


class TokensFacts(_Facts):
    """Token ids of every text (kind `tokens`).

    Files: `train.parquet`, `validation.parquet`, `test.parquet` with the columns `key`, `ids` (list of int32, special
    tokens included), `first` (int32, where texts are pairs: how many of the ids belong to the first text), `label` and
    `weight` (as the clean rows have them).
    """

    texts: int
    tokens: int
    longest: int
    max_length: int


class TextsToEmbedFacts(_Facts):
    """Which texts have no embedding yet (kind `texts_to_embed`). File: `keys.npy` (uint8[n, 16], in their order)."""

    texts: int


class EmbeddingsFacts(_Facts):
    """Embeddings of texts that had none yet (kind `embeddings`).

    Files: `keys.npy` (uint8[n, 16]), `vectors.npy` (float32[n, width]), row i of one belonging to row i of the other.
    """

    texts: int
    width: int


class Metrics(_Facts):
    """How good a classifier is on one split."""

    rows: int
    loss: float
    accuracy: float
    macro_f1: float


class ClassifierFacts(_Facts):
    """A trained classifier (kind `classifier`).

    Files: `head.safetensors`; `encoder.safetensors` (every encoder variable that was trained, where any was);
    `classifier.json` (all that is needed to build it again); `history.json` (one entry per epoch: `epoch`, `step`,
    `learning_rate`, `train_loss`, `validation` with the metrics by name, `best`); `steps.parquet` (`step` int64, `loss`
    and `learning_rate` float32, one row for each optimiser step); `answers/validation.parquet` and
    `answers/test.parquet` (`key`, `label` as the clean rows have it, `logits`: list of float32, one for each class; in
    the order of the keys). Probabilities are the softmax of the logits; with `multilabel`, the sigmoid of each.
    """

    mode: str
    labels: list[str]
    epochs: int
    best_epoch: int
    parameters: int
    trained_parameters: int
    precision: Literal["float32", "bfloat16", "float16"]


class EvaluationFacts(_Facts):
    """How good a classifier is on the validation and the test split (kind `evaluation`).

    Files: `evaluation.json` (every figure), `mistakes.parquet` (the most confident ones, with multilabel single
    decisions), `report.md`, `report.html` (both with plots inside).
    """

    metrics: dict[Split, Metrics]


class TensorBoardFacts(_Facts):
    """Logs of a training for TensorBoard (kind `tensorboard`). Files: one folder of event files for each split."""

    epochs: int


class ReleaseFacts(_Facts):
    """A classifier in the form in which it is published (kind `release`).

    Files: `saved_model.pb`, `variables/`, `assets/` (text in; `probabilities` and `label` out, or with multilabel
    `labels`: for each class its name, or "" where it is not predicted); `model.onnx` and `tokenizer/` (absent where
    ONNX cannot express the model); `classifier.json` (what `hubtune.inference` needs: task,
    labels, engine, maximal length); `recipe.yaml`, `metrics.json`, `README.md` (the model card).
    """

    name: str
    labels: list[str]
    engine: Literal["onnx", "tensorflow"]
    metrics: dict[Split, Metrics]
