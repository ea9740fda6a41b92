"""Writes `rows` artifacts that a test writes down."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from tasks.preprocess.split import text_key

Rows = Sequence[tuple[str, str | list[str]]]
Write = Callable[..., Path]


def written(folder: Path, rows: Rows, classes: Sequence[str]) -> Path:
    """Write the training rows (text, class or classes) as an artifact of kind `rows` has them."""
    several = any(isinstance(label, list) for _, label in rows)
    labels = [
        [classes.index(name) for name in label] if isinstance(label, list) else classes.index(label)
        for _, label in rows
    ]
    schema = {"key": pl.Binary, "text": pl.String, "label": pl.List(pl.Int32) if several else pl.Int32}
    keys = [text_key(text) for text, _ in rows]
    table = pl.DataFrame({"key": keys, "text": [text for text, _ in rows], "label": labels}, schema=schema)
    table.write_parquet(folder / "train.parquet")
    (folder / "labels.json").write_text(json.dumps(classes), encoding="utf-8")
    return folder


@pytest.fixture
def write(tmp_path_factory: pytest.TempPathFactory) -> Write:
    def write(rows: Rows, classes: Sequence[str] = ("no", "yes")) -> Path:
        return written(tmp_path_factory.mktemp("rows"), rows, classes)

    return write
