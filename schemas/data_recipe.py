"""The data section of the recipe: where the labelled text comes from, and how it is laid out there."""

import codecs
import contextlib
import re
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from schemas.handoff import SLICE
from schemas.section import Section, from_lines

SAMPLE_LABELS = {"0": "sincere", "1": "insincere"}

Format = Literal["csv", "jsonl", "parquet"]
DATABASES = ("postgresql", "sqlite")
"""Schemes of sources that are asked with a query."""
TFDS = "tfds:"
"""What the handle of a data set of TensorFlow Datasets begins with."""
_LINE = r"^[^=]*[^=\s][^=]*=[^=]*[^=\s][^=]*$"
HandleField = Literal["source", "train", "validation", "test"]
"""The fields that name files."""


def _label_map(value: Any) -> Any:
    """A mapping, also from the lines of a form: `0 = sincere`."""
    line = "a raw label and its class, as in `0 = sincere`"
    return from_lines(value, lambda each: each.split("="), line, "a raw label")


def _lines_or_mapping(schema: dict[str, Any]) -> None:
    line = {"type": "string", "pattern": _LINE, "examples": ["0 = sincere"]}
    mapping = {"type": "object", "additionalProperties": {"type": "string"}}
    # Lines first: that is what a form shows.
    lines = {"title": "Lines", "type": "array", "items": line}
    schema["anyOf"] = [lines, {"title": "Mapping"} | mapping, {"type": "null"}]
    del schema["default"]


class DataRecipe(Section):
    """The labelled text: one source that is split here, or files that are splits already."""

    source: str | None = Field(
        None,
        title="Data source",
        min_length=1,
        description="`sample` (built in), or CSV, TSV, JSONL or Parquet files, which are then split by preprocess: a "
        "path, an http(s) address, or gs://bucket/path; paths and buckets may hold the wildcards `*`, `?`, `[...]` and "
        "`**`. Files may be compressed (.gz, .zst). Or a database: postgresql://host/name or sqlite:///path, with a "
        "query. Or a data set of TensorFlow Datasets: tfds:name/configuration. Leave empty when train and test files "
        "are given.",
    )
    train: str | None = Field(
        None, title="Training files", min_length=1, description="Rows given for training; as for the source."
    )
    validation: str | None = Field(
        None,
        title="Validation files",
        min_length=1,
        description="Rows given for validation; when empty, a part of the training rows is used.",
    )
    test: str | None = Field(None, title="Test files", min_length=1, description="Rows given for the test.")
    query: str | None = Field(
        None,
        title="Query",
        min_length=1,
        description="For a database: the SELECT whose result is the data. It is asked again in every run. User and "
        "password come from the environment (PGUSER, PGPASSWORD, and whatever else libpq knows), or `password_block`.",
    )
    password_block: str | None = Field(
        None,
        title="Password block",
        min_length=1,
        description="Name of the Prefect secret block that holds the password of the PostgreSQL database.",
    )
    split: str | None = Field(
        None,
        title="Split of the data set",
        min_length=1,
        description="For a `tfds:` source: which split it is, or which part (train[:10%], train+validation); when "
        "empty, train. As train, validation and test files, `tfds:` sets give the split of that name.",
    )
    data_dir: str | None = Field(
        None,
        title="Folder of data sets",
        min_length=1,
        description="Where `tfds:` sets lie prepared; when empty, TFDS_DATA_DIR or ~/tensorflow_datasets.",
    )
    download: bool = Field(
        False,
        title="Download data sets",
        description="Whether a `tfds:` set that is not there is downloaded and prepared.",
    )
    text: str = Field("text", title="Text column", min_length=1, description="Name of the column that holds the text.")
    text_pair: str | None = Field(
        None,
        title="Second text column",
        min_length=1,
        description="Name of a column with a second text, where pairs are classified, such as a premise with a "
        "hypothesis or a question with an answer (BERT-like encoders only).",
    )
    label: str = Field("label", title="Label column", min_length=1, description="Name of the column with the label.")
    id: str | None = Field(
        None,
        title="Id column",
        min_length=1,
        description="Name of a column that tells rows apart; it is carried along into quarantine and mistakes.",
    )
    weight: str | None = Field(
        None,
        title="Weight column",
        min_length=1,
        description="Name of a column with a number that says how much a row counts in training, from 0.000001 to "
        "1,000,000. Only their ratios matter. Figures of the evaluation count each row once.",
    )
    slices: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        title="Slice columns",
        description="Names of columns such as language or region; evaluation judges their most frequent values one by "
        "one.",
    )
    group: str | None = Field(
        None,
        title="Group column",
        min_length=1,
        description="Name of a column such as author or thread: rows of one group are put into one split. Rows without "
        "a value are split by their text. Of pairs it may be one of the two texts. Where splits are given as files, "
        "they stay as they are.",
    )
    labels: Annotated[dict[str, str] | None, BeforeValidator(_label_map)] = Field(
        None,
        title="Classes",
        description="Maps each raw label to the name of its class, in class order; in a form, a line such as "
        "`0 = sincere` for each raw label. When empty, every label that occurs is a class.",
        json_schema_extra=_lines_or_mapping,
    )
    unmapped: Literal["quarantine", "drop"] = Field(
        "quarantine",
        title="Other labels",
        description="What becomes of labels that `labels` does not map: their rows are quarantined, or dropped as not "
        "wanted. With `multilabel`, drop leaves the label out of its row.",
    )
    label_separator: str | None = Field(
        None,
        title="Label separator",
        min_length=1,
        description="For `train.task: multilabel`: what stands between the labels of a row; a comma unless given. A "
        "list, in JSONL and Parquet, needs none. A cell with separators alone, or an empty list: none of the classes.",
    )
    format: Format | None = Field(
        None,
        title="File format",
        description="What the files are; when empty, their suffix says it (.csv, .tsv, .jsonl, .ndjson, .parquet).",
    )
    delimiter: str | None = Field(
        None,
        title="Delimiter",
        min_length=1,
        max_length=1,
        description="What stands between the cells of a CSV file; when empty, a tab in .tsv files and a comma in all "
        "others.",
    )
    header: bool = Field(
        True,
        title="Header",
        description="Whether the first line of a CSV file names its columns. Without one, the names are 1, 2, ...",
    )
    quotes: bool = Field(
        True,
        title="Quotes",
        description="Whether quotes around a cell of a CSV file are no part of it. Switch it off where they are text.",
    )
    encoding: str = Field(
        "utf-8",
        title="Encoding",
        min_length=1,
        description="Encoding of CSV and JSONL files, by the name that Python knows it by: utf-8, windows-1252, ...",
    )

    def as_parameters(self) -> dict[str, Any]:
        """As of every section; labels as lines, since a server on PostgreSQL gives a mapping back in another order."""
        values = super().as_parameters()
        lines = [f"{raw} = {name}" for raw, name in (self.labels or {}).items()]
        with contextlib.suppress(ValueError):  # a name with `=`, or with white space around it, cannot stand in a line
            if lines and _label_map(lines) == self.labels:
                values["labels"] = lines
        return values

    @field_validator("source", "train", "validation", "test")
    @classmethod
    def _no_password(cls, handle: str | None) -> str | None:
        # Recipes are shown, logged and published.
        if handle is not None and _may_hold_a_password(handle):
            raise ValueError("user and password do not belong in a recipe; give an address without them")
        return handle

    @field_validator("text", "text_pair", "label", "id", "weight", "group", mode="before")
    @classmethod
    def _number_of_a_column(cls, value: Any) -> Any:
        # YAML reads `1` as a number; columns without a header are named so.
        return str(value) if type(value) is int else value

    @field_validator("slices", mode="before")
    @classmethod
    def _numbers_of_columns(cls, value: Any) -> Any:
        return [str(each) if type(each) is int else each for each in value] if isinstance(value, list) else value

    @field_validator("delimiter")
    @classmethod
    def _no_line_end(cls, value: str | None) -> str | None:
        if value is not None and value in '\r\n"':
            raise ValueError("line ends and the quotation mark cannot stand between cells")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            codec = codecs.lookup(value)
            # Of the codecs that turn text into text or bytes into bytes, and of those that give up at one bad byte,
            # this is all that tells the others apart.
            text: object = codecs.getincrementaldecoder(value)("replace").decode(codec.encode("a")[0] + b"\xff")
        except (AssertionError, LookupError, TypeError, ValueError):
            text = None
        if not isinstance(text, str):
            raise ValueError("no encoding of text is known by this name; for instance utf-8, utf-16 or windows-1252")
        return codec.name

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        if not any(values.get(field) for field in ("source", "train", "validation", "test")):
            values["source"] = "sample"
        if values.get("source") == "sample" and values.get("labels") in (None, []):
            values["labels"] = SAMPLE_LABELS
        return values

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        given = [field for field in self.handles if field != "source"]
        if self.source and given:
            raise ValueError(f"source and {given[0]} exclude each other: give one source, or files that are splits")
        if given and not (self.train and self.test):
            raise ValueError("train and test belong together: give both files, or one source")
        if any(self.handles[name].startswith(tuple(f"{scheme}://" for scheme in DATABASES)) for name in given):
            raise ValueError("a database is asked for one source, which is split here; give splits as files")
        if self.split is not None and not (self.source or "").startswith(TFDS):
            raise ValueError("split has no meaning without a tfds: source; files are splits as train, validation, test")
        if not any(handle.startswith(TFDS) for handle in self.handles.values()):
            for name in ("data_dir", "download"):
                if getattr(self, name):
                    raise ValueError(f"{name} has no meaning without a tfds: data set")
        scheme = (self.source or "").partition("://")[0]
        if self.query is None and scheme in DATABASES:
            raise ValueError(f"query is needed with a {scheme}:// source: the SELECT whose result is the data")
        if self.query is not None and scheme not in DATABASES:
            raise ValueError("query has no meaning without a source such as postgresql://host/name or sqlite:///path")
        if self.password_block is not None and scheme != "postgresql":
            raise ValueError("password_block has no meaning without a postgresql:// source")
        for name in ("text", "text_pair", "label"):
            column = getattr(self, name)
            # A text may stand in several pairs, and be what keeps them together.
            group = None if self.text_pair is not None and name != "label" else self.group
            if column is not None and column in (self.id, self.weight, group, *self.slices):
                raise ValueError(f"the {name} column is named again as id, weight, group or slice: give another one")
        if self.text_pair is not None and self.text_pair in (self.text, self.label):
            raise ValueError("text_pair names the text or label column again: give another one")
        if "length" in self.slices:
            raise ValueError("a slice column cannot be called length: evaluation calls the lengths of the texts so")
        if len(set(self.slices)) < len(self.slices):
            raise ValueError("slices names a column twice")
        if self.group is not None and self.validation is not None:
            raise ValueError("group has no meaning where all splits are given as files")
        if self.unmapped == "drop" and self.labels is None:
            raise ValueError("unmapped has no meaning without labels: every label that occurs is a class")
        if self.labels is not None and len(set(self.labels.values())) < 2:
            raise ValueError("labels must name at least two classes")
        return self

    @property
    def handles(self) -> dict[HandleField, str]:
        """What names files, by field."""
        return {field: getattr(self, field) for field in get_args(HandleField) if getattr(self, field)}

    @property
    def wanted(self) -> dict[str, str]:
        """The columns that are read: what each is called from there on, and its name in the source."""
        more = {
            field: name
            for field in ("text_pair", "id", "weight", "group")
            if (name := getattr(self, field)) is not None
        }
        return {"text": self.text, "label": self.label} | more | {SLICE + name: name for name in self.slices}

    @property
    def kept_together(self) -> Literal["group", "text", "text_pair"] | None:
        """The column of raw rows whose equal values are kept in one split; None where each text goes by itself."""
        if self.group is None:
            return None
        if self.group == self.text:
            return "text"
        return "text_pair" if self.group == self.text_pair else "group"

    @property
    def lists(self) -> bool:
        """Whether a row may have several labels. A complete recipe has a separator where, and only where, it may."""
        return self.label_separator is not None


_MISTYPED_ADDRESS = re.compile(r"(https?|gs|postgresql):/?[^/]", re.IGNORECASE)


def _may_hold_a_password(handle: str) -> bool:
    if "@" not in handle and "password" not in handle.lower():
        return False
    parts = urlsplit(handle)
    try:
        _ = parts.port
    except ValueError:
        # "user:pa/ss@host": the host is taken to end at the slash, and what follows its colon is no port.
        return True
    if parts.scheme == "postgresql":
        given = any("password" in name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True))
        return given or ":" in parts.netloc.rpartition("@")[0] or "@" in parts.path
    return "@" in parts.netloc or _MISTYPED_ADDRESS.match(handle) is not None
