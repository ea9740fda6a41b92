"""From a handle to a model artifact's content, over every way in."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubtune.errors import HubtuneError, SourceNotFound, SourceUnavailable, UnsafeDownload, UnsupportedModel
from hubtune.progress import Say
from schemas.recipe import ModelRecipe
from tasks import http
from tasks.download_model import fetch as fetch_module
from tasks.download_model.fetch import check_handles, fetch, source_fingerprint
from tasks.download_model.inspect_model import inspect
from tests.download_model.conftest import SHARED_MODELS, fetched
from tests.http_server import HttpServer, body, running, status

ENCODER = "/tensorflow/small_bert/bert_en_uncased_L-2_H-8_A-2/2"
PREPROCESSOR = "/tensorflow/bert_en_uncased_preprocess/3"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setattr(http, "_FIRST_WAIT_SECONDS", 0.01)
    with running() as started:
        yield started


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same inspection without the price of another process; one test here pays it, and others have its own."""

    def run(module: str, request: dict[str, Any], say: Say, *, timeout_seconds: float) -> dict[str, Any]:
        return inspect(request, say)

    monkeypatch.setattr(fetch_module, "run_in_fresh_process", run)


def packed(folder: Path, file: Path, *, inside: str = ".") -> bytes:
    with tarfile.open(file, "w:gz") as opened:
        opened.add(folder, inside)
    return file.read_bytes()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_an_encoder_of_a_hub_comes_with_its_preprocessor(server: HttpServer, tiny_hub: Path, tmp_path: Path) -> None:
    encoder = packed(tiny_hub / "encoder", tmp_path / "encoder.tar.gz")
    server.answers[ENCODER] = [status(302, Location=server.address("/bucket/encoder.tar.gz"))]
    server.answers["/bucket/encoder.tar.gz"] = [status(503), body(encoder, ETag='"e1"')]
    server.answers[PREPROCESSOR] = [body(packed(tiny_hub / "preprocessor", tmp_path / "p.tar.gz"), ETag='"p1"')]
    recipe = ModelRecipe(source=server.address(ENCODER))

    model = fetched(recipe, tmp_path / "model")

    assert (model.facts.interface, model.facts.width, model.facts.layers) == ("bert_encoder", 8, 2)
    variables = ("variables/variables.data-00000-of-00001", "variables/variables.index")
    assert files(model.folder) == sorted(
        [
            *(f"encoder/{name}" for name in ("saved_model.pb", *variables)),
            *(f"preprocessor/{name}" for name in ("assets/vocab.txt", "saved_model.pb", *variables)),
            "tokenizer/vocab.txt",
            "tokenizer/wordpiece.json",
        ]
    )
    for name in files(tiny_hub / "encoder"):
        assert (model.folder / "encoder" / name).read_bytes() == (tiny_hub / "encoder" / name).read_bytes()
    assert any(line.startswith("Downloading: ") for line in model.lines)
    fingerprint = source_fingerprint(recipe)
    assert (fingerprint["model"]["etag"], fingerprint["preprocessor"]["etag"]) == ('"e1"', '"p1"')


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_an_archive_and_a_folder_give_the_same(tiny_hub: Path, tmp_path: Path) -> None:
    packed(tiny_hub / "encoder", tmp_path / "encoder.tar.gz", inside="bert/")
    recipe = ModelRecipe(source=str(tmp_path / "encoder.tar.gz"), preprocessor=str(tiny_hub / "preprocessor"))
    model = fetched(recipe, tmp_path / "model")
    # How the encoder was built is known of those that were converted here, not of those that arrive as a SavedModel.
    expected = [name for name in files(tiny_hub) if name != "architecture.json"]
    assert files(model.folder) == expected
    assert all((model.folder / name).read_bytes() == (tiny_hub / name).read_bytes() for name in expected)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.skipif(not SHARED_MODELS.is_dir(), reason="the models in ../shared are not here")
def test_a_text_embedding_from_a_folder(tmp_path: Path) -> None:
    model = fetched(ModelRecipe(source=str(SHARED_MODELS / "glove_twitter_12k_dim25")), tmp_path / "model")
    assert (model.facts.interface, model.facts.width) == ("text_embedding", 25)
    assert files(model.folder) == [
        "module/assets/tokens.txt",
        "module/saved_model.pb",
        "module/variables/variables.data-00000-of-00001",
        "module/variables/variables.index",
    ]


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "arrived").mkdir()
    (tmp_path / "arrived" / "weights.h5").touch()
    (tmp_path / "model").mkdir()
    with pytest.raises(UnsupportedModel, match=r"this is no SavedModel; found weights\.h5"):
        fetch(ModelRecipe(source=str(tmp_path / "arrived")), tmp_path / "model", print)
    assert list((tmp_path / "model").iterdir()) == []


def test_a_preprocessor_that_a_mirror_lacks_is_named(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    server.answers[ENCODER] = [body(packed(tmp_path / "encoder", tmp_path / "encoder.tar.gz"))]
    with pytest.raises(SourceNotFound, match="404") as caught:
        fetch(ModelRecipe(source=server.address(ENCODER)), tmp_path / "encoder", print)
    assert caught.value.where == server.address(PREPROCESSOR)


def test_a_damaged_download_is_refused(server: HttpServer, tmp_path: Path) -> None:
    server.answers["/m.tar.gz"] = [body(b"\x1f\x8b\x08\x00 not gzip")]
    with pytest.raises(UnsafeDownload, match="damaged") as caught:
        fetch(ModelRecipe(source=server.address("/m.tar.gz?token=secret")), tmp_path, print)
    assert caught.value.where == server.address("/m.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_token_is_not_told_of_what_arrived(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    server.answers["/m.tar.gz"] = [body(packed(tmp_path / "encoder", tmp_path / "encoder.tar.gz"))]
    recipe = ModelRecipe(source=server.address("/m.tar.gz?token=secret"))
    lines: list[str] = []
    with pytest.raises(UnsupportedModel, match="this is no SavedModel") as caught:
        fetch(recipe, tmp_path / "encoder", lines.append)
    assert caught.value.where == server.address("/m.tar.gz")
    assert "secret" not in "\n".join([*lines, str(caught.value)])


LOOKS: list[Callable[[ModelRecipe], object]] = [
    lambda recipe: fetch(recipe, Path.cwd(), print),
    source_fingerprint,
    check_handles,
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    ("handle", "kind", "problem"),
    [
        ("no/such/folder", SourceNotFound, "'no/such/folder' does not exist"),
        ("~nobody-has-this-name/x", SourceNotFound, "cannot be looked up"),
        ("x" * 5000, SourceNotFound, "cannot be looked up"),
        ("/dev/null", SourceNotFound, "is neither a file nor a folder"),
        ("gs://bucket/model?token=secret", UnsupportedModel, "cannot be fetched over gs://"),
        ("s3://bucket/model?token=secret", UnsupportedModel, "cannot be fetched over s3://"),
    ],
)
def test_handles_that_lead_nowhere(
    handle: str,
    kind: type[HubtuneError],
    problem: str,
    look: Callable[[ModelRecipe], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=problem) as caught:
        look(ModelRecipe(source=handle))
    assert "`starter`, an http(s) address, a folder or a tar.gz file" in caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("look", [source_fingerprint, check_handles])
def test_no_server_is_asked_when_the_other_handle_is_wrong(
    look: Callable[[ModelRecipe], object], server: HttpServer
) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        look(ModelRecipe(source=server.address(ENCODER), preprocessor="gs://bucket/preprocessor"))
    assert caught.value.where == "model.preprocessor: gs://bucket/preprocessor"
    assert server.requests == []


def test_handles_that_may_lead_somewhere_are_let_through(server: HttpServer, tmp_path: Path) -> None:
    packed(tmp_path, tmp_path / "m.tar.gz")
    for handle in ("starter", server.address(ENCODER), str(tmp_path), str(tmp_path / "m.tar.gz")):
        check_handles(ModelRecipe(source=handle))
    assert server.requests == []


@pytest.mark.parametrize(
    ("content", "kind"), [(b"no archive", UnsafeDownload), (b"\x89HDF\r\n\x1a\n rest", UnsupportedModel)]
)
def test_files_that_are_no_archive_are_found_before_the_run(
    content: bytes, kind: type[HubtuneError], tmp_path: Path
) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(kind) as caught:
        check_handles(ModelRecipe(source=str(tmp_path), preprocessor=str(tmp_path / "m")))
    assert caught.value.where == f"model.preprocessor: {tmp_path / 'm'}"


def test_an_outage_has_no_fingerprint(server: HttpServer) -> None:
    server.answers[ENCODER] = [body(b"x", ETag='"e1"')]
    server.answers[PREPROCESSOR] = [status(503)]
    with pytest.raises(SourceUnavailable, match="503"):
        source_fingerprint(ModelRecipe(source=server.address(ENCODER)))


def test_the_fingerprint_follows_local_files(tiny_hub: Path, tmp_path: Path) -> None:
    packed(tiny_hub / "encoder", tmp_path / "encoder.tar.gz")
    by_archive = source_fingerprint(ModelRecipe(source=str(tmp_path / "encoder.tar.gz")))
    by_folder = source_fingerprint(ModelRecipe(source=str(tiny_hub / "encoder"), preprocessor=str(tiny_hub)))
    assert set(by_archive) == set(by_folder) == {"model", "preprocessor"}
    assert by_archive["preprocessor"] is None
    assert by_folder["preprocessor"] is not None
    (tmp_path / "encoder.tar.gz").write_bytes(b"another")
    assert source_fingerprint(ModelRecipe(source=str(tmp_path / "encoder.tar.gz"))) != by_archive
