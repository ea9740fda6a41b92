"""What a recipe has replaced in texts: in rows, keys, report, and in what later blocks are told."""

import json

import pytest

from hubtune.inference.normalise import normalise
from hubtune.inference.replacements import Replacement
from schemas.recipe import PreprocessRecipe
from tests.inference.awkward_texts import AWKWARD_TEXTS, TO_REPLACE
from tests.preprocess.conftest import Row, Run, sound_rows

ALL: list[Replacement] = ["html_entities", "urls", "users"]


def test_texts_are_kept_as_the_published_model_will_see_them(run: Run) -> None:
    texts = [*TO_REPLACE, *AWKWARD_TEXTS.values()]
    rows: list[Row] = [*sound_rows(), *((text, "0") for text in texts)]
    outcome = run(rows, replace=ALL, max_quarantine=1)
    kept = set(outcome.kept["text"])
    expected = {normalise(text, ALL) for text in texts if "\ufffd" not in text}
    assert {text for text in expected if text} <= kept
    assert not {text for text in texts if normalise(text, ALL) != text} & kept
    assert json.loads((outcome.rows / "replace.json").read_text()) == ALL


def test_texts_that_become_the_same_are_duplicates(run: Run) -> None:
    rows: list[Row] = [*sound_rows(), ("Hi @ann, see http://a.org/1", "0"), ("Hi @bob, see www.b.org", "0")]
    assert run(rows).away.duplicates == 0
    outcome = run(rows, replace=ALL)
    assert outcome.away.duplicates == 1
    assert "Hi @user, see http" in set(outcome.kept["text"])
    assert outcome.kept.height == len(sound_rows()) + 1


def test_the_report_says_what_was_replaced(run: Run) -> None:
    added: list[Row] = [("Salt &amp; pepper", "0"), ("@ann and @bob", "0"), ("to www.a.org", "1"), ("half ½", "1")]
    # What is changed for another reason, and has what a replacement leaves, was not replaced.
    added.append(("two  spaces, @user and &nothing;", "1"))
    outcome = run([*sound_rows(), *added], replace=ALL)
    changes = {"HTML entities": 1, "web addresses": 1, "user names": 1, "compatibility characters": 1}
    changes["white space"] = 1
    assert outcome.report["normalised"]["changes"] == changes
    assert "| user names | 1 |" in outcome.page


def test_without_replacements_nothing_is_told_of_them(run: Run) -> None:
    outcome = run([*sound_rows(), ("Salt &amp; pepper of @ann", "0")])
    assert "Salt &amp; pepper of @ann" in set(outcome.kept["text"])
    assert not (outcome.rows / "replace.json").exists()
    assert outcome.report["normalised"]["changes"] == {}


def test_recipes_that_mean_the_same_are_equal() -> None:
    one, other = (PreprocessRecipe.model_validate({"replace": given}) for given in (ALL, ["users", *ALL]))
    assert one == other
    with pytest.raises(ValueError, match="html_entities"):
        PreprocessRecipe.model_validate({"replace": ["emoji"]})
