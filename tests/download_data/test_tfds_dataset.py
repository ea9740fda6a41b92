"""Data sets that TensorFlow Datasets really prepared."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hubtune.errors import InvalidData, SourceUnavailable
from schemas.data_recipe import DataRecipe
from tasks.download_data.read import check_source, read, source_fingerprint
from tests.download_data.make_tfds import TEST, TRAIN

pytestmark = pytest.mark.slow
HANDLE = "tfds:tiny_questions/plain"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    command = [sys.executable, "-m", "tests.download_data.make_tfds", str(folder)]
    ended = subprocess.run(command, env=os.environ | {"TF_USE_LEGACY_KERAS": "1"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


def rows(folder: Path, prepared: Path, **fields: Any) -> pl.DataFrame:
    recipe = DataRecipe.model_validate({"source": HANDLE, "data_dir": str(prepared)} | fields)
    read(recipe, folder, lambda line: None)
    return pl.read_parquet(sorted((folder / "rows").glob("*.parquet")), glob=False)


def test_classes_become_their_names(prepared: Path, tmp_path: Path) -> None:
    table = rows(tmp_path / "raw", prepared)
    assert set(table.select("text", "label").rows()) == {(text, ["no", "yes"][label]) for text, label in TRAIN}
    assert set(table["source"]) == {HANDLE}
    again = rows(tmp_path / "again", prepared)
    assert again.equals(table)


def test_given_splits_are_those_of_the_data_set(prepared: Path, tmp_path: Path) -> None:
    table = rows(tmp_path / "raw", prepared, source=None, train=HANDLE, test=f"{HANDLE}:1.2.0")
    # -1 means that there is no class.
    expected = {(text, {-1: None, 1: "yes"}[label], "test") for text, label in TEST}
    assert set(table.filter(pl.col("split") == "test").select("text", "label", "split").rows()) == expected
    assert table.height == len(TRAIN) + len(TEST)


@pytest.mark.parametrize(("split", "count"), [("train[:25%]", 10), ("train[30:]+test", 12), ("test", 2)])
def test_a_part_of_the_splits(split: str, count: int, prepared: Path, tmp_path: Path) -> None:
    assert rows(tmp_path / "raw", prepared, split=split).height == count


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"label": "number"}, "0"),
        ({"label": "share"}, "0"),
        ({"label": "odd"}, "false"),
        ({"label": "tags", "label_separator": ","}, "[]"),
    ],
)
def test_columns_of_other_kinds(fields: dict[str, Any], first: str, prepared: Path, tmp_path: Path) -> None:
    table = rows(tmp_path / "raw", prepared, **fields)
    assert table.filter(pl.col("text") == "Is 0 a prime?")["label"].to_list() == [first]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "validation"}, "no split 'validation'; the splits are: test, train"),
        ({"split": "train[:"}, "no split"),
        ({"split": "train[:0%]"}, "holds no rows"),
        ({"label": "pixels"}, "no column 'pixels'; the columns are:"),
        ({"label": "tags"}, "'tags' is nested"),
        (
            {"source": "tfds:tiny_questions/third"},
            "tiny_questions/third is not prepared in .*; there: tiny_questions/other, tiny_questions/plain",
        ),
        ({"source": "tfds:tiny_questions/plain:9.0.0"}, "is not prepared"),
        ({"source": "tfds:../../etc"}, "names no data set"),
    ],
)
def test_what_is_not_there_is_told(fields: dict[str, Any], message: str, prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=message) as caught:
        rows(tmp_path / "raw", prepared, **fields)
    assert caught.value.remedy
    assert caught.value.where


def test_files_of_another_format_are_told(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="stored as array_record"):
        rows(tmp_path / "raw", prepared / "array")


def test_the_fingerprint_follows_the_files_and_takes_no_tensorflow(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    recipe = DataRecipe(source=HANDLE)
    check_source(recipe)
    before = source_fingerprint(recipe)
    assert source_fingerprint(recipe) == before
    assert source_fingerprint(DataRecipe(source=HANDLE, split="test")) != before
    (file,) = prepared.glob("tiny_questions/plain/1.2.0/*test*")
    os.utime(file, (1, 1))
    assert source_fingerprint(recipe) != before
    program = (
        "import sys; from schemas.data_recipe import DataRecipe\n"
        "from tasks.download_data.read import source_fingerprint\n"
        f"source_fingerprint(DataRecipe(source={HANDLE!r})); print('tensorflow' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_a_data_set_that_nobody_knows_is_told(tmp_path: Path) -> None:
    recipe = DataRecipe(source="tfds:no_such_set", data_dir=str(tmp_path), download=True)
    with pytest.raises(InvalidData, match="knows no no_such_set"):
        source_fingerprint(recipe)


def test_one_of_several_configurations_has_to_be_named(tmp_path: Path) -> None:
    recipe = DataRecipe(source="tfds:imdb_reviews", data_dir=str(tmp_path), download=True)
    with pytest.raises(InvalidData, match=r"several configurations: .*plain_text[\s\S]*tfds:imdb_reviews/plain_text"):
        source_fingerprint(recipe)


def test_without_a_network_it_is_told_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody listens there; TensorFlow Datasets itself would try for 200 s.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    recipe = DataRecipe(source="tfds:glue/sst2", data_dir=str(tmp_path), download=True)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match="could not be downloaded") as caught:
        source_fingerprint(recipe)
    assert time.monotonic() - started < 60
    assert "data.data_dir" in caught.value.remedy


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "a.csv", "split": "train"}, "split has no meaning"),
        ({"source": "a.csv", "download": True}, "download has no meaning"),
        ({"source": "a.csv", "data_dir": "/x"}, "data_dir has no meaning"),
        ({"train": HANDLE, "test": HANDLE, "split": "train"}, "split has no meaning"),
    ],
)
def test_impossible_combinations(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataRecipe.model_validate(fields)
