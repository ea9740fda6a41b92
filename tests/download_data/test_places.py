"""Where data may lie: compressed files, many files, an HTTP server, a bucket."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from backports import zstd

from hubtune.errors import InvalidData, SourceNotFound, SourceUnavailable
from schemas.data_recipe import DataRecipe
from tasks import http
from tasks.download_data.read import check_source, read, source_fingerprint
from tests.gcs_fake import FaultKind, GcsFake
from tests.gcs_fake import gcs as gcs  # a fixture
from tests.http_server import body, running, status

ROWS = b"text,label\nHow tall is it?,0\nWho cares?,1\n"
OTHER_ROWS = b"text,label\nSince when?,0\n"


def rows(source: str, folder: Path, **fields: Any) -> list[tuple[str, int, str]]:
    """(file, row, text) of each row that is read."""
    read(DataRecipe.model_validate({"source": source} | fields), folder, lambda line: None)
    table = pl.read_parquet(sorted((folder / "rows").glob("*.parquet")), glob=False)
    assert [path.name for path in folder.iterdir()] == ["rows"]
    return table.select("source", "row", "text").rows()


def of(*names: str) -> list[tuple[str, int, str]]:
    return [(name, row, text) for name in names for row, text in ((1, "How tall is it?"), (2, "Who cares?"))]


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda content: zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1}),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_files(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"data.csv{suffix}"
    file.write_bytes(PACKED[suffix](ROWS))
    check_source(DataRecipe(source=str(file)))
    assert rows(str(file), tmp_path / "raw") == of(file.name)
    objects = tmp_path / f"data.JSONL{suffix.upper()}"
    objects.write_bytes(PACKED[suffix](b'{"text": "Why?", "label": 0}\n' * 3))
    assert len(rows(str(objects), tmp_path / "objects")) == 3


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("damage", ["cut off", "another kind", "flipped"])
def test_damaged_compressed_files(suffix: str, damage: str, tmp_path: Path) -> None:
    # Incompressible enough that damage lies in the data, and not only in what was read of it to look at the header.
    text = "".join(f"Is {number * 7919 % 1_000_003} a prime?,{number % 2}\n" for number in range(50_000)).encode()
    packed = bytearray(PACKED[suffix](b"text,label\n" + text))
    if damage == "cut off":
        del packed[-20:]
    elif damage == "flipped":
        packed[-2] ^= 0xFF  # of the checksum, or of the last block
    else:
        packed = bytearray(ROWS)
    file = tmp_path / f"data.csv{suffix}"
    file.write_bytes(packed)
    with pytest.raises(InvalidData) as caught:
        rows(str(file), tmp_path / "raw")
    assert "cannot be unpacked" in caught.value.what
    assert file.name in caught.value.where
    assert caught.value.remedy


def test_parquet_is_not_compressed_twice(tmp_path: Path) -> None:
    (tmp_path / "data.parquet.gz").write_bytes(b"")
    with pytest.raises(InvalidData, match="compressed as a whole"):
        check_source(DataRecipe(source=str(tmp_path / "data.parquet.gz")))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("?.*", ["a.csv", "b.csv", "c.jsonl"]),
        ("[ac].*", ["a.csv", "c.jsonl"]),
        ("**/*.csv", ["a.csv", "b.csv", "in/a.csv", "in/deep/a.csv"]),
        ("in*/a.csv", ["in/a.csv"]),
        ("in/**/a.csv", ["a.csv", "deep/a.csv"]),
    ],
)
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_many_files(place: str, pattern: str, found: list[str], tmp_path: Path, gcs: GcsFake) -> None:
    gcs.create_bucket("texts")
    for name in ("a.csv", "b.csv", "in/a.csv", "in/deep/a.csv", "in/deep/.csv", "else/x.txt"):
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ROWS)
        gcs.upload("texts", f"data/{name}", ROWS)
    objects = b'{"text": "How tall is it?", "label": 0}\n{"text": "Who cares?", "label": 0}\n'
    (tmp_path / "data" / "c.jsonl").write_bytes(objects)
    gcs.upload("texts", "data/c.jsonl", objects)
    base = f"{tmp_path}/data" if place == "folder" else "gs://texts/data"
    assert rows(f"{base}/{pattern}", tmp_path / "raw") == of(*found)
    with pytest.raises(InvalidData, match="No file matches"):
        rows(f"{base}/*.tsv", tmp_path / "none")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    for name in ("a[1].csv", "a1.csv"):
        (tmp_path / name).write_bytes(ROWS)
    pl.DataFrame({"text": ["Why?"], "label": [0]}).write_parquet(tmp_path / "b[1].parquet")
    assert rows(str(tmp_path / "a[1].csv"), tmp_path / "raw") == of("a[1].csv")
    assert rows(str(tmp_path / "b[1].parquet"), tmp_path / "parquet") == [("b[1].parquet", 1, "Why?")]


def test_the_pattern_s_files_are_its_fingerprint(tmp_path: Path) -> None:
    pattern = DataRecipe(source=str(tmp_path / "*.csv"))
    (tmp_path / "a.csv").write_bytes(ROWS)
    before = source_fingerprint(pattern)
    (tmp_path / "b.csv").write_bytes(OTHER_ROWS)
    after = source_fingerprint(pattern)
    assert before != after
    (tmp_path / "b.csv").rename(tmp_path / "c.csv")
    assert source_fingerprint(pattern) != after


def test_a_file_on_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_WAIT_SECONDS", 0.01)
    with running() as server:
        server.answers["/exports/data.csv.gz"] = [status(503), body(gzip.compress(ROWS), ETag='"v1"')]
        address = server.address("/exports/data.csv.gz?token=secret")
        recipe = DataRecipe(source=address)
        check_source(recipe)
        assert server.requests == []
        first = source_fingerprint(recipe)
        assert first is not None
        assert (first["files"][0]["name"], first["files"][0]["etag"]) == ("data.csv.gz", '"v1"')
        assert rows(address, tmp_path / "raw") == of("data.csv.gz")
        server.answers["/exports/data.csv.gz"] = [body(gzip.compress(ROWS), ETag='"v2"')]
        assert source_fingerprint(recipe) not in (None, first)
        server.answers["/exports/data.csv.gz"] = [body(gzip.compress(ROWS))]
        assert source_fingerprint(recipe) is None

        server.answers["/exports/data.csv.gz"] = [body(gzip.compress(b"text,lable\na,0\n"))]
        with pytest.raises(InvalidData) as caught:
            rows(address, tmp_path / "wrong")
        server.answers["/exports/data.csv.gz"] = [status(404)]
        with pytest.raises(SourceNotFound, match="404") as missing:
            rows(address, tmp_path / "missing")
        assert "secret" not in f"{caught.value}{missing.value}"
        assert caught.value.where == server.address("/exports/data.csv.gz")


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("https://h.org/data.xlsx?x=.csv", "the suffix '.xlsx'"),
        ("https://h.org/data", "no suffix"),
        ("gs://texts/data.xlsx", "the suffix '.xlsx'"),
        ("ftp://h.org/data.csv", "cannot be fetched from ftp://"),
    ],
)
def test_addresses_that_say_too_little(handle: str, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        check_source(DataRecipe(source=handle))


def test_the_recipe_may_say_what_an_address_does_not(tmp_path: Path) -> None:
    with running() as server:
        server.answers["/export"] = [body(ROWS)]
        address = server.address("/export?id=7")
        check_source(DataRecipe(source=address, format="csv"))
        assert rows(address, tmp_path / "raw", format="csv") == of("export")


def test_an_object_in_a_bucket(tmp_path: Path, gcs: GcsFake) -> None:
    gcs.create_bucket("texts")
    gcs.upload("texts", "deep/data.csv", ROWS)
    recipe = DataRecipe(source="gs://texts/deep/data.csv")
    before = source_fingerprint(recipe)
    gcs.fail("status")
    assert rows("gs://texts/deep/data.csv", tmp_path / "raw") == of("data.csv")
    gcs.upload("texts", "deep/data.csv", ROWS)  # another generation of the same bytes
    assert source_fingerprint(recipe) == before
    gcs.upload("texts", "deep/data.csv", OTHER_ROWS)
    assert source_fingerprint(recipe) != before
    with pytest.raises(SourceNotFound, match="no object gs://texts/deep/dat"):
        rows("gs://texts/deep/dat", tmp_path / "missing", format="csv")
    with pytest.raises(SourceNotFound, match="no bucket 'elsewhere'") as caught:
        rows("gs://elsewhere/data.csv", tmp_path / "nowhere")
    assert not caught.value.retryable
    assert "data.source" in caught.value.where
    gcs.fail("status", status=403, times=20)
    with pytest.raises(SourceNotFound, match=r"403|Forbidden") as forbidden:
        rows("gs://texts/deep/data.csv", tmp_path / "closed")
    assert "Viewer" in forbidden.value.remedy
    gcs.heal()
    gcs.fail("status", times=20)
    with pytest.raises(SourceUnavailable):
        rows("gs://texts/deep/data.csv", tmp_path / "busy")


def test_folders_in_buckets_are_no_files(tmp_path: Path, gcs: GcsFake) -> None:
    gcs.create_bucket("texts")
    for name in ("data/", "data/in/"):
        gcs.upload("texts", name, b"")
    gcs.upload("texts", "data/in/a#1.csv", ROWS)
    assert rows("gs://texts/data/**", tmp_path / "raw") == of("in/a#1.csv")
    check_source(DataRecipe(source="gs://texts/data/in/a#1.csv"))
    assert rows("gs://texts/data/in/a#1.csv", tmp_path / "one") == of("a#1.csv")


@pytest.mark.parametrize("handle", ["gs://texts/a**.csv", "exports/**.csv"])
def test_two_stars_are_folders(handle: str, tmp_path: Path) -> None:
    for check in (check_source, source_fingerprint):
        with pytest.raises(InvalidData, match="any number of folders"):
            check(DataRecipe(source=handle))


def test_a_file_that_links_lead_to_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(ROWS)
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")
    assert rows(f"{tmp_path}/data/**/*.csv", tmp_path / "raw") == of("a.csv")


@pytest.mark.parametrize("path", ["/", "/a/%2e%2e", "/a%00.csv", f"/{'a' * 300}.csv"])
def test_no_name_on_a_server_is_a_name_here(path: str, tmp_path: Path) -> None:
    with running() as server:
        server.answers[path] = [body(ROWS)]
        assert len(rows(server.address(f"{path}?x=1"), tmp_path / "raw", format="csv")) == 2


@pytest.mark.parametrize("composite", [False, True])
@pytest.mark.parametrize("damage", ["flipped", "truncated_chunked"])
def test_an_object_that_arrives_damaged_is_not_used(
    damage: FaultKind, composite: bool, tmp_path: Path, gcs: GcsFake
) -> None:
    gcs.create_bucket("texts")
    gcs.upload("texts", "data.csv", ROWS * 1000, composite=composite)
    gcs.fail(damage, "GET", "alt=media")
    with pytest.raises(SourceUnavailable, match="arrived damaged") as caught:
        rows("gs://texts/data.csv", tmp_path / "raw")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "handle",
    [
        "https://me:secret@h.org/data.csv",
        "gs://me@bucket/data.csv",
        "https:/me:secret@h.org/data.csv",
        "https:me:secret@h.org/data.csv",
        "https://me:pa/secret@h.org/data.csv",
        "postgresql://me:pa/secret@h/db",
        "postgresql://h/db?sslpassword=secret",
    ],
)
def test_passwords_do_not_belong_in_a_recipe(handle: str) -> None:
    with pytest.raises(ValueError, match="do not belong in a recipe") as caught:
        DataRecipe(source=handle)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Откуда ветер дует?", "cp1251"),
        ("Où irons-nous à Noël, et combien ça coûte?", "cp1252"),
        ("空はなぜ青い", "shift_jis"),
    ],
)
def test_another_encoding_is_named(text: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(("text,label\n" + f'"{text}",0\n' * 20).encode(encoding))
    with pytest.raises(InvalidData, match=rf"perhaps {encoding}\)[\s\S]*data.encoding, for instance to {encoding}"):
        rows(str(file), tmp_path / "raw")
    assert rows(str(file), tmp_path / "again", encoding=encoding)[0] == ("data.csv", 1, text)
