"""The published model as a service uses it: texts in, labels and probability of each class out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from hubtune.errors import InvalidData, ModelNotFound, UnsupportedModel
from hubtune.inference.replacements import Replacement

if TYPE_CHECKING:
    from numpy.typing import NDArray

Engine = Literal["onnx", "tensorflow"]
Task = Literal["multiclass", "multilabel"]
Text = str | tuple[str, str]
"""What is classified: a text, or for a model of pairs two of them."""

FORMAT = 3
"""Version of the layout of a published model: raised when an older hubtune could no longer read what is written."""

DECISION = 0.5
"""Probability from which on a text belongs to a class, where it may belong to several."""

NORMALISATION = 1
"""Version of `hubtune.inference.normalise`: raised when it, or a replacement, gives another text for any text."""

DESCRIPTION = "classifier.json"
_FILES: dict[Engine, tuple[str, ...]] = {
    "onnx": (DESCRIPTION, "model.onnx", "tokenizer/"),
    "tensorflow": (DESCRIPTION, "saved_model.pb", "variables/", "assets/"),
}


class Description(BaseModel):
    """`classifier.json` of a published model.

    `task` is missing in format 1, which knew one task only, `replace` and `pairs` up to format 2. `max_length` counts
    tokens, special ones included; it is None where the model takes text and not tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    name: str
    task: Task = "multiclass"
    interface: Literal["bert_encoder", "text_embedding"]
    engine: Engine
    labels: list[str]
    max_length: int | None
    normalisation: int
    replace: list[Replacement] = []
    pairs: bool = False


@dataclass(frozen=True)
class Prediction:
    """The answer for one text, or one pair of texts.

    Args:
        text: the text; of a pair, the first one.
        label: the most probable class; None where a text may belong to several (`multilabel`).
        probabilities: of each class. They add up to 1; with `multilabel` each class has a probability of its own.
        labels: the classes that the text belongs to: `label` alone; with `multilabel` those whose probability is at
            least 0.5, in class order, which may be none.
        text_pair: the second text of a pair; None where texts are single.
    """

    text: str
    label: str | None
    probabilities: dict[str, float]
    labels: list[str]
    text_pair: str | None = None

    def to_json(self) -> dict[str, object]:
        """What was answered, as plain JSON values: `label`, or with `multilabel` `labels`, and `probabilities`."""
        said = {"labels": self.labels} if self.label is None else {"label": self.label}
        return {**said, "probabilities": self.probabilities}


class _Answers(Protocol):
    def probabilities(self, texts: Sequence[str], seconds: Sequence[str] | None) -> "NDArray[np.float32]": ...


class Classifier:
    """A published text classifier.

    Example:
        classifier = Classifier.load("insincere-questions")
        classifier.predict(["Why is the sky blue?"])[0].label

    A model of pairs takes a tuple in the place of each text: `predict([("It rains.", "The street is wet.")])`.

    Args:
        description: what is known of the model.
        engine: what computes probabilities from texts.
    """

    def __init__(self, description: Description, engine: _Answers) -> None:
        self.name = description.name
        self.task = description.task
        self.labels = list(description.labels)
        self.pairs = description.pairs
        self._engine = engine

    @classmethod
    def load(cls, name: str, version: int | None = None, store: str | None = None) -> Self:
        """Load a version of a published model; only the files that are needed are fetched.

        Args:
            name: the name that it was published under.
            version: the version's number; None for the newest.
            store: root of the artifact store; None for `HUBTUNE_STORE`, or else the default.

        Returns:
            The classifier.

        Raises:
            ModelNotFound: there is no such model or version.
            NeedsTensorFlow: the model was published as a SavedModel alone, and TensorFlow is not installed.
            UnsupportedModel: the model was published by a newer hubtune.
        """
        from hubtune.storage import PublishedModel, Store

        published = PublishedModel(Store.open(store), name)
        version = published.latest() if version is None else version
        folder = published.checkout(version, only=lambda path: path == DESCRIPTION)
        files = _FILES[read_description(folder).engine]
        return cls.from_folder(published.checkout(version, only=lambda path: path.startswith(files)))

    @classmethod
    def from_folder(cls, folder: Path, engine: Engine | None = None) -> Self:
        """Load a published model from its own folder.

        Args:
            folder: the folder that holds `classifier.json`.
            engine: `onnx` or `tensorflow`; None for the one that the model was published for.

        Returns:
            The classifier.

        Raises:
            ModelNotFound: the folder holds no published model.
            NeedsTensorFlow: TensorFlow is needed and not installed.
            UnsupportedModel: the model was published by a newer hubtune.
            CorruptArtifact: a file of the model does not load.
        """
        description = read_description(folder)
        if (engine or description.engine) == "tensorflow":
            from hubtune.inference.saved_model import SavedModelEngine

            return cls(description, SavedModelEngine(folder, description.name))
        if description.max_length is None:
            raise UnsupportedModel(
                f"{description.name} takes text and not tokens: it has no ONNX model",
                where=str(folder),
                remedy="load it without naming an engine",
            )
        from hubtune.inference.onnx_engine import OnnxEngine

        return cls(
            description, OnnxEngine(folder, description.max_length, len(description.labels), description.replace)
        )

    def predict(self, texts: Sequence[Text]) -> list[Prediction]:
        """Classify texts.

        Args:
            texts: any number of texts, of any length; what is too long for the model is cut. For a model of `pairs`,
                tuples of two.

        Returns:
            One prediction for each text, in the order of the texts.

        Raises:
            InvalidData: something among the texts is not a string, or not a pair of strings.
        """
        answers = self.probabilities(texts)
        rows = [dict(zip(self.labels, row, strict=True)) for row in answers.tolist()]
        asked = [(text, None) if isinstance(text, str) else text for text in texts]
        if self.task == "multilabel":
            return [
                Prediction(text, None, row, [label for label, share in row.items() if share >= DECISION], second)
                for (text, second), row in zip(asked, rows, strict=True)
            ]
        best = [self.labels[position] for position in answers.argmax(axis=1)]
        return [
            Prediction(text, label, row, [label], second)
            for (text, second), label, row in zip(asked, best, rows, strict=True)
        ]

    def probabilities(self, texts: Sequence[Text]) -> "NDArray[np.float32]":
        """Probabilities as an array, for callers that go on computing.

        Args:
            texts: any number of texts, or of pairs.

        Returns:
            float32[texts, classes]; classes in the order of `labels`. Each row adds up to 1, but with `multilabel`.

        Raises:
            InvalidData: something among the texts is not a string, or not a pair of strings.
        """
        if isinstance(texts, str):
            raise InvalidData(
                f"texts must be a list of strings, not one string: {_shortened(texts)}",
                where="Classifier.predict",
                remedy="put the text into a list: predict([text])",
            )
        if not texts:
            return np.zeros((0, len(self.labels)), np.float32)
        if self.pairs:
            firsts, seconds = zip(*map(_require_pair, range(len(texts)), texts), strict=True)
            return self._engine.probabilities(firsts, seconds)
        return self._engine.probabilities([_require_text(*each) for each in enumerate(texts)], None)


def _require_text(position: int, text: object) -> str:
    if isinstance(text, str):
        return text
    remedy = "pass strings; leave missing values out, or pass an empty string for them"
    if isinstance(text, tuple | list):
        remedy = "pass single strings: the model was not trained on pairs of texts"
    raise InvalidData(
        f"text {position} is no string but {type(text).__name__}: {_shortened(text)}",
        where="Classifier.predict",
        remedy=remedy,
    )


def _require_pair(position: int, pair: object) -> tuple[str, str]:
    if isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(text, str) for text in pair):
        return pair[0], pair[1]
    raise InvalidData(
        f"item {position} is no pair of strings: {_shortened(pair)}",
        where="Classifier.predict",
        remedy='the model was trained on pairs of texts: pass tuples, as in predict([("a text", "another")])',
    )


def read_description(folder: Path) -> Description:
    """Read `classifier.json` of a published model.

    Args:
        folder: the folder that the model lies in.

    Returns:
        What is known of the model.

    Raises:
        ModelNotFound: the folder holds no published model.
        UnsupportedModel: this hubtune cannot use the model.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "give the folder of a published version, or load the model by its name: Classifier.load(name)"
        raise ModelNotFound(f"there is no published model in {str(folder)!r}", where=str(path), remedy=remedy) from None
    except ValueError as error:
        raise UnsupportedModel(f"{DESCRIPTION} is no JSON: {error}", where=str(path), remedy="publish again") from None
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise UnsupportedModel(
            f"the model was published in format {written}; this hubtune reads up to format {FORMAT}",
            where=str(path),
            remedy="upgrade: pip install --upgrade hubtune",
        )
    try:
        description = Description.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise UnsupportedModel(
            f"{DESCRIPTION} does not describe a model: {field}: {first['msg']}", where=str(path), remedy="publish again"
        ) from None
    if description.normalisation != NORMALISATION:
        raise UnsupportedModel(
            f"the model was trained on texts normalised by rules {description.normalisation}; this hubtune has rules "
            f"{NORMALISATION}, and its answers would not be those that were evaluated",
            where=str(path),
            remedy="retrain with this hubtune, or install the one that published the model",
        )
    return description


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
