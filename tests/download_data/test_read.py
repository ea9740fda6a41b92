import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from hubtune.errors import InvalidData, SourceNotFound
from schemas.data_recipe import DataRecipe
from schemas.handoff import RawFacts
from tasks.download_data import read as reading
from tasks.download_data import sample
from tasks.download_data.read import check_source, read, source_fingerprint

ROWS = "text,label\nHow tall is it?,0\nWho cares?,1\n"
SPLITS = ("train", "validation", "test")


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / f"raw{number}" for number in range(100))


def rows(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / "rows").glob("*.parquet")), glob=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_source_has_no_splits(tmp_path: Path, folders: Iterator[Path]) -> None:
    (tmp_path / "data.csv").write_text(ROWS)
    lines: list[str] = []
    folder = next(folders)
    facts = read(DataRecipe(source=str(tmp_path / "data.csv")), folder, lines.append)
    assert facts == RawFacts(rows=2, files=1, given_splits=False)
    assert rows(folder).rows() == [
        (1, "data.csv", None, "How tall is it?", "0"),
        (2, "data.csv", None, "Who cares?", "1"),
    ]
    assert rows(folder).schema == {
        "row": pl.Int64,
        "source": pl.String,
        "split": pl.String,
        "text": pl.String,
        "label": pl.String,
    }
    assert "data.csv" in lines[-1]
    assert "2 rows" in lines[-1]


def test_lists_are_read_where_a_row_may_have_several_labels(tmp_path: Path, folders: Iterator[Path]) -> None:
    (tmp_path / "a.csv").write_text('text,label\nHow?,"0, 1"\n')
    (tmp_path / "b.jsonl").write_text('{"text": "Why?", "label": [1, 0]}\n')
    files = {"train": str(tmp_path / "a.csv"), "test": str(tmp_path / "b.jsonl")}
    several = DataRecipe.model_validate(files | {"label_separator": ","})
    check_source(several)
    folder = next(folders)
    read(several, folder, lambda line: None)
    assert rows(folder)["label"].to_list() == ["0, 1", '["1", "0"]']
    with pytest.raises(InvalidData, match="'label' is nested"):
        check_source(DataRecipe.model_validate(files))


def test_given_splits_are_kept_apart(tmp_path: Path, folders: Iterator[Path]) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    (tmp_path / "b.jsonl").write_text('{"text": "Why?", "label": 1}\n')
    pl.DataFrame({"text": ["How?"], "label": [0]}).write_parquet(tmp_path / "c.parquet")
    recipe = DataRecipe(
        train=str(tmp_path / "a.csv"), test=str(tmp_path / "b.jsonl"), validation=str(tmp_path / "c.parquet")
    )
    folder = next(folders)
    assert read(recipe, folder, print) == RawFacts(rows=4, files=3, given_splits=True)
    assert rows(folder).select("source", "row", "split").rows() == [
        ("a.csv", 1, "train"),
        ("a.csv", 2, "train"),
        ("c.parquet", 1, "validation"),
        ("b.jsonl", 1, "test"),
    ]


def test_the_handle_may_be_a_file_address_or_begin_with_a_tilde(
    tmp_path: Path, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.CSV").write_text(ROWS)
    monkeypatch.setenv("HOME", str(tmp_path))
    for handle in (f"file://{tmp_path}/data.CSV", "~/data.CSV"):
        assert read(DataRecipe(source=handle), next(folders), print).rows == 2


def test_rows_are_cut_into_shards(tmp_path: Path, folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SHARD_ROWS", 3)
    table = pl.DataFrame({"text": [f"Question {number}?" for number in range(10)], "label": [0, 1] * 5})
    table.write_csv(tmp_path / "data.csv")
    table.write_ndjson(tmp_path / "data.jsonl")
    table.write_parquet(tmp_path / "data.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        folder = next(folders)
        read(DataRecipe(source=str(tmp_path / f"data.{suffix}")), folder, print)
        assert len(contents(folder)) == 4
        assert rows(folder)["row"].to_list() == list(range(1, 11))
        assert rows(folder)["text"].to_list() == table["text"].to_list()
        assert rows(folder)["label"].to_list() == ["0", "1"] * 5


def test_equal_bytes_give_equal_files_whatever_the_folder_time_and_process(
    tmp_path: Path, folders: Iterator[Path]
) -> None:
    here, there = tmp_path / "here" / "data.csv", tmp_path / "there" / "data.csv"
    for path in (here, there):
        path.parent.mkdir()
    shutil.copy(sample.PATH, here)
    shutil.copy(sample.PATH, there)
    os.utime(there, (1, 1))
    first, second = next(folders), next(folders)
    read(DataRecipe(source=str(here)), first, print)
    program = (
        "import sys, pathlib; from schemas.data_recipe import DataRecipe; from tasks.download_data.read import read;"
        "read(DataRecipe(source=sys.argv[1]), pathlib.Path(sys.argv[2]), print)"
    )
    subprocess.run([sys.executable, "-c", program, str(there), str(second)], check=True, stdout=subprocess.DEVNULL)
    assert contents(first) == contents(second)
    assert source_fingerprint(DataRecipe(source=str(here))) == source_fingerprint(DataRecipe(source=str(there)))


def test_fingerprint_follows_content_and_name(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(ROWS)
    before = source_fingerprint(DataRecipe(source=str(path)))
    assert before is not None
    assert before["files"][0]["name"] == "data.csv"
    path.write_text(ROWS + "Really?,1\n")
    assert source_fingerprint(DataRecipe(source=str(path))) != before


def test_fingerprint_is_cheap_to_import() -> None:
    program = (
        "import sys, tasks.download_data.read; print([name for name in ('polars', 'prefect') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("check", ["read", "fingerprint"])
def test_missing_file(tmp_path: Path, check: str) -> None:
    recipe = DataRecipe(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    with pytest.raises(SourceNotFound, match=r"train\.csv does not exist[\s\S]*data\.train"):
        source_fingerprint(recipe) if check == "fingerprint" else read(recipe, tmp_path / "raw", print)


def test_folder_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="is a folder"):
        source_fingerprint(DataRecipe(source=str(tmp_path)))
    (tmp_path / "data.xlsx").write_text("x")
    with pytest.raises(InvalidData, match=r"'\.xlsx'[\s\S]*\.csv, \.jsonl, \.ndjson, \.parquet or \.tsv"):
        source_fingerprint(DataRecipe(source=str(tmp_path / "data.xlsx")))
    (tmp_path / "data").write_text("x")
    with pytest.raises(InvalidData, match="no suffix"):
        source_fingerprint(DataRecipe(source=str(tmp_path / "data")))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.csv", b"", "empty"),
        ("data.csv", b"\n\n  \n", "empty"),
        ("data.csv", b"text,label\n", "no rows"),
        ("data.jsonl", b"\n", "empty"),
        ("data.csv", b"PK\x03\x04rest", "ZIP archive or an Excel workbook"),
        ("data.csv", b"PAR1rest", "a Parquet file"),
        ("data.jsonl", b"\x1f\x8brest", "gzip-compressed"),
        ("data.csv", bytes(range(256)) * 8, "binary"),
        ("data.csv", ROWS.encode("utf-16"), r"UTF-16[\s\S]*Set data.encoding to utf-16"),
        ("data.csv", ROWS.encode("utf-32"), "UTF-32"),
        ("data.csv", ROWS.encode("utf-16-le"), "UTF-16"),
        (
            "data.csv",
            "text,label\nОткуда ветер?,0\nЗачем?,1\n".encode("cp1251"),
            r"in another one \(perhaps[\s\S]*data.encoding",
        ),
        ("data.jsonl", '{"text": "Où?", "label": 0}\n'.encode("latin-1"), "in another one"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidData, match=message) as caught:
        read(DataRecipe(source=str(tmp_path / name)), tmp_path / "raw", print)
    assert name in caught.value.where
    assert caught.value.remedy


def test_some_undecodable_rows_are_read(tmp_path: Path, folders: Iterator[Path]) -> None:
    (tmp_path / "data.csv").write_bytes(b"text,label\ncaf\xe9?,0\nHow?,0\nWho?,1\nWhy?,1\n")
    folder = next(folders)
    read(DataRecipe(source=str(tmp_path / "data.csv")), folder, print)
    assert rows(folder)["text"].to_list() == ["caf\ufffd?", "How?", "Who?", "Why?"]


@pytest.mark.parametrize("handle", ["~nouser/data.csv", "x" * 300 + ".csv", "x/" * 3000 + "data.csv", "a\0b.csv"])
def test_paths_that_no_file_can_have(handle: str) -> None:
    for check in (source_fingerprint, check_source):
        with pytest.raises(SourceNotFound, match="does not exist") as caught:
            check(DataRecipe(source=handle))
        assert "data.source" in caught.value.where


def test_whole_sources_pass_the_check(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,kind\na,b,c\n")  # what is wrong with rows is found when they are read
    (tmp_path / "b.jsonl").write_text('{"id": 1}\n\n{"kind": 1}\n{"question": "Why?"}\nno JSON\n')
    pl.DataFrame({"question": ["How?"], "kind": [0]}).write_parquet(tmp_path / "c.parquet")
    paths = {split: str(tmp_path / name) for split, name in zip(SPLITS, ("a.csv", "b.jsonl", "c.parquet"), strict=True)}
    check_source(DataRecipe(**paths, text="question", label="kind"))
    check_source(DataRecipe(source="sample"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", b"text,lable\na,0\n"),
        ("data.csv", b"text;label\na;0\n"),
        ("data.csv", b""),
        ("data.csv", b'"text,label\na,0\n'),
        ("data.csv", ROWS.encode("utf-16")),
        ("data.csv", b"PK\x03\x04rest"),
        ("data.jsonl", b'{"text": "a"}\n{"txt": "b", "lable": 0}\n'),
        ("data.ndjson", b"text,label\n"),
        ("data.jsonl", b"[1]\n"),
        ("data.jsonl", b'{"text": ["a"], "label": 0}\n'),
        ("data.parquet", b"text,label\n"),
        ("data.xlsx", b"x"),
    ],
)
def test_the_check_refuses_as_reading_does(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused_alike(DataRecipe(source=str(tmp_path / name)), tmp_path / "raw")


@pytest.mark.parametrize("columns", [{"text": ["a"], "lable": [0]}, {"text": [["a"]], "label": [0]}])
def test_the_check_refuses_parquet_as_reading_does(tmp_path: Path, columns: dict[str, list[object]]) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "data.parquet")
    refused_alike(DataRecipe(source=str(tmp_path / "data.parquet")), tmp_path / "raw")


def refused_alike(recipe: DataRecipe, folder: Path) -> None:
    with pytest.raises(InvalidData) as checked:
        check_source(recipe)
    with pytest.raises(InvalidData) as was_read:
        read(recipe, folder, print)
    assert str(checked.value) == str(was_read.value)


def test_the_check_reads_the_beginning_and_imports_no_polars(tmp_path: Path) -> None:
    for name, head, line in (
        ("a.csv", "text,label\n", "Why?,0\n"),
        ("b.jsonl", '{"text": "How?", "label": "1"}\n', '{"text": "How?", "label": "1"}\n'),
    ):
        (tmp_path / name).write_text(head + line * 20_000)
        os.truncate(tmp_path / name, 20_000_000_000)  # the rest is a hole: it is never read
    program = (
        "import sys; from schemas.data_recipe import DataRecipe; from tasks.download_data.read import check_source;"
        "check_source(DataRecipe(train=sys.argv[1], test=sys.argv[2]));"
        "print([name for name in ('polars', 'prefect') if name in sys.modules])"
    )
    paths = [str(tmp_path / "a.csv"), str(tmp_path / "b.jsonl")]
    result = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True, timeout=30
    )
    assert result.stdout.strip() == "[]"


def test_the_check_leaves_the_limit_of_cells_as_it_was(tmp_path: Path) -> None:
    usual = csv.field_size_limit()
    (tmp_path / "data.csv").write_text("text,lable\na,0\n")
    with pytest.raises(InvalidData) as caught:
        check_source(DataRecipe(source=str(tmp_path / "data.csv")))
    assert caught.value.remedy
    assert csv.field_size_limit() == usual
