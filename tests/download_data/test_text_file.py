"""Encodings that a recipe may name."""

import pytest

from schemas.data_recipe import DataRecipe


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("UTF8", "utf-8"),
        ("utf-16", "utf-16"),
        ("windows-1252", "cp1252"),
        ("latin-1", "iso8859-1"),
        ("gb18030", "gb18030"),
    ],
)
def test_names_that_python_knows(name: str, canonical: str) -> None:
    assert DataRecipe(source="a.csv", encoding=name).encoding == canonical


@pytest.mark.parametrize("name", ["utf-9", "hex", "rot13", "zip", "idna", "punycode", "undefined", " "])
def test_names_that_are_no_encoding_of_a_file(name: str) -> None:
    with pytest.raises(ValueError, match="no encoding of text is known by this name"):
        DataRecipe(source="a.csv", encoding=name)
