"""Folders: where the model lies in them, what of it is copied, and what identifies it."""

import os
from pathlib import Path

import pytest

from hubtune.errors import SourceNotFound
from tasks.download_model import folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name in ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "assets/vocab.txt", "notes/todo.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name, encoding="utf-8")
    return root


def test_the_root_is_the_folder_or_the_only_one_inside(model: Path) -> None:
    assert folder.model_root(model) == model
    assert folder.model_root(model.parent) == model
    (model.parent / ".DS_Store").touch()
    assert folder.model_root(model.parent) == model
    (model.parent / "other").mkdir()
    assert folder.model_root(model.parent) == model.parent


def test_only_the_model_is_copied(model: Path, tmp_path: Path) -> None:
    folder.copy_saved_model(model, tmp_path / "copy")
    copied = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*"))
    assert copied == ["assets/vocab.txt", "saved_model.pb", "variables/variables.index"]


def test_links_in_a_folder_of_ones_own_are_followed(model: Path, tmp_path: Path) -> None:
    real = (model / "saved_model.pb").rename(tmp_path / "blob")
    (model / "saved_model.pb").symlink_to(real)
    folder.copy_saved_model(model, tmp_path / "copy")
    assert not (tmp_path / "copy" / "saved_model.pb").is_symlink()


def test_the_fingerprint_follows_the_model_and_nothing_else(model: Path) -> None:
    before = folder.fingerprint(model)
    (model / "notes" / "todo.txt").write_text("changed", encoding="utf-8")
    os.utime(model / "saved_model.pb", (0, 0))
    assert folder.fingerprint(model) == before
    (model / "assets" / "vocab.txt").write_text("changed", encoding="utf-8")
    changed = folder.fingerprint(model)
    assert changed != before
    (model / "assets" / "vocab.txt").rename(model / "assets" / "words.txt")
    assert folder.fingerprint(model) not in (before, changed)


def test_an_empty_folder_has_no_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="empty"):
        folder.fingerprint(tmp_path)
